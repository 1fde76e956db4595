/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the command line of a running QEMU says about its guest's memory. Memory that was plugged in later is not on it. */
#ifndef DMEMFSCTL_QEMU_CMDLINE_H
#define DMEMFSCTL_QEMU_CMDLINE_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>

/* A memory-backend-file, by an argument of -object or -mem-path. */
struct qemu_memory {
	char *id;      /* "?": not given */
	char *path;    /* mem-path: a file, or a directory in which QEMU made one and removed it */
	char *root;    /* of the process; NULL: not known */
	bool prealloc; /* QEMU touches all of it before the guest starts */
	dev_t device; /* of the mount that the path is on, symbolic links apart; 0: not known, so the path may block for ever */
};

/* All memory-backend-file of @arguments: GPtrArray of struct qemu_memory, owned. The caller owns the array. */
GPtrArray *qemu_cmdline_parse(const char *const *arguments);
/* The same of the process @pid, its paths below its root, with their devices; NULL: it is not QEMU, or this process may not look. */
GPtrArray *qemu_cmdline_read(pid_t pid);
/* Looks at the path, which qemu_cmdline_read() read, on the mount of its device. False when that fails, and for symbolic links. */
bool qemu_memory_stat(const struct qemu_memory *memory, struct stat *st);

#endif

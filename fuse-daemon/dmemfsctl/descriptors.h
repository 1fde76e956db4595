/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What another process has open. */
#ifndef DMEMFSCTL_DESCRIPTORS_H
#define DMEMFSCTL_DESCRIPTORS_H

#include <glib.h>
#include <sys/types.h>

enum descriptor_kind {
	DESCRIPTOR_DIRECT, /* a file that is open with O_DIRECT; a pipe can have that flag, too, and means another thing */
	DESCRIPTOR_VFIO, /* a device for assigned devices */
};

/* The process chooses how many files it opens, and their names. No more names than this are read. */
#define DESCRIPTORS_MAX 16

/* What @pid has open of the kind: GPtrArray of names, each once, owned. The caller owns the array. */
GPtrArray *descriptors_find(pid_t pid, enum descriptor_kind kind);

#endif

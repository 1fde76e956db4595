/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who maps the files of a mount: /proc/PID/maps, which asks no daemon. */
#ifndef DMEMFSCTL_USERS_H
#define DMEMFSCTL_USERS_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* One line of /proc/PID/maps that is a mapping of a file. Bytes. */
struct mapping {
	uint64_t address;
	uint64_t length;
	uint64_t offset; /* in the file */
	dev_t device;
	uint64_t inode;
	bool is_private; /* MAP_PRIVATE */
};

/* False: not such a line. */
bool mapping_parse(const char *line, struct mapping *mapping);
/* The largest of 4 KiB, 2 MiB and 1 GiB for which address and offset agree, and that fits. */
uint64_t mapping_page_size(const struct mapping *mapping);

/* A process with its mappings of one file. */
struct user {
	pid_t pid;
	char *name; /* comm, chosen by that process */
	uint64_t inode;
	uint64_t mapped;    /* bytes */
	uint64_t page_size; /* mapping_page_size(): the least of its mappings of more than that */
	bool is_private;    /* one of the mappings at least */
};

/* Of all processes that this one may look at, by pid: GPtrArray of struct user. */
GPtrArray *users_find(dev_t device);

#endif

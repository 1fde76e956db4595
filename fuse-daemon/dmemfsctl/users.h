/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which processes map the files of a dmemfs, from /proc/PID/maps: needs no daemon. */
#ifndef DMEMFSCTL_USERS_H
#define DMEMFSCTL_USERS_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "dmemfsctl/view.h"

/* A mapping of a file, from a line of /proc/PID/maps. In bytes. */
struct mapping {
	uint64_t address;
	uint64_t length;
	uint64_t offset; /* in the file */
	dev_t device;
	uint64_t inode;
	bool is_private;  /* MAP_PRIVATE */
	const char *path; /* in the line, and valid as long; "": none */
	uint64_t bound;   /* the only NUMA nodes that its policy allows, a bit each; 0: no such policy, or not read */
};

/* False: @line is not a mapping of a file. */
bool mapping_parse(const char *line, struct mapping *mapping);
/* The largest page (4 KiB, 2 MiB or 1 GiB) that fits and for whose size address and offset are congruent. In bytes. */
uint64_t mapping_page_size(const struct mapping *mapping);

/* A process with its mappings of one file, by one mount. */
struct user {
	pid_t pid;
	char *name; /* comm, chosen by that process */
	uint64_t inode;
	dev_t device;
	uint64_t mapped;    /* bytes */
	uint64_t page_size; /* the smallest mapping_page_size(); small remainders of split mappings do not count */
	uint64_t end;       /* the offset in the file at which the last mapping ends */
	bool is_private;    /* at least one of the mappings is private */
	bool is_earlier;    /* by a mount that is gone (earlier_mounts.h) */
	char *last_path;    /* of a removed file: where it was; NULL: it is not removed */
	char *earlier_path; /* by an earlier mount: where it was then, as if that were this mount; else NULL */
	char *link; /* leads to the file, also when it is removed, for those who may follow it (proc(5), map_files) */
	GArray *mappings; /* struct mapping without .path, by address */
};

/*
 * The mappings of files of the dmemfs, also by its earlier mounts, of all processes that this one may examine: GPtrArray of struct
 * user, owned, sorted by pid. The caller owns the array.
 */
GPtrArray *users_find(const struct view *view);

/*
 * The file that @user maps. Only inode, links, size and blocks are filled in. Waits for no daemon if the mount is an earlier one: its
 * attributes are as they were then. False: it cannot be followed, or leads elsewhere.
 */
bool user_stat(const struct user *user, struct stat *st);

/*
 * Fills in the bound nodes of all mappings of @users, from /proc/PID/numa_maps. For that the kernel walks the page tables and
 * drops entries of 1 GiB, which costs the process one fault for each.
 */
void users_read_policies(const GPtrArray *users);
/* A line of numa_maps: its address, and the nodes of a policy that allows no others, else 0. False: not a line of that form. */
bool numa_line_parse(const char *line, uint64_t *address, uint64_t *bound);

#endif

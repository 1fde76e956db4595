/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Parses the kernel's list of mounts, and finds the mount of a path in it. */
#ifndef DMEMFS_MOUNTS_H
#define DMEMFS_MOUNTS_H

#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

struct mount_point {
	int id, parent; /* the parent is the mount that @path is on; not in the list for the one that is seen as "/" */
	GPtrArray *children; /* those whose parent this is, in the same order; NULL: none */
	bool is_first;       /* its parent is not in the list */
	char *path;
	char *type;
	dev_t device;  /* of the file system: its bind mounts have the same */
	bool is_whole; /* shows the root directory of the file system; else a bind mount of something in it */
	bool is_dmemfs;
	bool may_block; /* of another FUSE, or of a network, unless all of the system is on it: its server may not answer */
};

/* @mountinfo: the text of MOUNTINFO_FILE. Its mounts in the same order (struct mount_point); the caller frees the array. */
GPtrArray *mounts_parse(const char *mountinfo);
/*
 * The mount that @path is on. @path is absolute and has no symlinks. A mount hides all that is mounted below its path on the mount
 * under it. Owned by @mounts. NULL when there is none.
 */
const struct mount_point *mounts_of_path(const GPtrArray *mounts, const char *path);
/*
 * The mount with may_block on the way to @path, by its symbolic links, or that @path is on: system calls with @path may never return.
 * Sends no request to it. NULL: there is none. @path is absolute. The second does not look for symbolic links, and so is for the
 * mounts of another process, too.
 */
const struct mount_point *mounts_blocking(const GPtrArray *mounts, const char *path);
const struct mount_point *mounts_blocking_lexically(const GPtrArray *mounts, const char *path);
/*
 * @path without its symbolic links, which are examined below @root ("" for this system); g_malloc'ed. NULL: there are too many of them,
 * or @blocking is a mount as above.
 */
char *mounts_resolve(const GPtrArray *mounts, const char *root, const char *path, const struct mount_point **blocking);
/*
 * One mount of each dmemfs, in the order of @mounts: the first that shows its root directory and that no other mount hides, else the
 * first that no other mount hides. A dmemfs of which only parts are mounted, such as what remains in a container of one that ended,
 * counts only if there is no other. The mounts (const struct mount_point) are owned by @mounts; the caller frees the array.
 */
GPtrArray *mounts_of_dmemfs(const GPtrArray *mounts);

#endif

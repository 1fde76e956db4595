/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where dmemfs is mounted. */
#ifndef DMEMFS_MOUNTS_H
#define DMEMFS_MOUNTS_H

#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

struct mount_point {
	char *path;
	dev_t device;
	bool is_dmemfs;
};

/* Of the text of /proc/self/mountinfo (proc(5)), all in its order: GPtrArray of struct mount_point, owned. */
GPtrArray *mounts_parse(const char *mountinfo);
/* The mount that @path, absolute and without symlinks, lies on; NULL when there is none. */
const struct mount_point *mounts_of_path(const GPtrArray *mounts, const char *path);

#endif

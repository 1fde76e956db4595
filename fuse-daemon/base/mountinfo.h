/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Finds and removes mounts without a request to the daemon that serves them, which may be dead. */
#ifndef DMEMFS_MOUNTINFO_H
#define DMEMFS_MOUNTINFO_H

#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

/* proc(5). poll(2) on it reports a change of the mounts with POLLERR and POLLPRI. */
#define MOUNTINFO_FILE "/proc/self/mountinfo"

/* The file system type in /proc/mounts of every mount of the daemon. */
#define MOUNTINFO_TYPE "fuse.dmemfs"

/* All mounts that this process sees: mounts_parse() of MOUNTINFO_FILE. NULL and @error. */
GPtrArray *mountinfo_read(GError **error);

/*
 * Is the topmost mount at @mountpoint (an absolute path) a dmemfs? @device: the device of the topmost mount, of whatever
 * type; 0 when nothing is mounted there.
 */
bool mountinfo_find(const char *mountpoint, dev_t *device);

/*
 * Unmounts @device from @mountpoint, lazily when it is in use, if it is the topmost mount there; else does nothing. No
 * daemon may serve it any more. Failures are logged. umount2(2) names a mount by its path only: what root mounts there
 * between the check and the call is unmounted instead.
 */
void mountinfo_unmount(const char *mountpoint, dev_t device);

/* Is the dmemfs of @device mounted anywhere in this process's mount namespace? True when that cannot be found out. */
bool mountinfo_has(dev_t device);

#endif

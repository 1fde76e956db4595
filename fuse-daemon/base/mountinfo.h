/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is mounted where, without asking whoever serves it. */
#ifndef DMEMFS_MOUNTINFO_H
#define DMEMFS_MOUNTINFO_H

#include <stdbool.h>
#include <sys/types.h>

/* proc(5). poll(2) of it tells of changes, by POLLERR and POLLPRI. */
#define MOUNTINFO_FILE "/proc/self/mountinfo"

/* The file system type in /proc/mounts of every mount of the daemon. */
#define MOUNTINFO_TYPE "fuse.dmemfs"

/* Is dmemfs the last that was mounted at @mountpoint, an absolute path? @device: of the last, 0: none. */
bool mountinfo_find(const char *mountpoint, dev_t *device);

/*
 * Takes down the mount of @device at @mountpoint, in whatever use it is, if it is the last that was mounted there; else
 * nothing. Nobody serves it any more. What is mounted there between the look and the unmount, by root,
 * cannot be told apart: umount2(2) knows mounts by their paths alone.
 */
void mountinfo_unmount(const char *mountpoint, dev_t device);

/* Is dmemfs of this device mounted anywhere in the mount namespace of this process? True if that cannot be told. */
bool mountinfo_has(dev_t device);

#endif

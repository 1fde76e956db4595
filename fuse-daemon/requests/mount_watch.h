/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Is the mount still there, where the daemon lives? An unmount ends the connection, and by that the daemon, unless somebody
 * has the file system open still (umount -l), or another mount namespace has a copy of the mount: one that was made
 * meanwhile and hears of no unmounts, by unshare(1) or for a container. It is served until that has gone, and who waits
 * for the daemon's end learns why from the log and from the service manager.
 */
#ifndef DMEMFS_MOUNT_WATCH_H
#define DMEMFS_MOUNT_WATCH_H

#include <sys/types.h>

/* An unmount that ends the connection, and many mounts in a row, are over by then. */
#define MOUNT_WATCH_DELAY_MS 2000

struct mount_watch;

/* Watches the mount of @device at @mountpoint, which must outlive the watch, from the main loop. NULL: it cannot. */
struct mount_watch *mount_watch_start(const char *mountpoint, dev_t device);
/* NULL is fine. */
void mount_watch_stop(struct mount_watch *watch);

#endif

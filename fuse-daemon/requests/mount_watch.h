/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Watches whether the mount still exists in the daemon's mount namespace. An unmount normally ends the connection,
 * and with it the daemon. It does not when a process still has files open (umount -l), or when another mount
 * namespace has a copy of the mount to which unmounts do not propagate (made by unshare(1), or for a container). Then
 * the daemon serves until the last user is gone, and the watch says so in the log and to the service manager.
 */
#ifndef DMEMFS_MOUNT_WATCH_H
#define DMEMFS_MOUNT_WATCH_H

#include <sys/types.h>

/*
 * How long after a change of the mount table to look for the mount: by then an unmount that ends the connection has
 * ended the daemon, and one look serves for many changes in a row.
 */
#define MOUNT_WATCH_DELAY_MS 10000

struct mount_watch;

/*
 * Watches the mount of @device at @mountpoint, from the main loop; @connection is its descriptor of /dev/fuse. Keeps @mountpoint and
 * @connection, which must outlive the watch. NULL when mountinfo cannot be opened.
 */
struct mount_watch *mount_watch_start(const char *mountpoint, dev_t device, int connection);
/* NULL is fine. */
void mount_watch_stop(struct mount_watch *watch);

#endif

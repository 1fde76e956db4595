/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The fd store keeps the descriptor of the FUSE connection while no daemon runs. It is systemd's file descriptor
 * store (sd_notify(3), FDSTORE=1), `dmemfsd --supervise`, or the same process before its execv(3) in a reload
 * (reload.h). All use the same protocol: descriptors are sent over NOTIFY_SOCKET and come back as LISTEN_FDS
 * (sd_listen_fds(3)).
 */
#ifndef DMEMFS_FD_STORE_H
#define DMEMFS_FD_STORE_H

#include <stdbool.h>

/* The first descriptor that is passed (SD_LISTEN_FDS_START). */
#define FD_STORE_FIRST_FD 3
/* The name (FDNAME) of the connection in the store. */
#define FD_STORE_FDNAME "dmemfs-fuse"
/*
 * Sent with the connection: the path of its mount. `dmemfsd --supervise` unmounts it when it ends without a next
 * daemon. Other stores ignore it.
 */
#define FD_STORE_MOUNTPOINT "X_DMEMFS_MOUNTPOINT="

/*
 * Returns the descriptor of the connection that the store kept, owned by the caller; -1 for none. Closes all other
 * passed descriptors and removes the LISTEN_* variables. Call it first in main(), before any thread starts.
 */
int fd_store_take(void);
/*
 * Is there a store that gives fd_store_add()'s descriptor to a next daemon? The variable FDSTORE says so: systemd 254 and
 * later, dmemfsd.service and --supervise set it. False when the supervisor was killed.
 */
bool fd_store_exists(void);
/* Sends a copy of @fd to the store. */
void fd_store_add(int fd, const char *mountpoint);
/*
 * Before execv(3) of the next daemon in this process: makes fd_store_take() find @fd there. @fd, or its copy, stays
 * open across the exec. False and errno on failure.
 */
bool fd_store_pass(int fd);
/* The connection has ended: tells the store to close its copy. */
void fd_store_remove(void);

#endif

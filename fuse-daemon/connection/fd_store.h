/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whoever keeps the FUSE connection while no daemon runs: systemd's file descriptor store (sd_notify(3), FDSTORE=1),
 * `dmemfsd --supervise`, or the daemon's former self (reload.h). All speak the same protocol: descriptors are sent over
 * NOTIFY_SOCKET and come back as LISTEN_FDS (sd_listen_fds(3)).
 */
#ifndef DMEMFS_FD_STORE_H
#define DMEMFS_FD_STORE_H

#include <stdbool.h>

/* The first descriptor that is passed (SD_LISTEN_FDS_START). */
#define FD_STORE_FIRST_FD 3
/* FDNAME of the connection. */
#define FD_STORE_FDNAME "dmemfs-fuse"
/* Goes with it: where its mount is, for a store that ends before there is another daemon. Others ignore it. */
#define FD_STORE_MOUNTPOINT "X_DMEMFS_MOUNTPOINT="

/*
 * First thing in main(), before any thread: the descriptor of the connection that an earlier process kept, -1 for none.
 * Whatever else was passed is closed, and the environment says no more of it. The caller owns the descriptor.
 */
int fd_store_take(void);
/*
 * Will there be a next daemon that gets what fd_store_add() sends? systemd says so since version 254, and the unit. A
 * supervisor that was killed will have none.
 */
bool fd_store_exists(void);
void fd_store_add(int fd, const char *mountpoint);
/*
 * Before execv(3) of a next daemon in this very process: fd_store_take() finds @fd there. It stays open across the exec; what
 * else is close-on-exec does not. False and errno.
 */
bool fd_store_pass(int fd);
/* The connection is no more. */
void fd_store_remove(void);

#endif

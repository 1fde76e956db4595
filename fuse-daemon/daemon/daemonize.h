/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Into the background, with an honest exit status for whoever started the daemon. */
#ifndef DMEMFS_DAEMONIZE_H
#define DMEMFS_DAEMONIZE_H

#include <stdbool.h>

/*
 * In the environment of a process of the daemon's that has a terminal no more (or will have none, once it is ready): a
 * reloaded or a supervised one.
 */
#define DAEMONIZE_BACKGROUND "DMEMFSD_BACKGROUND"

/*
 * Before any thread is started. Forks: the parent waits and exits 0 when the child calls daemonize_ready(), or with the
 * child's own status when it ends before that. Returns in the child, in a session of its own, or false with errno set.
 * Nothing to do when the environment says that the process is in the background.
 */
bool daemonize(void);
/* The child works: lets the parent go and leaves the terminal. Nothing to do for a process in the foreground. */
void daemonize_ready(void);

#endif

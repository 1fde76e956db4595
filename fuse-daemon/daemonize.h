/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Into the background, with an honest exit status for whoever started the daemon. */
#ifndef DMEMFS_DAEMONIZE_H
#define DMEMFS_DAEMONIZE_H

#include <stdbool.h>

/*
 * Before any thread is started. Forks: the parent waits and exits 0 when the child calls daemonize_ready(), or with the
 * child's own status when it ends before that. Returns in the child, in a session of its own, or false with errno set.
 */
bool daemonize(void);
/* The child works: lets the parent go and leaves the terminal. Nothing to do when daemonize() was not called. */
void daemonize_ready(void);

#endif

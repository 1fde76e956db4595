/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runs the daemon in the background. The command that starts it exits when the daemon serves, or with the daemon's
 * exit status.
 */
#ifndef DMEMFS_DAEMONIZE_H
#define DMEMFS_DAEMONIZE_H

#include <stdbool.h>

/*
 * Environment variable of processes that run in the background, or will when they are ready. A reloaded or a supervised
 * daemon inherits it, and so does not fork again.
 */
#define DAEMONIZE_BACKGROUND "DMEMFSD_BACKGROUND"

/*
 * Forks. The parent waits, and exits 0 when the child calls daemonize_ready(), or with the child's status when the
 * child ends before that. Returns true in the child, which has a session of its own; false with errno set on failure.
 * Does nothing and returns true when DAEMONIZE_BACKGROUND is set. Call it before any thread starts.
 */
bool daemonize(void);
/* The daemon serves: lets the parent exit, and leaves the terminal. Does nothing in a process in the foreground. */
void daemonize_ready(void);

#endif

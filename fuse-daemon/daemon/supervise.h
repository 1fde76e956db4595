/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `dmemfsd --supervise`: a small parent process that keeps the FUSE connection and starts the daemon again when it
 * dies, for machines without a service manager. To its child the parent is an fd store (fd_store.h), just like
 * systemd's.
 *
 * If the child was ready when it died, the parent starts another at once, else after a pause that doubles each time.
 * A first child that is never ready is not started again, because the cause needs the operator. SIGTERM, SIGINT and
 * SIGQUIT make the child unmount and end; SIGHUP makes it reload. When the child ends with status 0, because of an
 * unmount, the parent ends, too. At its end the parent unmounts a mount that no child serves. When SIGKILL ends the
 * parent, the child goes on to serve, and unmounts when it is told to end; if no child ran at that moment, the dead
 * mount stays until the next start.
 */
#ifndef DMEMFS_SUPERVISE_H
#define DMEMFS_SUPERVISE_H

/* The first and the longest pause before another child, in milliseconds. */
#define SUPERVISE_PAUSE_MS     100
#define SUPERVISE_PAUSE_MAX_MS 5000

/* @argv: the parent's own command line. Returns the exit status of the process. Call it before any thread starts. */
int supervise(char **argv);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `dmemfsd --supervise`: a small parent that keeps the FUSE connection and starts the daemon again when it dies, where no
 * service manager does so. It is an fd store (fd_store.h): its child tells it apart from systemd in nothing.
 *
 * The child is restarted at once when it had been ready, else after a pause that doubles. A first child that never
 * gets ready is not restarted: what it complains of will not go away by itself. SIGTERM, SIGINT and SIGQUIT end the child for
 * good (it unmounts), SIGHUP reloads it; when the child ends well, because of an unmount, so does the parent. A mount that no
 * child is left for is taken down at the end. Of a parent that is killed by SIGKILL the child serves on, and then
 * unmounts when it is told to end; if there was none at that moment, the dead mount stays until the next start.
 */
#ifndef DMEMFS_SUPERVISE_H
#define DMEMFS_SUPERVISE_H

/* The pause before the second attempt, and the longest. */
#define SUPERVISE_PAUSE_MS     100
#define SUPERVISE_PAUSE_MAX_MS 5000

/* Before any thread is started. @argv: the parent's own command line. Returns what to exit with. */
int supervise(char **argv);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One run of the daemon: the parts put together, in order, and taken apart in reverse. */
#ifndef DMEMFS_DAEMON_H
#define DMEMFS_DAEMON_H

#include <glib.h>
#include <stdbool.h>

#include "config/config.h"

/*
 * Mounts, or goes on with the connection that an earlier daemon began, and serves until the mount is taken down or a
 * signal comes: SIGINT unmounts; SIGTERM unmounts, too, unless an fd store is there for another daemon (fd_store.h); SIGHUP
 * ends this run for a reload. False when it could not start (@error is set, and nothing new is mounted) or when serving
 * ended by a fault.
 *
 * *@connection: in what fd_store_take() returned, out the connection to reload with (reload_exec()), -1: none.
 */
bool daemon_run(const struct config *config, int *connection, GError **error);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One run of the daemon: starts all parts in order, serves, and stops them in reverse order. */
#ifndef DMEMFS_DAEMON_H
#define DMEMFS_DAEMON_H

#include <glib.h>
#include <stdbool.h>

#include "config/config.h"

/*
 * Mounts, or goes on with the connection of an earlier daemon, and serves until the mount is unmounted or a signal
 * comes. SIGINT unmounts. SIGTERM leaves the mount to the next daemon when there is an fd store (fd_store.h), else it
 * unmounts. SIGHUP ends this run for a reload. False when the daemon could not start (@error is set, and nothing new
 * is mounted) or when an error ended serving.
 *
 * *@connection: in: the result of fd_store_take(), owned by this function. Out: the connection for reload_exec(),
 * owned by the caller; -1: there is no reload.
 */
bool daemon_run(const struct config *config, int *connection, GError **error);

#endif

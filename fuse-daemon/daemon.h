/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One run of the daemon: the parts put together, in order, and taken apart in reverse. */
#ifndef DMEMFS_DAEMON_H
#define DMEMFS_DAEMON_H

#include <glib.h>
#include <stdbool.h>

#include "config.h"

/*
 * Mounts and serves until the mount is taken down or SIGTERM or SIGINT comes. False when it could not start (@error is
 * set, and nothing is left mounted) or when serving ended by a fault.
 */
bool daemon_run(const struct config *config, GError **error);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The [quota NAME] groups of the configuration, put into effect at the start. */
#ifndef DMEMFS_QUOTA_SETUP_H
#define DMEMFS_QUOTA_SETUP_H

#include <glib.h>
#include <stdbool.h>

#include "config/config.h"
#include "namespace/namespace.h"

/*
 * Each group sets both limits of its directory, as setfattr(1) does: one that it does not give is removed. A directory
 * that is not there is made, 0755 and the daemon's own. A limit that cannot be had, since users have something else at the path
 * or links that lead out of it, is skipped with a warning that says what to do: the limits that are there stay.
 */
void quota_setup(struct namespace *ns, const struct config *config);

#endif

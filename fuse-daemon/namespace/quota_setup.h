/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sets the limits of the configuration's [quota NAME] groups at the start. */
#ifndef DMEMFS_QUOTA_SETUP_H
#define DMEMFS_QUOTA_SETUP_H

#include <glib.h>
#include <stdbool.h>

#include "config/config.h"
#include "namespace/namespace.h"

/*
 * Each group sets both limits of its directory, as setfattr(1) does; a limit that the group does not name is removed.
 * A directory that does not exist is made, with mode 0755 and the daemon's user as owner. If users have something
 * else at the path, or hard links that lead out of it, the group is skipped, with a warning that says what to do;
 * limits that are in force stay.
 */
void quota_setup(struct namespace *ns, const struct config *config);

#endif

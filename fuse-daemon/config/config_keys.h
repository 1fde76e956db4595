/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The names of the groups of the configuration, and the check that no name is unknown. Internal to config*.c. */
#ifndef DMEMFS_CONFIG_KEYS_H
#define DMEMFS_CONFIG_KEYS_H

#include <glib.h>
#include <stdbool.h>

#include "config/config_text.h"

#define CONFIG_DAEMON        "daemon"
#define CONFIG_REGION_PREFIX "region "
#define CONFIG_QUOTA_PREFIX  "quota "
#define CONFIG_UNLIMITED     UINT64_MAX

/* Checks that all groups and keys are known. Warns of obsolete keys. False when there is no group [daemon]. */
bool config_check_names(const struct config_text *text);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The names of groups, keys and values that the configuration knows. Internal to config*.c. */
#ifndef DMEMFS_CONFIG_KEYS_H
#define DMEMFS_CONFIG_KEYS_H

#include <glib.h>
#include <stdbool.h>

#include "config/config_text.h"

#define CONFIG_DAEMON        "daemon"
#define CONFIG_REGION_PREFIX "region "
#define CONFIG_QUOTA_PREFIX  "quota "
#define CONFIG_UNLIMITED     UINT64_MAX

/* Indexed by enum backend_kind, enum alloc_mode and enum lost_contents; NULL ends them. */
extern const char *const config_backend_names[];
extern const char *const config_alloc_names[];
extern const char *const config_lost_names[];

/* Are all groups and keys of the text known ones, and is there a [daemon]? */
bool config_check_names(const struct config_text *text, GError **error);

#endif

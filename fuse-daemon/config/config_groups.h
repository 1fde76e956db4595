/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The [region NAME] and [quota NAME] groups. Internal to config*.c. */
#ifndef DMEMFS_CONFIG_GROUPS_H
#define DMEMFS_CONFIG_GROUPS_H

#include "config/config.h"
#include "config/config_text.h"

/* The names of the keys of the group, as config_daemon_keys() gives them; NULL when there is no such group. */
const char **config_group_keys(const char *group);
/* The default of page-size with reserved memory, in bytes: so that all explicit regions are multiples of it. */
uint64_t config_default_page_size(const struct config_text *text);
/* Fills config->regions, sorted by start, and config->quotas. The [daemon] group must have been read. */
void config_load_groups(const struct config_text *text, struct config *config);
/* Writes the groups. */
void config_groups_dump(GKeyFile *keys, const struct config *config);
void config_region_free(gpointer region);
void config_quota_free(gpointer quota);

#endif

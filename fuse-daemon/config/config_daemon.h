/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The keys of the [daemon] group. Internal to config*.c. */
#ifndef DMEMFS_CONFIG_DAEMON_H
#define DMEMFS_CONFIG_DAEMON_H

#include "config/config.h"
#include "config/config_text.h"

/* The names of all keys; ended by NULL. The caller frees the array with g_free(), but not the names. */
const char **config_daemon_keys(void);
/* Sets every member of @config that a key describes to the key's value, or to its default, also when the value is wrong. */
void config_daemon_load(const struct config_text *text, struct config *config);
/* Refuses keys of the memory backend that are given for another. */
void config_daemon_check_backend(const struct config_text *text, const struct config *config);
/* Writes the keys that apply to @config. */
void config_daemon_dump(GKeyFile *keys, const struct config *config);

#endif

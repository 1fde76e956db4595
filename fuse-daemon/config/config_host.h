/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The check of the machine that config_load_for_host() makes. Internal to config*.c. */
#ifndef DMEMFS_CONFIG_HOST_H
#define DMEMFS_CONFIG_HOST_H

#include "config/config.h"
#include "config/config_text.h"

/* Adds to the mistakes of @text what the machine lacks, as far as the values that were read are right. Changes nothing. */
void config_check_host(const struct config_text *text, const struct config *config);

#endif

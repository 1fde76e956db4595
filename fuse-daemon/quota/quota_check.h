/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Groups [quota NAME] of the configuration that cannot be applied, because the path is not a directory, or a file in it has a
 * hard link outside. Users can cause both, so the daemon starts without such a group, and logs a warning. --check-config
 * and dmemfsctl report the same.
 */
#ifndef DMEMFS_QUOTA_CHECK_H
#define DMEMFS_QUOTA_CHECK_H

#include "config/config.h"

/* Logs that @quota is not applied because of @err, a negative errno, and the remedy. */
void quota_check_warn(const struct config *config, const struct quota_config *quota, int err);
/* Logs which groups the next start would not apply. Asks the daemon if one runs, else reads the record. */
void quota_check(const struct config *config);
/* Why the next start would not apply @quota, and the remedy; static text. NULL: it would, or that cannot be found out. */
const char *quota_check_obstacle(const struct config *config, const struct quota_config *quota);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * [quota NAME] groups of the configuration that cannot be in force, since users have something else at the path, or links
 * that lead out of it. That is no reason to serve none of them: a start skips such a group, and who asks is told the same.
 */
#ifndef DMEMFS_QUOTA_CHECK_H
#define DMEMFS_QUOTA_CHECK_H

#include "config/config.h"

/* Logs that @quota is skipped because of @err, a negative errno, and the remedy. */
void quota_check_warn(const struct config *config, const struct quota_config *quota, int err);
/* Logs which groups the next start would skip, by what is on record now; a daemon at work is asked. */
void quota_check(const struct config *config);
/* Why it would skip @quota, and the remedy: static text. NULL: it would not, or the record cannot be read. */
const char *quota_check_obstacle(const struct config *config, const struct quota_config *quota);

#endif

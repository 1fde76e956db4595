/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Parses and formats limits: the values of the extended attributes, as set by users and on record. */
#ifndef DMEMFS_QUOTA_LIMIT_H
#define DMEMFS_QUOTA_LIMIT_H

#include <stddef.h>

#include "quota/quota.h"

/* "dmemfs.quota.max_bytes" and "dmemfs.quota.max_files". */
const char *quota_limit_name(enum quota_resource resource);
/*
 * Parses a limit from 1 to 2^63 - 1: bytes as a size of the configuration ("64G"), files as a decimal number. @text has @size
 * bytes, and may end in a line feed. False: it is not a limit.
 */
bool quota_limit_parse(enum quota_resource resource, const void *text, size_t size, uint64_t *max);
/* The limit as text that quota_limit_parse() reads; the caller frees it. */
char *quota_limit_format(enum quota_resource resource, uint64_t max);

#endif

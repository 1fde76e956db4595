/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A limit as text: the value of an extended attribute, to be read and on record. Pure. */
#ifndef DMEMFS_QUOTA_LIMIT_H
#define DMEMFS_QUOTA_LIMIT_H

#include <stddef.h>

#include "quota/quota.h"

/* "dmemfs.quota.max_bytes" and "dmemfs.quota.max_files". */
const char *quota_limit_name(enum quota_resource resource);
/*
 * Bytes as a size of the configuration ("64G"), files as a decimal number; 1 to 2^63 - 1. @text has @size bytes, and
 * may have a line feed at its end. False: it is no limit.
 */
bool quota_limit_parse(enum quota_resource resource, const void *text, size_t size, uint64_t *max);
/* What quota_limit_parse() reads; g_malloc'ed. */
char *quota_limit_format(enum quota_resource resource, uint64_t max);

#endif

// SPDX-License-Identifier: GPL-2.0-or-later
/* Parses and formats limits. */
#include "quota/quota_limit.h"

#include <string.h>

#include "config/config.h"

/* Bytes. No valid limit is longer. */
#define TEXT_MAX 64

const char *quota_limit_name(enum quota_resource resource)
{
	static const char *const names[] = {
		[QUOTA_BYTES] = "dmemfs.quota.max_bytes",
		[QUOTA_FILES] = "dmemfs.quota.max_files",
	};

	return names[resource];
}

bool quota_limit_parse(enum quota_resource resource, const void *text, size_t size, uint64_t *max)
{
	g_autofree char *copy = NULL;

	if (size == 0 || size > TEXT_MAX || memchr(text, 0, size))
		return false;
	copy = g_strndup(text, size);
	if (copy[size - 1] == '\n')
		copy[size - 1] = '\0';
	if (resource == QUOTA_FILES)
		return g_ascii_string_to_unsigned(copy, 10, 1, INT64_MAX, max, NULL);
	return config_parse_size(copy, max, NULL) && *max > 0;
}

char *quota_limit_format(enum quota_resource resource, uint64_t max)
{
	return resource == QUOTA_BYTES ? config_format_size(max) : g_strdup_printf("%" G_GUINT64_FORMAT, max);
}

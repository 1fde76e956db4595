// SPDX-License-Identifier: GPL-2.0-or-later
/* Parses and formats sizes in bytes. Also defines the configuration's error domain. */
#include "config/config_size.h"

#include <errno.h>
#include <string.h>

#include "base/extent.h"

G_DEFINE_QUARK(dmemfs - config - error - quark, config_error)

static const char suffixes[] = "KMGTP";

/* The base-2 logarithm of the factor that @suffix stands for; -1 when it is unknown. */
static int suffix_shift(const char *suffix)
{
	if (!*suffix)
		return 0;

	const char *found = strchr(suffixes, g_ascii_toupper(*suffix));

	return found && !suffix[1] ? 10 * (int)(found - suffixes + 1) : -1;
}

bool config_parse_size(const char *text, uint64_t *bytes, GError **error)
{
	int base = text[0] == '0' && g_ascii_tolower(text[1]) == 'x' ? 16 : 10;
	char *end = NULL;

	errno = 0;

	uint64_t value = g_ascii_strtoull(text, &end, (guint)base);
	bool overflow = errno == ERANGE;
	int shift = suffix_shift(end);

	/* strtoull() would also accept white space and a sign. */
	if (!g_ascii_isdigit(text[0]) || shift < 0) {
		g_set_error(
			error, CONFIG_ERROR, CONFIG_ERROR_INVALID,
			"\"%s\" is not a size: use a whole number of bytes, or one with K, M, G, T or P, such as 64G",
			text);
		return false;
	}
	if (overflow || value > (uint64_t)INT64_MAX >> shift) {
		g_set_error(error, CONFIG_ERROR, CONFIG_ERROR_INVALID, "\"%s\" is too large: use less than 2^63 bytes",
		            text);
		return false;
	}
	*bytes = value << shift;
	return true;
}

bool config_parse_page_size(const char *text, uint64_t *bytes)
{
	return config_parse_size(text, bytes, NULL) &&
	       (*bytes == DMEMFS_PAGE_4K || *bytes == DMEMFS_PAGE_2M || *bytes == DMEMFS_PAGE_1G);
}

char *config_format_size(uint64_t bytes)
{
	for (int i = (int)strlen(suffixes); i > 0 && bytes > 0; i--) {
		if (bytes % (UINT64_C(1) << 10 * i) == 0)
			return g_strdup_printf("%" G_GUINT64_FORMAT "%c", bytes >> 10 * i, suffixes[i - 1]);
	}
	return g_strdup_printf("%" G_GUINT64_FORMAT, bytes);
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* Finds the physical memory that the kernel's command line reserves. */
#include "backend/memmap_cmdline.h"

#include <stdbool.h>
#include <string.h>

#include "base/extent.h"
#include "config/config.h"

/* Parses a number as the kernel's memparse() does: in any base, with one suffix of K M G T P E. False: it is not one. */
static bool parse_number(const char **text, uint64_t *bytes)
{
	static const char suffixes[] = "KMGTPE";
	char *end;
	guint64 value = g_ascii_strtoull(*text, &end, 0);
	const char *suffix;

	if (end == *text)
		return false;
	suffix = *end ? strchr(suffixes, g_ascii_toupper(*end)) : NULL;
	if (suffix) {
		unsigned shift = 10 * (unsigned)(suffix - suffixes + 1);

		if (value > UINT64_MAX >> shift)
			return false;
		value <<= shift;
		end++;
	}
	*text = end;
	*bytes = value;
	return true;
}

/* @list: "SIZE$START[,SIZE$START...]" */
static void parse_list(const char *list, GArray *ranges)
{
	g_auto(GStrv) items = g_strsplit(list, ",", -1);

	for (char **item = items; *item; item++) {
		const char *at = *item;
		struct extent range;

		if (parse_number(&at, &range.length) && *at++ == '$' && parse_number(&at, &range.start) && !*at &&
		    range.length > 0 && range.start <= UINT64_MAX - range.length)
			g_array_append_val(ranges, range);
	}
}

GArray *memmap_cmdline_parse(const char *cmdline)
{
	GArray *ranges = g_array_new(FALSE, FALSE, sizeof(struct extent));
	g_auto(GStrv) words = g_strsplit_set(cmdline, " \t\n", -1);

	for (char **word = words; *word; word++) {
		if (g_str_has_prefix(*word, "memmap="))
			parse_list(*word + strlen("memmap="), ranges);
	}
	extents_merge(ranges);
	return ranges;
}

GArray *memmap_cmdline_read(GError **error)
{
	g_autofree char *cmdline = NULL;

	if (!g_file_get_contents("/proc/cmdline", &cmdline, NULL, error))
		return NULL;
	return memmap_cmdline_parse(cmdline);
}

char *memmap_cmdline_argument(uint64_t start, uint64_t length)
{
	g_autofree char *size = config_format_size(length);

	return g_strdup_printf("memmap=%s$0x%" G_GINT64_MODIFIER "x", size, start);
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* Sizes, file names and tables as text. */
#include <glib.h>

#include "dmemfsctl/text.h"

#define EQUALS(call, expected)                          \
	do {                                            \
		g_autofree char *found = (call);        \
		g_assert_cmpstr(found, ==, (expected)); \
	} while (0)

static void sizes(void)
{
	EQUALS(text_size(0), "0 B");
	EQUALS(text_size(1023), "1023 B");
	EQUALS(text_size(1024), "1 KiB");
	EQUALS(text_size(1536), "1.5 KiB");
	EQUALS(text_size(UINT64_C(64) << 30), "64 GiB");
	EQUALS(text_size(UINT64_MAX), "16.0 EiB");
	EQUALS(text_share(1, 3), "33.3 %");
	EQUALS(text_share(1, 0), "-");
	EQUALS(text_page_sizes(0), "-");
	EQUALS(text_page_sizes((UINT64_C(1) << 30) | 4096), "1G+4K");
}

static void names(void)
{
	EQUALS(text_visible("vm 1"), "vm 1");
	EQUALS(text_visible("a\nb\033[31m\x7f"), "a\\x0ab\\x1b[31m\\x7f");
	EQUALS(text_visible("\xc3\xa4\xff\\x"), "\xc3\xa4\\xff\\x5cx");
	EQUALS(text_visible("\xc2\x9b"
	                    "31m"),
	       "\\xc2\\x9b"
	       "31m"); /* CSI as one character */
}

static void columns(void)
{
	static const char *const headers[] = { "NAME", ">SIZE", "LAST", NULL };
	g_autoptr(table_t) table = table_new(headers);

	table_add(table, "a\xc3\xa4");
	table_add(table, "12345");
	table_add(table, "x");
	table_add(table, "longer");
	table_add(table, "1");
	table_add(table, "yy");
	EQUALS(table_text(table, "> "), "> NAME     SIZE  LAST\n> a\xc3\xa4      12345  x\n> longer      1  yy\n");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/ctl_text/sizes", sizes);
	g_test_add_func("/ctl_text/names", names);
	g_test_add_func("/ctl_text/columns", columns);
	return g_test_run();
}

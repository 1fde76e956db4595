// SPDX-License-Identifier: GPL-2.0-or-later
/* Parses all forms of memmap= on the kernel's command line. */
#include "backend/memmap_cmdline.h"
#include "base/extent.h"

#define GIB (UINT64_C(1) << 30)

static void assert_ranges(const char *cmdline, const struct extent *expected, guint count)
{
	g_autoptr(GArray) ranges = memmap_cmdline_parse(cmdline);

	g_assert_cmpuint(ranges->len, ==, count);
	for (guint i = 0; i < count; i++) {
		const struct extent *range = &g_array_index(ranges, struct extent, i);

		g_assert_cmphex(range->start, ==, expected[i].start);
		g_assert_cmphex(range->length, ==, expected[i].length);
	}
}

static void finds_reserved_ranges(void)
{
	const struct extent one[] = { { 6 * GIB, 2 * GIB } };
	const struct extent two[] = { { 4 * GIB, GIB }, { 8 * GIB, 2 * GIB } };

	assert_ranges("root=/dev/sda memmap=2G$6G quiet", one, 1);
	assert_ranges("memmap=0x80000000$0x180000000\n", one, 1);
	assert_ranges("memmap=2097152K$6144m", one, 1);
	assert_ranges("memmap=2G$8G memmap=1G$4G", two, 2);
	assert_ranges("memmap=2G$8G,1G$4G", two, 2);
}

static void joins_ranges_that_touch(void)
{
	const struct extent one[] = { { 4 * GIB, 4 * GIB } };

	assert_ranges("memmap=2G$4G memmap=2G$6G", one, 1);
	assert_ranges("memmap=3G$4G memmap=2G$6G", one, 1);
}

static void passes_over_everything_else(void)
{
	assert_ranges("", NULL, 0);
	assert_ranges("memmap=exactmap memmap=2G@6G memmap=64K#1G memmap=16G!32G memmap=1G%4G-2+1", NULL, 0);
	assert_ranges("memmap=$ memmap=2G$ memmap=$6G memmap=2G$6Gx memmap=0$6G memmap=2X$6G", NULL, 0);
	assert_ranges("memmap=16E$16E memmap=0xffffffffffffffff$0xffffffffffffffff", NULL, 0);
	assert_ranges("xmemmap=2G$6G", NULL, 0);
}

static void argument_reads_back(void)
{
	const struct extent range[] = { { 6 * GIB + (2 << 20), 3 << 20 } };
	g_autofree char *argument = memmap_cmdline_argument(range[0].start, range[0].length);

	g_assert_cmpstr(argument, ==, "memmap=3M$0x180200000");
	assert_ranges(argument, range, 1);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/memmap_cmdline/ranges", finds_reserved_ranges);
	g_test_add_func("/memmap_cmdline/join", joins_ranges_that_touch);
	g_test_add_func("/memmap_cmdline/other", passes_over_everything_else);
	g_test_add_func("/memmap_cmdline/argument", argument_reads_back);
	return g_test_run();
}

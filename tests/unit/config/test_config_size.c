// SPDX-License-Identifier: GPL-2.0-or-later
/* Sizes that are parsed, sizes that are refused, and that the formatted text is the shortest that parses to the same. */
#include <glib.h>
#include <string.h>

#include "config/config.h"

static const struct {
	const char *text;
	uint64_t bytes;
} sizes[] = {
	{ "0", 0 },
	{ "1", 1 },
	{ "4096", 4096 },
	{ "007", 7 }, /* not octal */
	{ "1K", UINT64_C(1) << 10 },
	{ "2M", UINT64_C(2) << 20 },
	{ "2m", UINT64_C(2) << 20 },
	{ "64G", UINT64_C(64) << 30 },
	{ "1536G", UINT64_C(1536) << 30 },
	{ "16T", UINT64_C(16) << 40 },
	{ "3P", UINT64_C(3) << 50 },
	{ "0x100000000", UINT64_C(1) << 32 },
	{ "0XffK", UINT64_C(255) << 10 },
	{ "9223372036854775807", INT64_MAX },
	{ "0x7fffffffffffffff", INT64_MAX },
	{ "8191P", UINT64_C(8191) << 50 },
};

static const struct {
	const char *text;
	const char *fragment;
} bad_sizes[] = {
	{ "", "is not a size" },
	{ " ", "is not a size" },
	{ " 1", "is not a size" },
	{ "1 ", "is not a size" },
	{ "1 G", "is not a size" },
	{ "+1", "is not a size" },
	{ "-1", "is not a size" },
	{ "-0", "is not a size" },
	{ "G", "is not a size" },
	{ "1.5T", "is not a size" },
	{ "1e9", "is not a size" },
	{ "1KB", "is not a size" },
	{ "1KiB", "is not a size" },
	{ "1KK", "is not a size" },
	{ "1E", "is not a size" },
	{ "0x", "is not a size" },
	{ "0xG", "is not a size" },
	{ "x10", "is not a size" },
	{ "0x0x10", "is not a size" },
	{ "0x-1", "is not a size" },
	{ "1\nK", "is not a size" },
	{ "\xd9\xa1", "is not a size" }, /* an Arabic digit */
	{ "9223372036854775808", "is too large" },
	{ "0x8000000000000000", "is too large" },
	{ "18446744073709551616", "is too large" },
	{ "99999999999999999999999999999999", "is too large" },
	{ "8192P", "is too large" },
	{ "16777216T", "is too large" },
	{ "0xffffffffffffffffP", "is too large" },
};

static void sizes_are_read(void)
{
	for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
		g_autoptr(GError) error = NULL;
		uint64_t bytes = 12345;

		g_assert_true(config_parse_size(sizes[i].text, &bytes, &error));
		g_assert_no_error(error);
		g_assert_cmpuint(bytes, ==, sizes[i].bytes);
	}
}

static void bad_sizes_are_refused(void)
{
	for (size_t i = 0; i < G_N_ELEMENTS(bad_sizes); i++) {
		g_autoptr(GError) error = NULL;
		uint64_t bytes = 12345;

		if (config_parse_size(bad_sizes[i].text, &bytes, &error))
			g_error("\"%s\" was taken for %" G_GUINT64_FORMAT, bad_sizes[i].text, bytes);
		g_assert_error(error, CONFIG_ERROR, CONFIG_ERROR_INVALID);
		if (!strstr(error->message, bad_sizes[i].fragment))
			g_error("\"%s\": %s", bad_sizes[i].text, error->message);
		g_assert_nonnull(strstr(error->message, ": use "));
		g_assert_cmpuint(bytes, ==, 12345);
	}
}

static void sizes_are_written_in_short(void)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} written[] = {
		{ 0, "0" },
		{ 1, "1" },
		{ 1023, "1023" },
		{ 1024, "1K" },
		{ 1025, "1025" },
		{ 4097, "4097" },
		{ UINT64_C(2) << 20, "2M" },
		{ UINT64_C(3) << 19, "1536K" },
		{ UINT64_C(1) << 40, "1T" },
		{ UINT64_C(8191) << 50, "8191P" },
		{ INT64_MAX, "9223372036854775807" },
	};

	for (size_t i = 0; i < G_N_ELEMENTS(written); i++) {
		g_autofree char *text = config_format_size(written[i].bytes);

		g_assert_cmpstr(text, ==, written[i].text);
	}
}

static void what_is_written_reads_back(void)
{
	for (unsigned i = 0; i < 100000; i++) {
		/* Every magnitude, with few bits and with many. */
		uint64_t random = (uint64_t)g_test_rand_int() << 32 | (uint32_t)g_test_rand_int();
		uint64_t bytes = (random >> 1 >> (i % 63)) << (i / 63 % 24) & INT64_MAX;
		g_autofree char *text = config_format_size(bytes);
		uint64_t again;

		g_assert_true(config_parse_size(text, &again, NULL));
		g_assert_cmpuint(again, ==, bytes);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/config/size/read", sizes_are_read);
	g_test_add_func("/config/size/refused", bad_sizes_are_refused);
	g_test_add_func("/config/size/written", sizes_are_written_in_short);
	g_test_add_func("/config/size/round-trip", what_is_written_reads_back);
	return g_test_run();
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* The parsers of dmemfsctl doctor. */
#include "dmemfsctl/doctor.h"

static void release(void)
{
	unsigned version, patchlevel;

	g_assert_true(doctor_parse_release("6.12.3-amd64", &version, &patchlevel));
	g_assert_cmpuint(version, ==, 6);
	g_assert_cmpuint(patchlevel, ==, 12);
	g_assert_true(doctor_parse_release("7.0-rc1", &version, &patchlevel));
	g_assert_cmpuint(version, ==, 7);
	g_assert_cmpuint(patchlevel, ==, 0);
	g_assert_false(doctor_parse_release("", &version, &patchlevel));
	g_assert_false(doctor_parse_release("6", &version, &patchlevel));
}

static void choice(void)
{
	g_autofree char *middle = doctor_parse_choice("always [madvise] never");
	g_autofree char *last = doctor_parse_choice("always madvise [never]");

	g_assert_cmpstr(middle, ==, "madvise");
	g_assert_cmpstr(last, ==, "never");
	g_assert_null(doctor_parse_choice("always madvise never"));
	g_assert_null(doctor_parse_choice("[always"));
	g_assert_null(doctor_parse_choice(""));
}

static int type_of(uint64_t start, uint64_t end, char type[static DOCTOR_TYPE_ROOM])
{
	static const char *const list = "PAT memtype list:\n"
					"PAT: [mem 0x00000000bffe0000-0x00000000bffe4000] write-back\n"
					"PAT: [mem 0x0000000100000000-0x0000000140000000] write-back\n"
					"PAT: [mem 0x0000000140000000-0x0000000180000000] write-back\n"
					"PAT: [mem 0x0000000180000000-0x00000001c0000000] uncached-minus\n"
					"PAT: [mem 0x0000000200000000-0x0000000280000000] write-back";

	return doctor_parse_type(list, (struct extent){ start, end - start }, type);
}

static void memory_type(void)
{
	char type[DOCTOR_TYPE_ROOM];

	g_assert_cmpint(type_of(0x200000000, 0x280000000, type), ==, 1);
	g_assert_cmpint(type_of(0x100000000, 0x180000000, type), ==, 1); /* two entries */
	g_assert_cmpint(type_of(0x120000000, 0x160000000, type), ==, 1);
	g_assert_cmpint(type_of(0x100000000, 0x1c0000000, type), ==, 0);
	g_assert_cmpstr(type, ==, "uncached-minus");
	g_assert_cmpint(type_of(0x200000000, 0x2c0000000, type), ==, -1); /* the end has no entry */
	g_assert_cmpint(type_of(0xc0000000, 0x140000000, type), ==, -1);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/doctor/release", release);
	g_test_add_func("/doctor/choice", choice);
	g_test_add_func("/doctor/memory-type", memory_type);
	return g_test_run();
}

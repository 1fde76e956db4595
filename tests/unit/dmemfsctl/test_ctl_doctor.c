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

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/doctor/release", release);
	g_test_add_func("/doctor/choice", choice);
	return g_test_run();
}

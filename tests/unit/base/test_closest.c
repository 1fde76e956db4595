// SPDX-License-Identifier: GPL-2.0-or-later
/* Which word was meant. */
#include "base/closest.h"

static const char *const words[] = { "status", "state-dir", "size", "metrics-file", "metrics-interval", "ls", NULL };

static void means(const char *given, const char *expected)
{
	g_assert_cmpstr(closest_word(given, words), ==, expected);
}

static void a_beginning_is_enough(void)
{
	means("stat", NULL); /* two begin so */
	means("statu", "status");
	means("state", "state-dir");
	means("metrics-f", "metrics-file");
	means("metrics", NULL);
	means("l", "ls");
}

static void one_letter_in_three_may_differ(void)
{
	means("sise", "size");
	means("zise", NULL);
	means("siz", "size");
	means("statsu", "status");
	means("metric_file", "metrics-file");
	means("sl", NULL);
	means("frobnicate", NULL);
}

static void words_that_are_no_words(void)
{
	g_autofree char *longer = g_strnfill(1 << 20, 's');

	means("", NULL);
	means(longer, NULL);
}

static void the_remark_goes_into_a_message(void)
{
	g_autofree char *found = closest_remark("siez", words), *none = closest_remark("x", words);

	g_assert_cmpstr(found, ==, "");
	g_assert_cmpstr(none, ==, "");
	g_free(found);
	found = closest_remark("sizes", words);
	g_assert_cmpstr(found, ==, ", did you mean \"size\"?");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/closest/beginning", a_beginning_is_enough);
	g_test_add_func("/closest/letters", one_letter_in_three_may_differ);
	g_test_add_func("/closest/no-words", words_that_are_no_words);
	g_test_add_func("/closest/remark", the_remark_goes_into_a_message);
	return g_test_run();
}

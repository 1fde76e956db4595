// SPDX-License-Identifier: GPL-2.0-or-later
/* Values that are attached to short options. */
#include "base/arguments.h"

static gboolean force;
static char *size;
static const GOptionEntry options[] = { { "size", 's', 0, G_OPTION_ARG_STRING, &size, "", "SIZE" },
	                                { "force", 'f', 0, G_OPTION_ARG_NONE, &force, "", NULL },
	                                { "node", 0, 0, G_OPTION_ARG_STRING, &size, "", "N" },
	                                G_OPTION_ENTRY_NULL };
static const GOptionEntry *const tables[] = { options, NULL };

/* @before and @after: arguments with one space between each. */
static void becomes(const char *before, const char *after)
{
	g_auto(GStrv) given = g_strsplit(before, " ", -1);
	g_auto(GStrv) split = arguments_split(given, tables);
	g_autofree char *joined = g_strjoinv(" ", split);

	g_assert_cmpstr(joined, ==, after);
}

static void a_value_is_split_off(void)
{
	becomes("x -s4G", "x -s 4G");
	becomes("x -fs4G y", "x -fs 4G y");
	becomes("x -s-s4G", "x -s -s4G");
}

static void the_rest_stays(void)
{
	becomes("-s4G", "-s4G"); /* the program's name */
	becomes("x -s 4G -f --force --size=4G", "x -s 4G -f --force --size=4G");
	becomes("x -s -s4G -s4G", "x -s -s4G -s 4G");
	becomes("x --node -s4G -s4G", "x --node -s4G -s 4G");
	becomes("x --node -- -s4G", "x --node -- -s 4G");
	becomes("x -- -s4G", "x -- -s4G");
	becomes("x - -x4G -fx4G -xs4G", "x - -x4G -fx4G -xs4G");
	becomes("x  s4G", "x  s4G"); /* an empty one */
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/arguments/split", a_value_is_split_off);
	g_test_add_func("/arguments/rest", the_rest_stays);
	return g_test_run();
}

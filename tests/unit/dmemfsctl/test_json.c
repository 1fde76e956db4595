// SPDX-License-Identifier: GPL-2.0-or-later
/* The JSON that dmemfsctl prints. */
#include <glib.h>

#include "dmemfsctl/json.h"

static void nesting(void)
{
	const char *const words[] = { "a", "b", NULL };
	g_autoptr(json_t) json = json_new();

	json_unsigned(json, "most", UINT64_MAX);
	json_signed(json, "least", INT64_MIN);
	json_begin_array(json, "list");
	json_begin_object(json, NULL);
	json_end(json);
	json_bool(json, NULL, true);
	json_null(json, NULL);
	json_end(json);
	json_strings(json, "words", words);
	json_begin_object(json, "open");
	json_bool(json, "closed", false);
	g_assert_cmpstr(
		json_finish(json), ==,
		"{\n  \"most\": 18446744073709551615,\n  \"least\": -9223372036854775808,\n"
		"  \"list\": [\n    {},\n    true,\n    null\n  ],\n  \"words\": [\n    \"a\",\n    \"b\"\n  ],\n"
		"  \"open\": {\n    \"closed\": false\n  }\n}\n");
}

static void empty(void)
{
	g_autoptr(json_t) json = json_new();

	g_assert_cmpstr(json_finish(json), ==, "{}\n");
}

static void quoting(void)
{
	g_autoptr(json_t) json = json_new();

	json_string(json, "a\"b", "\\ \"\n\t\x01\x7f \xc3\xa4");
	json_string(json, "bad", "x\xffy");
	json_string(json, "none", NULL);
	g_assert_cmpstr(json_finish(json), ==,
	                "{\n  \"a\\\"b\": \"\\\\ \\\"\\u000a\\u0009\\u0001\\u007f \xc3\xa4\",\n"
	                "  \"bad\": \"x\xef\xbf\xbdy\",\n  \"none\": null\n}\n");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/json/nesting", nesting);
	g_test_add_func("/json/empty", empty);
	g_test_add_func("/json/quoting", quoting);
	return g_test_run();
}

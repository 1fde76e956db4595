// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Reads the rules of AppArmor profiles: see apparmor.d(5). G_REGEX_RAW: not all comments are UTF-8, and GLib checks all of a text anew for
 * each match.
 */
#include "dmemfsctl/apparmor_rules.h"

#include <string.h>

#define DIRECTORY   "/etc/apparmor.d"
#define MAX_INCLUDE 8 /* files deep; profiles that include themselves are not compiled */

static void append(GString *text, const char *root, const char *path, unsigned depth);

static void append_file(GString *text, const char *contents, const char *root, unsigned depth)
{
	g_autoptr(GRegex) include = g_regex_new("^\\s*#?include\\s+(?:if\\s+exists\\s+)?"
	                                        "(?|<([^>]+)>|\"(?:" DIRECTORY "/)?([^\"]+)\")",
	                                        G_REGEX_RAW, 0, NULL);
	g_auto(GStrv) lines = g_strsplit(contents, "\n", -1);

	for (char **line = lines; *line; line++) {
		g_autoptr(GMatchInfo) match = NULL;

		if (g_regex_match(include, *line, 0, &match)) {
			g_autofree char *name = g_match_info_fetch(match, 1);

			append(text, root, name, depth + 1);
		} else if (!g_str_has_prefix(g_strchug(*line), "#")) {
			g_string_append_printf(text, "%s\n", *line);
		}
	}
}

static void append(GString *text, const char *root, const char *path, unsigned depth)
{
	g_autofree char *full = g_build_filename(root, DIRECTORY, path, NULL);
	g_autoptr(GDir) directory = NULL;
	g_autofree char *contents = NULL;

	if (depth > MAX_INCLUDE)
		return;
	if (g_file_get_contents(full, &contents, NULL, NULL)) {
		append_file(text, contents, root, depth);
		return;
	}
	directory = g_dir_open(full, 0, NULL);
	for (const char *name; directory && (name = g_dir_read_name(directory));) {
		g_autofree char *file = g_build_filename(path, name, NULL);

		append(text, root, file, depth + 1);
	}
}

char *apparmor_rules_read(const char *root, const char *path)
{
	GString *text = g_string_new(NULL);

	append(text, root, path, 0);
	return g_string_free(text, FALSE);
}

/* A pattern of a rule as a regular expression, g_malloc'ed. */
static char *expression_of(const char *pattern)
{
	GString *text = g_string_new("^");
	unsigned choices = 0;

	for (const char *at = pattern; *at; at++) {
		if (g_str_has_prefix(at, "**")) {
			g_string_append(text, ".*");
			at++;
		} else if (*at == '*') {
			g_string_append(text, "[^/]*");
		} else if (*at == '?') {
			g_string_append(text, "[^/]");
		} else if (*at == '{') {
			g_string_append(text, "(?:");
			choices++;
		} else if (*at == '}' && choices > 0) {
			g_string_append_c(text, ')');
			choices--;
		} else if (*at == ',' && choices > 0) {
			g_string_append_c(text, '|');
		} else if (strchr("[]^-", *at)) {
			g_string_append_c(text, *at);
		} else {
			g_autofree char *quoted = g_regex_escape_string(at, 1);

			g_string_append(text, quoted);
		}
	}
	g_string_append(text, "$");
	return g_string_free(text, FALSE);
}

static bool matches(const char *pattern, const char *path)
{
	g_autofree char *expression = expression_of(pattern);

	return g_regex_match_simple(expression, path, G_REGEX_RAW | G_REGEX_DOLLAR_ENDONLY, 0);
}

bool apparmor_rules_allow(const char *text, const char *path, char permission)
{
	g_autoptr(GRegex) form =
		g_regex_new("^\\s*((?:[a-z]+\\s+)*)(?:\"([^\"]+)\"|(/\\S*))\\s+([a-zA-Z]+)", G_REGEX_RAW, 0, NULL);
	g_auto(GStrv) rules = g_regex_split_simple(",\\s+|\n", text, G_REGEX_RAW, 0);
	bool allowed = false;

	for (char **rule = rules; *rule; rule++) {
		g_autoptr(GMatchInfo) match = NULL;
		g_autofree char *before = NULL;
		g_autofree char *quoted = NULL;
		g_autofree char *plain = NULL;
		g_autofree char *permissions = NULL;

		if (!g_regex_match(form, *rule, 0, &match))
			continue;
		before = g_match_info_fetch(match, 1);
		quoted = g_match_info_fetch(match, 2);
		plain = g_match_info_fetch(match, 3);
		permissions = g_match_info_fetch(match, 4);
		if (!strchr(permissions, permission) || !matches(*quoted ? quoted : plain, path))
			continue;
		if (strstr(before, "deny"))
			return false;
		allowed = true;
	}
	return allowed;
}

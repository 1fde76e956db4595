// SPDX-License-Identifier: GPL-2.0-or-later
/* Reads and writes the values of a configuration file: one function for each type. */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "config/config_size.h"
#include "config/config_text.h"

bool config_text_has(const struct config_text *text, const char *group, const char *key)
{
	return g_key_file_has_key(text->keys, group, key, NULL);
}

bool config_text_is(const struct config_text *text, const char *group, const char *key, const char *value)
{
	g_autofree char *given = g_key_file_get_string(text->keys, group, key, NULL);

	return g_strcmp0(given, value) == 0;
}

bool config_text_get_string(const struct config_text *text, const char *group, const char *key, char **value)
{
	g_autoptr(GError) reason = NULL;
	g_autofree char *given = NULL;

	if (!config_text_has(text, group, key))
		return true;
	given = g_key_file_get_string(text->keys, group, key, &reason);
	if (reason)
		return config_text_fail(text, group, key, "unknown escape: write \\\\ for a backslash");
	if (!*given)
		return config_text_fail(text, group, key, "has no value: write one, or remove the line");
	g_free(*value);
	*value = g_steal_pointer(&given);
	return true;
}

/* Removes doubled and trailing slashes. */
static void squeeze_slashes(char *path)
{
	char *to = path;

	for (const char *from = path; *from; from++) {
		if (*from != '/' || to == path || to[-1] != '/')
			*to++ = *from;
	}
	if (to > path + 1 && to[-1] == '/')
		to--;
	*to = '\0';
}

/* Such paths are refused, because the daemon compares paths as text. */
static bool has_dots(const char *path)
{
	g_auto(GStrv) parts = g_strsplit(path, "/", -1);

	return g_strv_contains((const char *const *)parts, ".") || g_strv_contains((const char *const *)parts, "..");
}

static bool has_control_characters(const char *path)
{
	for (; *path; path++) {
		if (g_ascii_iscntrl(*path))
			return true;
	}
	return false;
}

bool config_text_get_path(const struct config_text *text, const char *group, const char *key, char **value)
{
	g_autofree char *path = NULL;

	if (!config_text_get_string(text, group, key, &path))
		return false;
	if (!path)
		return true;
	if (*path != '/')
		return config_text_fail(text, group, key, "\"%s\" is a relative path: start it with /", path);
	if (has_control_characters(path))
		return config_text_fail(text, group, key, "has control characters in it: use another name");
	if (has_dots(path))
		return config_text_fail(text, group, key, "\"%s\" has . or .. in it: write the path out", path);
	if (strlen(path) >= PATH_MAX)
		return config_text_fail(text, group, key, "the path is longer than %d bytes: use a shorter one",
		                        PATH_MAX - 1);
	squeeze_slashes(path);
	g_free(*value);
	*value = g_steal_pointer(&path);
	return true;
}

bool config_text_get_size(const struct config_text *text, const char *group, const char *key, uint64_t *value)
{
	g_autoptr(GError) reason = NULL;
	g_autofree char *given = NULL;

	if (!config_text_get_string(text, group, key, &given))
		return false;
	if (given && !config_parse_size(given, value, &reason))
		return config_text_fail(text, group, key, "%s", reason->message);
	return true;
}

char *config_text_quote(const struct config_text *text, const char *group, const char *key, uint64_t bytes)
{
	g_autofree char *given = g_key_file_get_string(text->keys, group, key, NULL);
	g_autofree char *size = config_format_size(bytes);

	return g_strdup_printf("\"%s\"", given ? given : size);
}

bool config_text_check_multiple(const struct config_text *text, const char *group, const char *key, uint64_t bytes,
                                uint64_t page_size)
{
	if (page_size == 0 || bytes % page_size == 0)
		return true;

	g_autofree char *given = config_text_quote(text, group, key, bytes);
	g_autofree char *page = config_format_size(page_size);
	g_autofree char *nearest = config_format_size(MAX(bytes - bytes % page_size, page_size));

	return config_text_fail(text, group, key, "%s is not a multiple of page-size, %s: use %s, for example", given,
	                        page, nearest);
}

bool config_text_get_pages(const struct config_text *text, const char *group, const char *key, uint64_t page_size,
                           uint64_t *bytes)
{
	if (!config_text_get_size(text, group, key, bytes))
		return false;
	if (*bytes == 0)
		return config_text_fail(text, group, key, "is zero: use at least one page");
	return config_text_check_multiple(text, group, key, *bytes, page_size);
}

bool config_text_get_number(const struct config_text *text, const char *group, const char *key, uint64_t min,
                            uint64_t max, uint64_t *value)
{
	g_autofree char *given = NULL;
	guint64 number;

	if (!config_text_get_string(text, group, key, &given))
		return false;
	if (!given)
		return true;
	if (!g_ascii_string_to_unsigned(given, 10, min, max, &number, NULL))
		return config_text_fail(text, group, key,
		                        "\"%s\" is not valid: use a whole number from %" G_GUINT64_FORMAT
		                        " to %" G_GUINT64_FORMAT,
		                        given, min, max);
	*value = number;
	return true;
}

bool config_text_get_choice(const struct config_text *text, const char *group, const char *key,
                            const char *const *choices, unsigned *value)
{
	g_autofree char *given = NULL;
	g_autofree char *list = NULL;

	if (!config_text_get_string(text, group, key, &given))
		return false;
	if (!given)
		return true;
	for (unsigned i = 0; choices[i]; i++) {
		if (g_str_equal(given, choices[i])) {
			*value = i;
			return true;
		}
	}
	list = g_strjoinv(" or ", (char **)choices);
	return config_text_fail(text, group, key, "unknown value \"%s\": use %s", given, list);
}

bool config_text_get_factor(const struct config_text *text, const char *group, const char *key, double max,
                            double *value)
{
	g_autofree char *given = NULL;
	char *end;

	if (!config_text_get_string(text, group, key, &given))
		return false;
	if (!given)
		return true;

	double number = g_ascii_strtod(given, &end);

	if (strspn(given, G_CSET_DIGITS ".") != strlen(given) || end == given || *end || !(number > 0 && number <= max))
		return config_text_fail(text, group, key,
		                        "\"%s\" is not valid: use a number above 0 and up to %g, such as 1.5", given,
		                        max);
	*value = number;
	return true;
}

bool config_text_get_bool(const struct config_text *text, const char *group, const char *key, bool *value)
{
	static const char *const choices[] = { "false", "true", NULL };
	unsigned index = *value;

	if (!config_text_get_choice(text, group, key, choices, &index))
		return false;
	*value = index;
	return true;
}

void config_text_set_size(GKeyFile *keys, const char *group, const char *key, uint64_t bytes)
{
	g_autofree char *text = config_format_size(bytes);

	g_key_file_set_string(keys, group, key, text);
}

/* Escapes a space at the end, which would be stripped when the file is read. GKeyFile escapes leading ones only. */
void config_text_set_path(GKeyFile *keys, const char *group, const char *key, const char *path)
{
	if (!path)
		return;
	g_key_file_set_string(keys, group, key, path);
	if (g_str_has_suffix(path, " ")) {
		g_autofree char *raw = g_key_file_get_value(keys, group, key, NULL);
		g_autofree char *escaped = NULL;

		raw[strlen(raw) - 1] = '\0';
		escaped = g_strconcat(raw, "\\s", NULL);
		g_key_file_set_value(keys, group, key, escaped);
	}
}

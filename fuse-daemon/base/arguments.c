// SPDX-License-Identifier: GPL-2.0-or-later
/* Command lines: values that are attached to short options, and which option was probably meant. */
#include "base/arguments.h"

#include <stdbool.h>
#include <string.h>

#include "base/closest.h"

static bool takes_value(const GOptionEntry *entry)
{
	return entry && entry->arg != G_OPTION_ARG_NONE;
}

/* The option of the letter @letter, or of the long name @name if it is not NULL. NULL: there is none. */
static const GOptionEntry *find(const GOptionEntry *const *tables, char letter, const char *name)
{
	for (; *tables; tables++) {
		for (const GOptionEntry *entry = *tables; entry->long_name; entry++) {
			if (name ? g_str_equal(entry->long_name, name) : entry->short_name == letter)
				return entry;
		}
	}
	return NULL;
}

/* @argument begins with "-" and a letter. Returns its first letter that takes a value; NULL: none does. */
static const char *find_valued(const char *argument, const GOptionEntry *const *tables)
{
	for (const char *letter = argument + 1; *letter; letter++) {
		const GOptionEntry *entry = find(tables, *letter, NULL);

		if (!entry)
			return NULL;
		if (takes_value(entry))
			return letter;
	}
	return NULL;
}

/* Appends @argument, in two parts if a value is attached. Returns whether the next argument is its value. */
static bool append(GPtrArray *split, const char *argument, const GOptionEntry *const *tables)
{
	const char *letter = NULL;

	if (g_str_has_prefix(argument, "--")) {
		g_ptr_array_add(split, g_strdup(argument));
		return takes_value(find(tables, 0, argument + 2));
	}
	if (*argument == '-')
		letter = find_valued(argument, tables);
	if (!letter || !letter[1]) {
		g_ptr_array_add(split, g_strdup(argument));
		return letter;
	}
	g_ptr_array_add(split, g_strndup(argument, (gsize)(letter + 1 - argument)));
	g_ptr_array_add(split, g_strdup(letter + 1));
	return false;
}

char **arguments_split(char *const *arguments, const GOptionEntry *const *tables)
{
	GPtrArray *split = g_ptr_array_new();
	bool verbatim = true; /* the first argument, the value of an option, and what follows "--" */
	bool ended = false;

	for (; *arguments; arguments++) {
		ended |= !verbatim && g_str_equal(*arguments, "--");
		if (verbatim || ended)
			g_ptr_array_add(split, g_strdup(*arguments));
		verbatim = !verbatim && !ended && append(split, *arguments, tables);
	}
	g_ptr_array_add(split, NULL);
	return (char **)g_ptr_array_free(split, FALSE);
}

char *arguments_explain(const GError *error, const GOptionEntry *const *tables)
{
	const char *dashes = strstr(error->message, "--");
	g_autoptr(GPtrArray) names = g_ptr_array_new();
	g_autofree char *given = NULL;
	const char *meant;

	if (!g_error_matches(error, G_OPTION_ERROR, G_OPTION_ERROR_UNKNOWN_OPTION) || !dashes)
		return g_strdup(error->message);
	for (; *tables; tables++) {
		for (const GOptionEntry *entry = *tables; entry->long_name; entry++)
			g_ptr_array_add(names, (char *)entry->long_name);
	}
	g_ptr_array_add(names, NULL);
	given = g_strndup(dashes + 2, strcspn(dashes + 2, "="));
	meant = closest_word(given, (const char *const *)names->pdata);
	return meant ? g_strdup_printf("%s, did you mean --%s?", error->message, meant) : g_strdup(error->message);
}

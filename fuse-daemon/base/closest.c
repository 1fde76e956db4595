// SPDX-License-Identifier: GPL-2.0-or-later
/* Guesses which of some words was meant: by its beginning, or by the number of letters that differ. */
#include "base/closest.h"

#include <stdint.h>
#include <string.h>

/* Longer words are not compared: what is that long is no slip of a finger. */
#define WORD_MAX 32

/* How many letters must be inserted, deleted or replaced to make @a of @b (Levenshtein); SIZE_MAX when one is too long. */
static size_t distance(const char *a, const char *b)
{
	size_t row[WORD_MAX + 1];
	size_t width = strlen(b);

	if (strlen(a) > WORD_MAX || width > WORD_MAX)
		return SIZE_MAX;
	for (size_t i = 0; i <= width; i++)
		row[i] = i;
	for (size_t line = 1; *a; a++, line++) {
		size_t diagonal = row[0];

		row[0] = line;
		for (size_t i = 1; i <= width; i++) {
			size_t above = row[i];

			row[i] = MIN(MIN(above, row[i - 1]) + 1, diagonal + (*a != b[i - 1]));
			diagonal = above;
		}
	}
	return row[width];
}

const char *closest_word(const char *given, const char *const *known)
{
	const char *begun = NULL, *nearest = NULL;
	size_t best = strlen(given) / 3 + 1; /* less than this */
	unsigned beginnings = 0;

	if (!*given)
		return NULL;
	for (; *known; known++) {
		size_t letters = distance(given, *known);

		if (g_str_has_prefix(*known, given)) {
			begun = *known;
			beginnings++;
		}
		if (letters < best) {
			best = letters;
			nearest = *known;
		}
	}
	return beginnings == 1 ? begun : nearest;
}

char *closest_remark(const char *given, const char *const *known)
{
	const char *word = closest_word(given, known);

	return word ? g_strdup_printf(", did you mean \"%s\"?", word) : g_strdup("");
}

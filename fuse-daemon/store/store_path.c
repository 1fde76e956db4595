// SPDX-License-Identifier: GPL-2.0-or-later
/* Finds paths on record. The record may be damaged: directories may lie in each other, or have two names. */
#include <string.h>

#include "store/store_internal.h"

/* The record has no index for this: each level of directories takes one scan of all names, for all inodes together. */
#define SCANS_MAX 32
/* Of a longer path only the end is told. */
#define PATH_BYTES 1024

struct name {
	int64_t ino, parent;
	char *text; /* NULL: not found */
};

static void name_free(gpointer data)
{
	struct name *name = data;

	g_free(name->text);
	g_free(name);
}

static void want(GHashTable *names, int64_t ino)
{
	struct name *name;

	if (ino == STORE_ROOT_INO || g_hash_table_contains(names, &ino))
		return;
	name = g_new0(struct name, 1);
	name->ino = ino;
	g_hash_table_insert(names, &name->ino, name);
}

/* Finds names that are wanted, and wants those of their directories. */
static void scan_names(sqlite3 *db, GHashTable *names)
{
	sqlite3_stmt *query = NULL;

	if (sqlite3_prepare_v2(db, "SELECT ino, parent, name FROM entry", -1, &query, NULL) == SQLITE_OK) {
		while (sqlite3_step(query) == SQLITE_ROW) {
			int64_t ino = sqlite3_column_int64(query, 0);
			struct name *name = g_hash_table_lookup(names, &ino);

			if (!name || name->text)
				continue;
			name->text = g_strdup((const char *)sqlite3_column_text(query, 2));
			name->parent = sqlite3_column_int64(query, 1);
			want(names, name->parent);
		}
	}
	sqlite3_finalize(query);
}

static void find_names(sqlite3 *db, GHashTable *names)
{
	guint before = 0;

	for (int scans = 0; scans < SCANS_MAX && g_hash_table_size(names) > before; scans++) {
		before = g_hash_table_size(names);
		scan_names(db, names);
	}
}

/* One path of inode @ino, g_malloc'ed; NULL: none is found that begins at the root. */
static char *path_of(GHashTable *names, int64_t ino)
{
	g_autoptr(GString) path = g_string_new(NULL);

	for (guint left = g_hash_table_size(names); ino != STORE_ROOT_INO; left--) {
		const struct name *name = g_hash_table_lookup(names, &ino);

		if (left == 0 || !name || !name->text)
			return NULL;
		if (path->len + strlen(name->text) > PATH_BYTES) {
			g_string_prepend(path, "...");
			break;
		}
		g_string_prepend(path, name->text);
		g_string_prepend_c(path, '/');
		ino = name->parent;
	}
	return path->len ? g_strescape(path->str, NULL) : NULL;
}

static int64_t number_of(const GMatchInfo *match)
{
	g_autofree char *number = g_match_info_fetch(match, 1);

	return g_ascii_strtoll(number, NULL, 10);
}

static gboolean note_number(const GMatchInfo *match, GString *text, gpointer names)
{
	(void)text;
	want(names, number_of(match));
	return FALSE;
}

static gboolean add_path(const GMatchInfo *match, GString *text, gpointer names)
{
	g_autofree char *all = g_match_info_fetch(match, 0);
	g_autofree char *path = path_of(names, number_of(match));

	g_string_append(text, all);
	if (path)
		g_string_append_printf(text, " (%s)", path);
	return FALSE;
}

void store_name_inodes(sqlite3 *db, GPtrArray *texts)
{
	g_autoptr(GRegex) inodes = g_regex_new("\\b(?:inode|directory) (\\d+)\\b", 0, 0, NULL);
	g_autoptr(GHashTable) names = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, name_free);

	for (guint i = 0; i < texts->len; i++)
		g_free(g_regex_replace_eval(inodes, g_ptr_array_index(texts, i), -1, 0, 0, note_number, names, NULL));
	find_names(db, names);
	for (guint i = 0; i < texts->len; i++) {
		char **text = (char **)&g_ptr_array_index(texts, i);
		char *named = g_regex_replace_eval(inodes, *text, -1, 0, 0, add_path, names, NULL);

		if (!named)
			continue;
		g_free(*text);
		*text = named;
	}
}

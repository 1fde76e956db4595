// SPDX-License-Identifier: GPL-2.0-or-later
/* Finds paths on record. The record may be damaged: directories may lie in each other, or have two names. */
#include <stdlib.h>

#include "store/store_internal.h"

/* The limit is for such directories, and more than a path can have. */
static const char find_path[] =
	"WITH RECURSIVE up(dir, path) AS (SELECT * FROM (SELECT parent, '/' || name FROM entry WHERE ino = ?1 LIMIT 1)"
	" UNION ALL SELECT parent, '/' || name || path FROM up JOIN entry ON ino = dir LIMIT 2048)"
	" SELECT path FROM up WHERE dir = 1 LIMIT 1";

/* One path of inode @ino, g_malloc'ed; NULL: it has none, or the database cannot be read. */
static char *path_of(sqlite3 *db, int64_t ino)
{
	sqlite3_stmt *query = NULL;
	char *path = NULL;

	if (sqlite3_prepare_v2(db, find_path, -1, &query, NULL) == SQLITE_OK) {
		sqlite3_bind_int64(query, 1, ino);
		if (sqlite3_step(query) == SQLITE_ROW)
			path = g_strdup((const char *)sqlite3_column_text(query, 0));
	}
	sqlite3_finalize(query);
	return path;
}

static gboolean add_path(const GMatchInfo *match, GString *text, gpointer db)
{
	g_autofree char *all = g_match_info_fetch(match, 0);
	g_autofree char *number = g_match_info_fetch(match, 1);
	g_autofree char *path = path_of(db, g_ascii_strtoll(number, NULL, 10));
	g_autofree char *visible = path ? g_strescape(path, NULL) : NULL;

	g_string_append(text, all);
	if (visible)
		g_string_append_printf(text, " (%s)", visible);
	return FALSE;
}

char *store_name_inodes(sqlite3 *db, const char *text)
{
	g_autoptr(GRegex) inodes = g_regex_new("\\b(?:inode|directory) (\\d+)\\b", 0, 0, NULL);
	char *named = g_regex_replace_eval(inodes, text, -1, 0, 0, add_path, db, NULL);

	return named ? named : g_strdup(text);
}

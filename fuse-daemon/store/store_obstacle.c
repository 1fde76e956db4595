// SPDX-License-Identifier: GPL-2.0-or-later
/* Finds what prevents a directory on record from becoming a quota tree. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "store/store_internal.h"

static const char find_entry[] = "SELECT ino, mode FROM entry JOIN inode USING (ino) WHERE parent = ?1 AND name = ?2";

/* Finds an inode below directory ?1 that also has a name elsewhere. Not a directory, which has only one name. */
static const char find_links[] =
	"WITH RECURSIVE below(ino) AS (SELECT ino FROM entry WHERE parent = ?1"
	" UNION ALL SELECT entry.ino FROM below CROSS JOIN entry ON entry.parent = below.ino),"
	" inside AS (SELECT ino, count(*) AS names FROM below GROUP BY ino)"
	" SELECT ino, 0 FROM inside JOIN (SELECT ino, count(*) AS names FROM entry GROUP BY ino HAVING count(*) > 1) AS all_names"
	" USING (ino) WHERE all_names.names > inside.names LIMIT 1";

/* Runs the query @text, and reads inode and mode of its first row. 0, -ENOENT (no row) or -EIO. */
static int look(sqlite3 *db, const char *text, uint64_t dir, const char *name, uint64_t *ino, mode_t *mode)
{
	sqlite3_stmt *query = NULL;
	int result = sqlite3_prepare_v2(db, text, -1, &query, NULL);

	if (result == SQLITE_OK) {
		sqlite3_bind_int64(query, 1, (sqlite3_int64)dir);
		if (name)
			sqlite3_bind_blob(query, 2, name, (int)strlen(name), SQLITE_STATIC);
		result = sqlite3_step(query);
		*ino = (uint64_t)sqlite3_column_int64(query, 0);
		*mode = (mode_t)sqlite3_column_int64(query, 1);
	}
	sqlite3_finalize(query);
	return result == SQLITE_ROW ? 0 : result == SQLITE_DONE ? -ENOENT : -EIO;
}

static int find_obstacle(sqlite3 *db, const char *path)
{
	g_auto(GStrv) names = g_strsplit(path, "/", -1);
	uint64_t dir = 1; /* the root */
	mode_t mode = S_IFDIR;
	int err = 0;

	for (char **name = names; *name && !err; name++) {
		if (**name)
			err = look(db, find_entry, dir, *name, &dir, &mode);
		if (!err && !S_ISDIR(mode))
			return -ENOTDIR;
	}
	if (!err)
		err = look(db, find_links, dir, NULL, &dir, &mode) == 0 ? -EXDEV : 0;
	return err == -EXDEV ? err : 0;
}

int store_find_obstacle(const char *state_dir, const char *path)
{
	g_autofree char *file = g_build_filename(state_dir, STORE_FILE, NULL);
	sqlite3 *db = store_connect(file, SQLITE_OPEN_READONLY, NULL);
	int err = 0;

	if (db)
		sqlite3_busy_timeout(db, 0);
	if (db && store_schema_verify(db, file, NULL))
		err = find_obstacle(db, path);
	else if (db && (sqlite3_errcode(db) & 0xff) == SQLITE_BUSY)
		err = -EBUSY;
	sqlite3_close(db);
	return err;
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* Finds and deletes the files whose contents are lost. */
#include "store/store_internal.h"

/* S_ISREG(mode) in SQL, which has no octal numbers: 61440 is S_IFMT, 32768 is S_IFREG. */
#define WITH_CONTENTS "(mode & 61440) = 32768 AND size > 0"
/* ?1: what happens to files without the attribute. */
#define TO_REMOVE                                                                              \
	"ifnull((SELECT CAST(value AS TEXT) = 'remove' FROM xattr WHERE xattr.ino = inode.ino" \
	" AND name = CAST('" STORE_LOST_CONTENTS "' AS BLOB)), ?1)"
#define FILES_TO_REMOVE "(SELECT ino FROM inode WHERE " WITH_CONTENTS " AND " TO_REMOVE ")"

int store_count_files(struct store *store, bool by_default, unsigned *files, unsigned *to_remove)
{
	static const char sql[] = "SELECT count(*), ifnull(sum(" TO_REMOVE "), 0) FROM inode WHERE " WITH_CONTENTS;
	sqlite3_stmt *query = NULL;
	int result;

	*files = *to_remove = 0;
	g_mutex_lock(&store->lock);
	result = sqlite3_prepare_v2(store->db, sql, -1, &query, NULL);
	if (result == SQLITE_OK)
		sqlite3_bind_int(query, 1, by_default);
	if (result == SQLITE_OK && sqlite3_step(query) == SQLITE_ROW) {
		*files = (unsigned)sqlite3_column_int64(query, 0);
		*to_remove = (unsigned)sqlite3_column_int64(query, 1);
	}
	result = sqlite3_finalize(query);
	g_mutex_unlock(&store->lock);
	return store_errno(result);
}

int store_count_odd_runs(struct store *store, struct extent range, uint64_t page, unsigned *runs)
{
	static const char sql[] = "SELECT count(*) FROM extent WHERE start < ?2 AND start + length > ?1"
				  " AND (offset % ?3 OR start % ?3 OR length % ?3)";
	sqlite3_stmt *query = NULL;
	int result;

	*runs = 0;
	g_mutex_lock(&store->lock);
	result = sqlite3_prepare_v2(store->db, sql, -1, &query, NULL);
	if (result == SQLITE_OK) {
		sqlite3_bind_int64(query, 1, (sqlite3_int64)range.start);
		sqlite3_bind_int64(query, 2, (sqlite3_int64)(range.start + range.length));
		sqlite3_bind_int64(query, 3, (sqlite3_int64)page);
		if (sqlite3_step(query) == SQLITE_ROW)
			*runs = (unsigned)sqlite3_column_int64(query, 0);
	}
	result = sqlite3_finalize(query);
	g_mutex_unlock(&store->lock);
	return store_errno(result);
}

int store_remove_files(struct store *store, bool by_default)
{
	uint64_t argument = by_default;

	store_begin(store);
	STORE_RUN(store, "DELETE FROM entry WHERE ino IN " FILES_TO_REMOVE, argument);
	STORE_RUN(store, "DELETE FROM extent WHERE ino IN " FILES_TO_REMOVE, argument);
	STORE_RUN(store, "DELETE FROM backing WHERE ino IN " FILES_TO_REMOVE, argument);
	STORE_RUN(store, "DELETE FROM inode WHERE ino IN " FILES_TO_REMOVE, argument);
	/* Last, because the choice of the files reads them. */
	store_run(store, "DELETE FROM xattr WHERE ino NOT IN (SELECT ino FROM inode)", NULL, 0);
	return store_commit(store);
}

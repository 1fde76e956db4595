// SPDX-License-Identifier: GPL-2.0-or-later
/* Finds and deletes the files whose contents are lost. */
#include "store/store_internal.h"

/* S_ISREG(mode) in SQL, which has no octal numbers: 61440 is S_IFMT, 32768 is S_IFREG. */
#define WITH_CONTENTS "(SELECT ino FROM inode WHERE (mode & 61440) = 32768 AND size > 0)"

int store_count_files(struct store *store, unsigned *files)
{
	sqlite3_stmt *query = NULL;
	int result;

	*files = 0;
	g_mutex_lock(&store->lock);
	result = sqlite3_prepare_v2(store->db, "SELECT count(*) FROM " WITH_CONTENTS, -1, &query, NULL);
	if (result == SQLITE_OK && sqlite3_step(query) == SQLITE_ROW)
		*files = (unsigned)sqlite3_column_int64(query, 0);
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

int store_remove_files(struct store *store)
{
	store_begin(store);
	store_run(store, "DELETE FROM entry WHERE ino IN " WITH_CONTENTS, NULL, 0);
	store_run(store, "DELETE FROM xattr WHERE ino IN " WITH_CONTENTS, NULL, 0);
	store_run(store, "DELETE FROM extent WHERE ino IN " WITH_CONTENTS, NULL, 0);
	store_run(store, "DELETE FROM backing WHERE ino IN " WITH_CONTENTS, NULL, 0);
	store_run(store, "DELETE FROM inode WHERE ino IN " WITH_CONTENTS, NULL, 0);
	return store_commit(store);
}

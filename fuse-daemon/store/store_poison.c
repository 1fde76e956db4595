// SPDX-License-Identifier: GPL-2.0-or-later
/* Bad memory on record, and the file that has the memory at an address. */
#include <errno.h>

#include "store/store_internal.h"

int store_list_poison(struct store *store, GArray *runs)
{
	return store_list_runs(store, "SELECT start, length FROM poison ORDER BY start", runs);
}

/*
 * Finds the file that has the memory at address ?1, the offset in it, and one path: takes one entry of the file, and follows
 * the parents up to the root, which is inode 1.
 */
static const char find_memory[] =
	"WITH RECURSIVE place(ino, offset) AS (SELECT ino, offset + (?1 - start) FROM extent"
	" WHERE start <= ?1 AND ?1 - start < length),"
	" up(dir, path) AS (SELECT * FROM (SELECT parent, '/' || name FROM entry JOIN place USING (ino) LIMIT 1)"
	" UNION ALL SELECT parent, '/' || name || path FROM up JOIN entry ON ino = dir)"
	" SELECT ino, offset, (SELECT path FROM up WHERE dir = 1) FROM place";

int store_find_memory(struct store *store, uint64_t address, struct store_place *place)
{
	sqlite3_stmt *query = NULL;
	int result;

	*place = (struct store_place){ 0 };
	g_mutex_lock(&store->lock);
	result = sqlite3_prepare_v2(store->db, find_memory, -1, &query, NULL);
	if (result == SQLITE_OK) {
		sqlite3_bind_int64(query, 1, (sqlite3_int64)address);
		result = sqlite3_step(query);
	}
	if (result == SQLITE_ROW)
		*place = (struct store_place){
			.ino = (uint64_t)sqlite3_column_int64(query, 0),
			.offset = (uint64_t)sqlite3_column_int64(query, 1),
			.path = g_strdup((const char *)sqlite3_column_text(query, 2)),
		};
	sqlite3_finalize(query);
	g_mutex_unlock(&store->lock);
	if (result == SQLITE_ROW)
		return 0;
	return result == SQLITE_DONE ? -ENOENT : store_errno(result);
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* Clean memory on record. Adjacent pieces are merged, so that there are few and long rows. */
#include "store/store_internal.h"

/* Finds the last row that begins at or before @address. False when there is none. */
static bool last_row(struct store *store, uint64_t address, struct extent *row)
{
	sqlite3_stmt *query =
		store_statement(store, "SELECT start, length FROM clean WHERE start <= ?1 ORDER BY start DESC LIMIT 1");
	int result;

	if (!query)
		return false;
	sqlite3_bind_int64(query, 1, (sqlite3_int64)address);
	result = sqlite3_step(query);
	if (result == SQLITE_ROW) {
		row->start = (uint64_t)sqlite3_column_int64(query, 0);
		row->length = (uint64_t)sqlite3_column_int64(query, 1);
	}
	sqlite3_reset(query);
	if (result != SQLITE_ROW && result != SQLITE_DONE)
		store->failed = result;
	return result == SQLITE_ROW;
}

static void put(struct store *store, uint64_t start, uint64_t end)
{
	if (start < end)
		STORE_RUN(store, "INSERT INTO clean (start, length, sum) VALUES (?1, ?2, crc(?1, ?2))", start,
		          end - start);
}

static void remove_row(struct store *store, uint64_t start)
{
	STORE_RUN(store, "DELETE FROM clean WHERE start = ?1", start);
}

void store_put_clean(struct store *store, struct extent run)
{
	uint64_t start = run.start, end = run.start + run.length;
	struct extent row;

	store_delete_held(store, run);
	/* In descending order: a row that begins where the run ends, rows inside it, one that reaches its start. */
	while (last_row(store, end, &row) && row.start + row.length >= start) {
		start = MIN(start, row.start);
		end = MAX(end, row.start + row.length);
		remove_row(store, row.start);
	}
	put(store, start, end);
}

void store_delete_clean(struct store *store, struct extent run)
{
	uint64_t end = run.start + run.length;
	struct extent row;

	while (last_row(store, end - 1, &row) && row.start + row.length > run.start) {
		remove_row(store, row.start);
		put(store, end, row.start + row.length);
		put(store, row.start, run.start);
	}
}

void store_forget_clean(struct store *store)
{
	store_run(store, "DELETE FROM clean", NULL, 0);
}

int store_list_runs(struct store *store, const char *text, GArray *runs)
{
	sqlite3_stmt *query = NULL;
	int result;

	g_mutex_lock(&store->lock);
	result = sqlite3_prepare_v2(store->db, text, -1, &query, NULL);
	while (result == SQLITE_OK || result == SQLITE_ROW) {
		result = sqlite3_step(query);
		if (result == SQLITE_ROW) {
			struct extent run = { (uint64_t)sqlite3_column_int64(query, 0),
				              (uint64_t)sqlite3_column_int64(query, 1) };

			g_array_append_val(runs, run);
		}
	}
	sqlite3_finalize(query);
	g_mutex_unlock(&store->lock);
	return store_errno(result == SQLITE_DONE ? SQLITE_OK : result);
}

int store_list_clean(struct store *store, GArray *runs)
{
	return store_list_runs(store, "SELECT start, length FROM clean ORDER BY start", runs);
}

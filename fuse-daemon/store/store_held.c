// SPDX-License-Identifier: GPL-2.0-or-later
/* Memory that left a file, and that devices may hold, on record. */
#include <string.h>

#include "store/store_internal.h"

static void clear_held(gpointer data)
{
	struct store_held *held = data;

	g_free(held->name);
	g_free(held->trees);
}

GArray *store_held_new(void)
{
	GArray *held = g_array_new(FALSE, FALSE, sizeof(struct store_held));

	g_array_set_clear_func(held, clear_held);
	return held;
}

void store_gone_free(struct store_gone *gone)
{
	if (!gone)
		return;
	g_array_unref(gone->extents);
	clear_held(&gone->last);
	g_free(gone);
}

static void put(struct store *store, struct extent run, const struct store_held *held)
{
	const char *name = held->name ?: "", *trees = held->trees ?: "";
	const uint64_t numbers[] = { run.start, run.length, (uint64_t)held->since, held->ino, (uint64_t)held->pid };

	store_run_named(store,
	                "INSERT INTO held (start, length, since, ino, pid, name, trees, sum)"
	                " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, crc(?1, ?2, ?3, ?4, ?5, ?6, ?7))",
	                numbers, G_N_ELEMENTS(numbers), name, trees, strlen(trees));
}

void store_put_held(struct store *store, const struct store_held *held)
{
	store_delete_held(store, held->extent);
	put(store, held->extent, held);
}

/* Is any of @run on record? Rows do not overlap. */
static bool is_held(struct store *store, struct extent run)
{
	sqlite3_stmt *query =
		store_statement(store, "SELECT start + length FROM held WHERE start < ?1 ORDER BY start DESC LIMIT 1");
	uint64_t end = 0;
	int result;

	if (!query)
		return false;
	sqlite3_bind_int64(query, 1, (sqlite3_int64)(run.start + run.length));
	result = sqlite3_step(query);
	if (result == SQLITE_ROW)
		end = (uint64_t)sqlite3_column_int64(query, 0);
	sqlite3_reset(query);
	if (result != SQLITE_ROW && result != SQLITE_DONE)
		store->failed = result;
	return end > run.start;
}

void store_delete_held(struct store *store, struct extent run)
{
	uint64_t end = run.start + run.length;

	if (!is_held(store, run))
		return;
	/* The part of a row behind @run, then the part before it. */
	STORE_RUN(store,
	          "INSERT INTO held SELECT ?1, start + length - ?1, since, ino, pid, name, trees,"
	          " crc(?1, start + length - ?1, since, ino, pid, name, trees) FROM held"
	          " WHERE start = (SELECT max(start) FROM held WHERE start < ?1) AND start + length > ?1",
	          end);
	STORE_RUN(store,
	          "UPDATE held SET length = ?1 - start, sum = crc(start, ?1 - start, since, ino, pid, name, trees)"
	          " WHERE start = (SELECT max(start) FROM held WHERE start < ?1) AND start + length > ?1",
	          run.start);
	STORE_RUN(store, "DELETE FROM held WHERE start >= ?1 AND start < ?2", run.start, end);
}

void store_put_gone(struct store *store, uint64_t ino, const struct store_gone *gone)
{
	const char *trees = gone->last.trees ?: "";

	for (guint i = 0; i < gone->extents->len; i++) {
		struct store_held held = gone->last;

		held.extent = g_array_index(gone->extents, struct extent, i);
		store_put_held(store, &held);
	}
	/* Also the memory that it gave up before. */
	store_run_named(store,
	                "UPDATE held SET name = ?2, trees = ?3,"
	                " sum = crc(start, length, since, ino, pid, ?2, ?3) WHERE ino = ?1",
	                &ino, 1, gone->last.name ?: "", trees, strlen(trees));
}

static char *text_at(sqlite3_stmt *query, int column)
{
	return g_strndup(sqlite3_column_blob(query, column) ?: "", (gsize)sqlite3_column_bytes(query, column));
}

int store_list_held(struct store *store, GArray *rows)
{
	sqlite3_stmt *query = NULL;
	int result;

	g_mutex_lock(&store->lock);
	result = sqlite3_prepare_v2(store->db,
	                            "SELECT start, length, since, ino, pid, name, trees FROM held ORDER BY start", -1,
	                            &query, NULL);
	while (result == SQLITE_OK || result == SQLITE_ROW) {
		result = sqlite3_step(query);
		if (result == SQLITE_ROW) {
			const struct store_held held = {
				.extent = { (uint64_t)sqlite3_column_int64(query, 0),
				            (uint64_t)sqlite3_column_int64(query, 1) },
				.since = sqlite3_column_int64(query, 2),
				.ino = (uint64_t)sqlite3_column_int64(query, 3),
				.pid = sqlite3_column_int(query, 4),
				.name = text_at(query, 5),
				.trees = text_at(query, 6),
			};

			g_array_append_val(rows, held);
		}
	}
	sqlite3_finalize(query);
	g_mutex_unlock(&store->lock);
	return store_errno(result == SQLITE_DONE ? SQLITE_OK : result);
}

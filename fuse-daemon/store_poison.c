// SPDX-License-Identifier: GPL-2.0-or-later
/* Memory that went bad, on record, and whose it is. */
#include <errno.h>

#include "store_internal.h"

/* No directory is as deep as this: names in a circle, in a damaged record. */
#define DEPTH_MAX 4096

int store_list_poison(struct store *store, GArray *runs)
{
	return store_list_runs(store, "SELECT start, length FROM poison ORDER BY start", runs);
}

/* One row of @text for @number: @row takes what it needs of it. SQLite's code, SQLITE_DONE when there is none. */
static int look(struct store *store, const char *text, uint64_t number, void (*row)(sqlite3_stmt *query, void *data),
                void *data)
{
	sqlite3_stmt *query = NULL;
	int result = sqlite3_prepare_v2(store->db, text, -1, &query, NULL);

	if (result == SQLITE_OK) {
		sqlite3_bind_int64(query, 1, (sqlite3_int64)number);
		result = sqlite3_step(query);
	}
	if (result == SQLITE_ROW)
		row(query, data);
	sqlite3_finalize(query);
	return result;
}

static void take_place(sqlite3_stmt *query, void *data)
{
	struct store_place *place = data;

	place->ino = (uint64_t)sqlite3_column_int64(query, 0);
	place->offset = (uint64_t)sqlite3_column_int64(query, 1);
}

struct step {
	uint64_t parent;
	GString *path;
};

static void take_name(sqlite3_stmt *query, void *data)
{
	const char *name = sqlite3_column_blob(query, 1);
	struct step *step = data;

	step->parent = (uint64_t)sqlite3_column_int64(query, 0);
	g_string_prepend_len(step->path, name ? name : "", sqlite3_column_bytes(query, 1));
	g_string_prepend_c(step->path, '/');
}

/* The root is 1, and has no entry. *@path NULL: removed. */
static int find_path(struct store *store, uint64_t ino, char **path)
{
	struct step step = { .parent = ino, .path = g_string_new(NULL) };
	int result = SQLITE_ROW;

	for (unsigned i = 0; i < DEPTH_MAX && result == SQLITE_ROW; i++)
		result = look(store, "SELECT parent, name FROM entry WHERE ino = ?1", step.parent, take_name, &step);
	*path = g_string_free(step.path, step.path->len == 0);
	return result;
}

int store_find_memory(struct store *store, uint64_t address, struct store_place *place)
{
	bool found;
	int result;

	*place = (struct store_place){ 0 };
	g_mutex_lock(&store->lock);
	result = look(store, "SELECT ino, offset + (?1 - start) FROM extent WHERE start <= ?1 AND ?1 - start < length", address,
	              take_place, place);
	found = result == SQLITE_ROW;
	if (found)
		result = find_path(store, place->ino, &place->path);
	g_mutex_unlock(&store->lock);
	if (result != SQLITE_ROW && result != SQLITE_DONE)
		return store_errno(result);
	return found ? 0 : -ENOENT;
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* Memory that went bad, on record, and whose it is. */
#include "store_internal.h"

/* No directory is as deep as this: names in a circle, in a damaged record. */
#define DEPTH_MAX 4096

int store_list_poison(struct store *store, GArray *runs)
{
	return store_list_runs(store, "SELECT start, length FROM poison ORDER BY start", runs);
}

/* One row of @text for @number: @row takes what it needs of it. */
static bool look(struct store *store, const char *text, uint64_t number, void (*row)(sqlite3_stmt *query, void *data),
                 void *data)
{
	sqlite3_stmt *query = NULL;
	bool found = false;

	if (sqlite3_prepare_v2(store->db, text, -1, &query, NULL) == SQLITE_OK) {
		sqlite3_bind_int64(query, 1, (sqlite3_int64)number);
		found = sqlite3_step(query) == SQLITE_ROW;
		if (found)
			row(query, data);
	}
	sqlite3_finalize(query);
	return found;
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

/* The root is 1, and has no entry. NULL: removed. */
static char *find_path(struct store *store, uint64_t ino)
{
	struct step step = { .parent = ino, .path = g_string_new(NULL) };

	for (unsigned i = 0; i < DEPTH_MAX; i++) {
		if (!look(store, "SELECT parent, name FROM entry WHERE ino = ?1", step.parent, take_name, &step))
			break;
	}
	return g_string_free(step.path, step.path->len == 0);
}

bool store_find_memory(struct store *store, uint64_t address, struct store_place *place)
{
	bool found;

	*place = (struct store_place){ 0 };
	if (store_lock_database(store) < 0)
		return false;
	found = look(store, "SELECT ino, offset + (?1 - start) FROM extent WHERE start <= ?1 AND ?1 - start < length", address,
	             take_place, place);
	if (found)
		place->path = find_path(store, place->ino);
	store_unlock_database(store);
	return found;
}

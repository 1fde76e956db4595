// SPDX-License-Identifier: GPL-2.0-or-later
/* Reads every row of the database, for the copies in memory. */
#include "store/store_internal.h"

struct load {
	struct store *store;
	const struct store_visitor *visitor;
	void *data;
	GError **error;
};

/* Calls @row for each row until it returns false. */
static bool scan(const struct load *load, const char *text, bool (*row)(const struct load *load, sqlite3_stmt *query))
{
	sqlite3_stmt *query = NULL;
	int result = sqlite3_prepare_v2(load->store->db, text, -1, &query, NULL);
	bool go_on = true;

	while (go_on && (result == SQLITE_OK || result == SQLITE_ROW)) {
		result = sqlite3_step(query);
		if (result == SQLITE_ROW)
			go_on = row(load, query);
	}
	sqlite3_finalize(query);
	if (go_on && result != SQLITE_DONE)
		go_on = store_fail(load->error, load->store->path, load->store->db, result, "cannot read");
	return go_on;
}

static uint64_t number(sqlite3_stmt *query, int column)
{
	return (uint64_t)sqlite3_column_int64(query, column);
}

/* A blob as a C string. It contains no NUL: store_check() has run. */
static char *string(sqlite3_stmt *query, int column)
{
	const char *blob = sqlite3_column_blob(query, column);

	return g_strndup(blob ? blob : "", (gsize)sqlite3_column_bytes(query, column));
}

static bool load_inode(const struct load *load, sqlite3_stmt *query)
{
	g_autofree char *target = sqlite3_column_type(query, 11) == SQLITE_NULL ? NULL : string(query, 11);
	const struct store_inode inode = {
		.ino = number(query, 0),
		.mode = (mode_t)number(query, 1),
		.uid = (uid_t)number(query, 2),
		.gid = (gid_t)number(query, 3),
		.size = number(query, 4),
		.atime = { sqlite3_column_int64(query, 5), (long)sqlite3_column_int64(query, 6) },
		.mtime = { sqlite3_column_int64(query, 7), (long)sqlite3_column_int64(query, 8) },
		.ctime = { sqlite3_column_int64(query, 9), (long)sqlite3_column_int64(query, 10) },
		.target = target,
	};

	return load->visitor->inode(&inode, load->data, load->error);
}

static bool load_entry(const struct load *load, sqlite3_stmt *query)
{
	g_autofree char *name = string(query, 2);

	return load->visitor->entry(number(query, 0), number(query, 1), name, number(query, 3), load->data,
	                            load->error);
}

static bool load_xattr(const struct load *load, sqlite3_stmt *query)
{
	g_autofree char *name = string(query, 1);

	return load->visitor->xattr(number(query, 0), name, sqlite3_column_blob(query, 2),
	                            (size_t)sqlite3_column_bytes(query, 2), load->data, load->error);
}

static bool load_extent(const struct load *load, sqlite3_stmt *query)
{
	const struct extent_map_run run = { number(query, 1), { number(query, 2), number(query, 3) } };

	return load->visitor->extent(number(query, 0), run, load->data, load->error);
}

static bool load_backing(const struct load *load, sqlite3_stmt *query)
{
	return load->visitor->backing(number(query, 0), sqlite3_column_int(query, 1), load->data, load->error);
}

static bool load_done(const struct load *load, sqlite3_stmt *query)
{
	const struct store_done done = { number(query, 0), number(query, 1) };

	return load->visitor->done(&done, load->data, load->error);
}

bool store_load(struct store *store, const struct store_visitor *visitor, void *data, GError **error)
{
	const struct load load = { store, visitor, data, error };

	return scan(&load,
	            "SELECT ino, mode, uid, gid, size, atime, atime_ns, mtime, mtime_ns, ctime, ctime_ns, target"
	            " FROM inode",
	            load_inode) &&
	       scan(&load, "SELECT parent, cookie, name, ino FROM entry ORDER BY parent, cookie", load_entry) &&
	       scan(&load, "SELECT ino, name, value FROM xattr", load_xattr) &&
	       scan(&load, "SELECT ino, offset, start, length FROM extent ORDER BY ino, offset", load_extent) &&
	       scan(&load, "SELECT ino, id FROM backing", load_backing) &&
	       scan(&load, "SELECT unique_id, ino FROM done", load_done);
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* Rows become those of the database: many transactions of the daemon in one of SQLite. */
#include "crash_point.h"
#include "log.h"
#include "store_internal.h"

static const char *const sql[STATEMENTS] = {
	[STATEMENT_BEGIN] = "BEGIN IMMEDIATE",
	[STATEMENT_COMMIT] = "COMMIT",
	[STATEMENT_ROLLBACK] = "ROLLBACK",
	[ROW_PUT_INODE] = "INSERT INTO inode (ino, mode, uid, gid, size, atime, atime_ns, mtime, mtime_ns, ctime,"
			  " ctime_ns, target, sum) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12,"
			  " crc(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12))",
	/* ?5, the size, stays */
	[ROW_PUT_ATTRIBUTES] = "UPDATE inode SET mode = ?2, uid = ?3, gid = ?4, atime = ?6, atime_ns = ?7, mtime = ?8,"
			       " mtime_ns = ?9, ctime = ?10, ctime_ns = ?11,"
			       " sum = crc(?1, ?2, ?3, ?4, size, ?6, ?7, ?8, ?9, ?10, ?11, target) WHERE ino = ?1",
	[ROW_PUT_SIZE] = "UPDATE inode SET size = ?2, sum = crc(?1, mode, uid, gid, ?2, atime, atime_ns, mtime,"
			 " mtime_ns, ctime, ctime_ns, target) WHERE ino = ?1",
	[ROW_DELETE_INODE] = "DELETE FROM inode WHERE ino = ?1",
	[ROW_DELETE_INODE_XATTRS] = "DELETE FROM xattr WHERE ino = ?1",
	[ROW_DELETE_INODE_EXTENTS] = "DELETE FROM extent WHERE ino = ?1",
	[ROW_DELETE_INODE_BACKING] = "DELETE FROM backing WHERE ino = ?1",
	[ROW_PUT_ENTRY] = "INSERT OR REPLACE INTO entry (parent, cookie, name, ino, sum)"
			  " VALUES (?1, ?2, ?3, ?4, crc(?1, ?2, ?3, ?4))",
	[ROW_DELETE_ENTRY] = "DELETE FROM entry WHERE parent = ?1 AND cookie = ?2",
	[ROW_PUT_XATTR] = "INSERT OR REPLACE INTO xattr (ino, name, value, sum) VALUES (?1, ?2, ?3, crc(?1, ?2, ?3))",
	[ROW_DELETE_XATTR] = "DELETE FROM xattr WHERE ino = ?1 AND name = ?2",
	[ROW_PUT_EXTENT] = "INSERT OR REPLACE INTO extent (ino, offset, start, length, sum)"
			   " VALUES (?1, ?2, ?3, ?4, crc(?1, ?2, ?3, ?4))",
	[ROW_DELETE_EXTENTS] = "DELETE FROM extent WHERE ino = ?1 AND offset >= ?2 AND offset < ?3",
	[ROW_FORGET_CLEAN] = "DELETE FROM clean",
	[ROW_PUT_POISON] = "INSERT INTO poison (start, length, sum) VALUES (?1, ?2, crc(?1, ?2))",
	[ROW_PUT_BACKING] = "INSERT OR REPLACE INTO backing (ino, id, sum) VALUES (?1, ?2, crc(?1, ?2))",
	[ROW_PUT_DONE] = "INSERT OR REPLACE INTO done (slot, unique_id, ino, sum)"
			 " VALUES (?1, ?2, ?3, crc(?1, ?2, ?3))",
	[ROW_DELETE_OLD_DONE] = "DELETE FROM done WHERE slot < ?1",
	[ROW_FORGET_DONE] = "DELETE FROM done",
	[ROW_FORGET_BACKING] = "DELETE FROM backing",
	[ROW_PUT_VALUE] = "INSERT OR REPLACE INTO value (name, value, sum) VALUES (?1, ?2, crc(?1, ?2))",
	[ROW_DELETE_VALUE] = "DELETE FROM value WHERE name = ?1",
	[STATEMENT_GET_VALUE] = "SELECT value FROM value WHERE name = ?1",
	[STATEMENT_GET_CLEAN] = "SELECT start, length FROM clean WHERE start <= ?1 ORDER BY start DESC LIMIT 1",
	[STATEMENT_ADD_CLEAN] = "INSERT INTO clean (start, length, sum) VALUES (?1, ?2, crc(?1, ?2))",
	[STATEMENT_REMOVE_CLEAN] = "DELETE FROM clean WHERE start = ?1",
};

sqlite3_stmt *store_statement(struct store *store, int which)
{
	if (store->failed)
		return NULL;
	if (!store->statements[which]) {
		store->failed = sqlite3_prepare_v3(store->db, sql[which], -1, SQLITE_PREPARE_PERSISTENT,
		                                   &store->statements[which], NULL);
		if (store->failed)
			return NULL;
	}
	return store->statements[which];
}

/* Runs one that returns no row. */
static void run(struct store *store, sqlite3_stmt *prepared)
{
	int result = sqlite3_step(prepared);

	sqlite3_reset(prepared);
	if (result != SQLITE_DONE && !store->failed)
		store->failed = result;
}

void store_run(struct store *store, int which, const uint64_t *numbers, int count)
{
	sqlite3_stmt *prepared = store_statement(store, which);

	if (!prepared)
		return;
	for (int i = 0; i < count; i++)
		sqlite3_bind_int64(prepared, i + 1, (sqlite3_int64)numbers[i]);
	run(store, prepared);
}

static void bind(sqlite3_stmt *prepared, int index, const struct row_value *value)
{
	switch (value->type) {
	case SQLITE_INTEGER:
		sqlite3_bind_int64(prepared, index, value->number);
		break;
	case SQLITE_TEXT:
		sqlite3_bind_text(prepared, index, value->bytes, (int)value->size, SQLITE_STATIC);
		break;
	case SQLITE_BLOB:
		sqlite3_bind_blob(prepared, index, value->bytes, (int)value->size, SQLITE_STATIC);
		break;
	default:
		sqlite3_bind_null(prepared, index);
	}
}

static struct extent extent_of(const struct row *row)
{
	return (struct extent){ (uint64_t)row->values[0].number, (uint64_t)row->values[1].number };
}

static void apply_row(struct store *store, const struct row *row)
{
	sqlite3_stmt *prepared;

	if (row->what == ROW_PUT_CLEAN || row->what == ROW_DELETE_CLEAN) {
		if (row->count != 2)
			store->failed = SQLITE_MISUSE;
		else if (row->what == ROW_PUT_CLEAN)
			store_add_clean(store, extent_of(row));
		else
			store_remove_clean(store, extent_of(row));
		return;
	}
	prepared = store_statement(store, (int)row->what);
	if (!prepared)
		return;
	if ((int)row->count != sqlite3_bind_parameter_count(prepared)) {
		store->failed = SQLITE_MISUSE;
		return;
	}
	for (unsigned i = 0; i < row->count; i++)
		bind(prepared, (int)i + 1, &row->values[i]);
	run(store, prepared);
}

/*
 * Rows that set all there is to be set of something, by what that is: earlier ones of the same need not be applied, whatever came between.
 * The times of a directory in which files are made, and what a thread has answered, are such.
 */
static gpointer key_of(enum store_row what, const struct row *row)
{
	return (gpointer)((uintptr_t)what << 56 ^ (uintptr_t)row->values[0].number);
}

static bool has_key(const struct row *row)
{
	return row->count > 0 && (row->what == ROW_PUT_ATTRIBUTES || row->what == ROW_PUT_SIZE || row->what == ROW_PUT_DONE);
}

/* Where the last row of each key begins; what removes an inode comes after all that was ever set of it. */
static GHashTable *find_last(const GByteArray *rows)
{
	GHashTable *last = g_hash_table_new(NULL, NULL);
	struct row row;

	for (size_t at = 0, begin = 0; row_read(rows, &at, &row); begin = at) {
		if (has_key(&row)) {
			g_hash_table_insert(last, key_of(row.what, &row), GSIZE_TO_POINTER(begin));
		} else if (row.what == ROW_DELETE_INODE && row.count > 0) {
			g_hash_table_insert(last, key_of(ROW_PUT_ATTRIBUTES, &row), GSIZE_TO_POINTER(begin));
			g_hash_table_insert(last, key_of(ROW_PUT_SIZE, &row), GSIZE_TO_POINTER(begin));
		}
	}
	return last;
}

static void apply_rows(struct store *store, const GByteArray *rows)
{
	g_autoptr(GHashTable) last = find_last(rows);
	struct row row;

	for (size_t at = 0, begin = 0; at < rows->len && !store->failed; begin = at) {
		if (!row_read(rows, &at, &row)) {
			store->failed = SQLITE_CORRUPT;
			return;
		}

		if (!has_key(&row) || g_hash_table_lookup(last, key_of(row.what, &row)) == GSIZE_TO_POINTER(begin))
			apply_row(store, &row);
	}
}

/* The number of the last transaction is part of what is applied: after a crash it says what is still to be done. */
static void put_applied(struct store *store, uint64_t number)
{
	sqlite3_stmt *prepared = store_statement(store, ROW_PUT_VALUE);

	if (!prepared)
		return;
	sqlite3_bind_text(prepared, 1, STORE_APPLIED, -1, SQLITE_STATIC);
	sqlite3_bind_blob(prepared, 2, &number, sizeof(number), SQLITE_STATIC);
	run(store, prepared);
}

int store_apply(struct store *store, const GByteArray *rows, uint64_t number)
{
	static struct log_limit limit = LOG_LIMIT_INIT;
	int failed;

	CRASH_POINT("before-apply");
	store->failed = SQLITE_OK;
	store_run(store, STATEMENT_BEGIN, NULL, 0);
	apply_rows(store, rows);
	put_applied(store, number);
	store_run(store, STATEMENT_COMMIT, NULL, 0);
	CRASH_POINT("after-apply");
	failed = store->failed;
	if (!failed)
		return 0;
	log_limited(&limit, LOG_LEVEL_ERROR, "%s: %s", store->path,
	            failed == sqlite3_extended_errcode(store->db) ? sqlite3_errmsg(store->db) : sqlite3_errstr(failed));
	store->failed = SQLITE_OK;
	if (!sqlite3_get_autocommit(store->db))
		store_run(store, STATEMENT_ROLLBACK, NULL, 0);
	return store_errno(failed);
}

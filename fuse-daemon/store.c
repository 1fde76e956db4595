// SPDX-License-Identifier: GPL-2.0-or-later
/* The database: opened, transactions, closed. */
#include "store.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "crash_point.h"
#include "log.h"
#include "store_internal.h"

/* Deletions that wait for a transaction to go with. */
#define GRAVES_MAX 256

G_DEFINE_QUARK(dmemfs-store-error-quark, store_error)

static const char *const sql[STATEMENTS] = {
	[STATEMENT_BEGIN] = "BEGIN IMMEDIATE",
	[STATEMENT_COMMIT] = "COMMIT",
	[STATEMENT_ROLLBACK] = "ROLLBACK",
	[STATEMENT_PUT_INODE] = "INSERT INTO inode (ino, mode, uid, gid, size, atime, atime_ns, mtime, mtime_ns, ctime,"
				" ctime_ns, target, sum) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12,"
				" crc(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12))",
	[STATEMENT_PUT_ATTRIBUTES] = "UPDATE inode SET mode = ?2, uid = ?3, gid = ?4, atime = ?6, atime_ns = ?7,"
				     " mtime = ?8, mtime_ns = ?9, ctime = ?10, ctime_ns = ?11,"
				     " sum = crc(?1, ?2, ?3, ?4, size, ?6, ?7, ?8, ?9, ?10, ?11, target) WHERE ino = ?1",
	[STATEMENT_PUT_SIZE] = "UPDATE inode SET size = ?2, sum = crc(?1, mode, uid, gid, ?2, atime, atime_ns, mtime,"
			       " mtime_ns, ctime, ctime_ns, target) WHERE ino = ?1",
	[STATEMENT_DELETE_INODE] = "DELETE FROM inode WHERE ino = ?1",
	[STATEMENT_DELETE_INODE_XATTRS] = "DELETE FROM xattr WHERE ino = ?1",
	[STATEMENT_DELETE_INODE_EXTENTS] = "DELETE FROM extent WHERE ino = ?1",
	[STATEMENT_DELETE_INODE_BACKING] = "DELETE FROM backing WHERE ino = ?1",
	[STATEMENT_PUT_ENTRY] = "INSERT OR REPLACE INTO entry (parent, cookie, name, ino, sum)"
				" VALUES (?1, ?2, ?3, ?4, crc(?1, ?2, ?3, ?4))",
	[STATEMENT_DELETE_ENTRY] = "DELETE FROM entry WHERE parent = ?1 AND cookie = ?2",
	[STATEMENT_PUT_XATTR] = "INSERT OR REPLACE INTO xattr (ino, name, value, sum)"
				" VALUES (?1, ?2, ?3, crc(?1, ?2, ?3))",
	[STATEMENT_DELETE_XATTR] = "DELETE FROM xattr WHERE ino = ?1 AND name = ?2",
	[STATEMENT_PUT_EXTENT] = "INSERT OR REPLACE INTO extent (ino, offset, start, length, sum)"
				 " VALUES (?1, ?2, ?3, ?4, crc(?1, ?2, ?3, ?4))",
	[STATEMENT_DELETE_EXTENTS] = "DELETE FROM extent WHERE ino = ?1 AND offset >= ?2 AND offset < ?3",
	[STATEMENT_PUT_CLEAN] = "INSERT INTO clean (start, length, sum) VALUES (?1, ?2, crc(?1, ?2))",
	[STATEMENT_DELETE_CLEAN] = "DELETE FROM clean WHERE start = ?1",
	[STATEMENT_DELETE_ALL_CLEAN] = "DELETE FROM clean",
	[STATEMENT_GET_CLEAN] = "SELECT start, length FROM clean WHERE start <= ?1 ORDER BY start DESC LIMIT 1",
	[STATEMENT_PUT_POISON] = "INSERT INTO poison (start, length, sum) VALUES (?1, ?2, crc(?1, ?2))",
	[STATEMENT_PUT_BACKING] = "INSERT OR REPLACE INTO backing (ino, id, sum) VALUES (?1, ?2, crc(?1, ?2))",
	[STATEMENT_PUT_DONE] = "INSERT OR REPLACE INTO done (slot, unique_id, ino, sum)"
			       " VALUES (?1, ?2, ?3, crc(?1, ?2, ?3))",
	[STATEMENT_DELETE_OLD_DONE] = "DELETE FROM done WHERE slot < ?1",
	[STATEMENT_DELETE_ALL_DONE] = "DELETE FROM done",
	[STATEMENT_DELETE_ALL_BACKING] = "DELETE FROM backing",
	[STATEMENT_PUT_VALUE] = "INSERT OR REPLACE INTO value (name, value, sum) VALUES (?1, ?2, crc(?1, ?2))",
	[STATEMENT_DELETE_VALUE] = "DELETE FROM value WHERE name = ?1",
	[STATEMENT_GET_VALUE] = "SELECT value FROM value WHERE name = ?1",
};

bool store_fail(GError **error, enum store_error code, const char *path, sqlite3 *db, const char *what)
{
	int result = db ? sqlite3_errcode(db) : SQLITE_OK;

	if (result == SQLITE_CORRUPT || result == SQLITE_NOTADB)
		code = STORE_ERROR_DAMAGED;
	g_set_error(error, STORE_ERROR, code, "%s: %s%s%s", path, what, db ? ": " : "", db ? sqlite3_errmsg(db) : "");
	return false;
}

/*
 * The SQL function crc(...): CRC-32 of type and value of each argument. Every row has that of its columns, so that bits that
 * flipped on a disk show: SQLite checks how its pages hang together, not what is in them.
 */
static void crc_function(sqlite3_context *context, int count, sqlite3_value **values)
{
	uLong sum = crc32(0, NULL, 0);

	for (int i = 0; i < count; i++) {
		unsigned char type = (unsigned char)sqlite3_value_type(values[i]);

		sum = crc32(sum, &type, 1);
		if (type == SQLITE_INTEGER) {
			sqlite3_int64 number = sqlite3_value_int64(values[i]);

			sum = crc32(sum, (const Bytef *)&number, sizeof(number));
		} else if (type != SQLITE_NULL) {
			const Bytef *blob = sqlite3_value_blob(values[i]);

			if (blob) /* NULL when empty, which zlib would take as the wish for a new sum */
				sum = crc32(sum, blob, (uInt)sqlite3_value_bytes(values[i]));
		}
	}
	sqlite3_result_int64(context, (sqlite3_int64)sum);
}

sqlite3 *store_connect(const char *path, int flags, GError **error)
{
	sqlite3 *db = NULL;

	if (sqlite3_open_v2(path, &db, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL) != SQLITE_OK) {
		store_fail(error, STORE_ERROR_IO, path, db, "cannot open");
		sqlite3_close(db);
		return NULL;
	}
	sqlite3_busy_timeout(db, STORE_BUSY_TIMEOUT);
	/* Names in a damaged schema must not become code (sqlite3_db_config(3), "Security"). */
	sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	sqlite3_create_function(db, "crc", -1, SQLITE_UTF8 | SQLITE_DETERMINISTIC, NULL, crc_function, NULL, NULL);
	return db;
}

static bool execute(sqlite3 *db, const char *path, const char *text, GError **error)
{
	if (sqlite3_exec(db, text, NULL, NULL, NULL) == SQLITE_OK)
		return true;
	return store_fail(error, STORE_ERROR_IO, path, db, "cannot prepare the database");
}

/* Adds what store_check() found to one message: the first few. */
static bool damaged(GError **error, const char *path, const GPtrArray *problems)
{
	g_autoptr(GString) text = g_string_new(NULL);

	for (guint i = 0; i < MIN(problems->len, 3); i++)
		g_string_append_printf(text, "%s%s", i ? "; " : "", (const char *)g_ptr_array_index(problems, i));
	g_set_error(error, STORE_ERROR, STORE_ERROR_DAMAGED,
	            "%s: damaged: %s%s: look with dmemfsctl fsck, then restore a copy or start empty with "
	            "dmemfsctl fsck --move-aside", path, text->str, problems->len > 3 ? "; ..." : "");
	return false;
}

static bool load_mark(struct store *store, GError **error)
{
	g_autoptr(GBytes) mark = store_get_value(store, "mark");
	g_autoptr(GBytes) next = store_get_value(store, "next_ino");
	g_autoptr(GBytes) generation = store_get_value(store, "generation");

	if (!mark || g_bytes_get_size(mark) != sizeof(store->mark) || !next || g_bytes_get_size(next) != 8 ||
	    !generation || g_bytes_get_size(generation) != 4)
		return store_fail(error, STORE_ERROR_DAMAGED, store->path, NULL, "damaged: no mark, next_ino or generation");
	memcpy(&store->mark, g_bytes_get_data(mark, NULL), sizeof(store->mark));
	memcpy(&store->next_ino, g_bytes_get_data(next, NULL), 8);
	memcpy(&store->generation, g_bytes_get_data(generation, NULL), 4);
	return true;
}

/* Records of requests are numbered by process, so that those of earlier ones stay until they are no longer needed. */
static bool count_generation(struct store *store, GError **error)
{
	store->generation++;
	store_begin(store);
	store_put_value(store, "generation", &store->generation, sizeof(store->generation));
	if (store_commit(store) == 0)
		return true;
	return store_fail(error, STORE_ERROR_IO, store->path, store->db, "cannot write");
}

static bool prepare(struct store *store, uid_t root_uid, gid_t root_gid, GError **error)
{
	g_autoptr(GPtrArray) problems = NULL;

	if (!store_schema_prepare(store->db, store->path, root_uid, root_gid, error))
		return false;
	if (!execute(store->db, store->path, "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
	             " PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = -2048", error))
		return false;
	problems = store_check(store);
	if (problems)
		return damaged(error, store->path, problems);
	store_checkpoint_left_log(store->db, store->path);
	return load_mark(store, error) && count_generation(store, error);
}

struct store *store_open(const char *state_dir, uid_t root_uid, gid_t root_gid, GError **error)
{
	struct store *store = g_new0(struct store, 1);

	g_mutex_init(&store->lock);
	store->graves = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	store->path = g_build_filename(state_dir, STORE_FILE, NULL);
	store->db = store_connect(store->path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOFOLLOW, error);
	if (store->db && prepare(store, root_uid, root_gid, error))
		store->checkpointer = store_checkpointer_start(store->db, store->path, error);
	if (store->checkpointer)
		return store;
	store_close(store);
	return NULL;
}

void store_close(struct store *store)
{
	if (!store)
		return;
	if (store->checkpointer) {
		store_flush(store);
		store_checkpointer_stop(store->checkpointer);
	}
	for (int i = 0; i < STATEMENTS; i++)
		sqlite3_finalize(store->statements[i]);
	sqlite3_close(store->db); /* checkpoints */
	g_array_unref(store->graves);
	g_mutex_clear(&store->lock);
	g_free(store->path);
	g_free(store);
}

GPtrArray *store_check(struct store *store)
{
	return store_check_database(store->db);
}

GPtrArray *store_fsck(const char *state_dir, GError **error)
{
	g_autofree char *path = g_build_filename(state_dir, STORE_FILE, NULL);
	sqlite3 *db = store_connect(path, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOFOLLOW, error);
	GPtrArray *problems = NULL;

	if (!db)
		return NULL;
	if (store_schema_verify(db, path, error)) {
		problems = store_check_database(db);
		if (!problems)
			problems = g_ptr_array_new();
	}
	sqlite3_close(db);
	return problems;
}

uint32_t store_get_generation(const struct store *store)
{
	return store->generation;
}

struct store_mark store_get_mark(struct store *store)
{
	return store->mark;
}

uint64_t store_get_next_ino(struct store *store)
{
	return store->next_ino;
}

sqlite3_stmt *store_statement(struct store *store, enum store_statement which)
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

void store_run(struct store *store, sqlite3_stmt *prepared)
{
	int result = sqlite3_step(prepared);

	sqlite3_reset(prepared);
	if (result != SQLITE_DONE && !store->failed)
		store->failed = result;
}

static void run_plain(struct store *store, enum store_statement which)
{
	sqlite3_stmt *prepared = store_statement(store, which);

	if (prepared)
		store_run(store, prepared);
}

void store_run_with(struct store *store, enum store_statement which, const uint64_t *numbers, int count)
{
	sqlite3_stmt *prepared = store_statement(store, which);

	if (!prepared)
		return;
	for (int i = 0; i < count; i++)
		sqlite3_bind_int64(prepared, i + 1, (sqlite3_int64)numbers[i]);
	store_run(store, prepared);
}

static void dig_graves(struct store *store)
{
	for (guint i = 0; i < store->graves->len; i++)
		store_delete_inode(store, g_array_index(store->graves, uint64_t, i));
}

void store_begin(struct store *store)
{
	g_mutex_lock(&store->lock);
	store->failed = SQLITE_OK;
	run_plain(store, STATEMENT_BEGIN);
	dig_graves(store);
}

int store_errno(int result)
{
	switch (result & 0xff) { /* primary result code (sqlite3.h) */
	case SQLITE_OK:
		return 0;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_NOMEM:
		return -ENOMEM;
	default:
		return -EIO;
	}
}

/* Under the lock. The transaction, if there still is one, leaves nothing behind. */
static void roll_back(struct store *store)
{
	store->failed = SQLITE_OK;
	if (!sqlite3_get_autocommit(store->db))
		run_plain(store, STATEMENT_ROLLBACK);
}

int store_commit(struct store *store)
{
	static struct log_limit limit = LOG_LIMIT_INIT;

	CRASH_POINT("before-commit");
	run_plain(store, STATEMENT_COMMIT);
	CRASH_POINT("after-commit");

	int failed = store->failed;
	g_autoptr(GArray) deleted = NULL;

	if (failed) {
		log_limited(&limit, LOG_LEVEL_ERROR, "%s: %s: the change is refused", store->path,
		            failed == sqlite3_extended_errcode(store->db) ? sqlite3_errmsg(store->db) : sqlite3_errstr(failed));
		roll_back(store);
	} else if (store->graves->len) {
		deleted = g_steal_pointer(&store->graves);
		store->graves = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	}
	g_mutex_unlock(&store->lock);
	for (guint i = 0; deleted && store->deleted && i < deleted->len; i++)
		store->deleted(g_array_index(deleted, uint64_t, i), store->deleted_data);
	return store_errno(failed);
}

void store_rollback(struct store *store)
{
	roll_back(store);
	g_mutex_unlock(&store->lock);
}

void store_set_deleted_callback(struct store *store, void (*deleted)(uint64_t ino, void *data), void *data)
{
	store->deleted = deleted;
	store->deleted_data = data;
}

void store_delete_inode_later(struct store *store, uint64_t ino)
{
	g_mutex_lock(&store->lock);
	g_array_append_val(store->graves, ino);
	bool many = store->graves->len >= GRAVES_MAX;

	g_mutex_unlock(&store->lock);
	if (many)
		store_flush(store);
}

int store_flush(struct store *store)
{
	g_mutex_lock(&store->lock);
	bool some = store->graves->len > 0;

	g_mutex_unlock(&store->lock);
	if (!some)
		return 0;
	store_begin(store);
	return store_commit(store);
}

int store_sync(struct store *store)
{
	int result;

	g_mutex_lock(&store->lock);
	result = sqlite3_exec(store->db, "PRAGMA synchronous = FULL", NULL, NULL, NULL);
	if (result == SQLITE_OK)
		result = sqlite3_wal_checkpoint_v2(store->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
	g_mutex_unlock(&store->lock);
	return store_errno(result);
}

static void put_inode(struct store *store, enum store_statement which, const struct store_inode *inode)
{
	sqlite3_stmt *prepared = store_statement(store, which);
	const int64_t numbers[] = {
		(int64_t)inode->ino, inode->mode, inode->uid, inode->gid, (int64_t)inode->size,
		inode->atime.tv_sec, inode->atime.tv_nsec, inode->mtime.tv_sec, inode->mtime.tv_nsec,
		inode->ctime.tv_sec, inode->ctime.tv_nsec,
	};

	if (!prepared)
		return;
	for (size_t i = 0; i < G_N_ELEMENTS(numbers); i++) {
		if (which == STATEMENT_PUT_INODE || i != 4) /* attributes have no size */
			sqlite3_bind_int64(prepared, (int)i + 1, numbers[i]);
	}
	if (which == STATEMENT_PUT_INODE) {
		if (inode->target)
			sqlite3_bind_blob(prepared, 12, inode->target, (int)strlen(inode->target), SQLITE_STATIC);
		else
			sqlite3_bind_null(prepared, 12);
	}
	store_run(store, prepared);
}

void store_put_inode(struct store *store, const struct store_inode *inode)
{
	put_inode(store, STATEMENT_PUT_INODE, inode);
}

void store_put_attributes(struct store *store, const struct store_inode *inode)
{
	put_inode(store, STATEMENT_PUT_ATTRIBUTES, inode);
}

void store_put_size(struct store *store, uint64_t ino, uint64_t size)
{
	STORE_RUN(store, STATEMENT_PUT_SIZE, ino, size);
}

void store_delete_inode(struct store *store, uint64_t ino)
{
	STORE_RUN(store, STATEMENT_DELETE_INODE, ino);
	STORE_RUN(store, STATEMENT_DELETE_INODE_XATTRS, ino);
	STORE_RUN(store, STATEMENT_DELETE_INODE_EXTENTS, ino);
	STORE_RUN(store, STATEMENT_DELETE_INODE_BACKING, ino);
}

void store_put_entry(struct store *store, uint64_t parent, uint64_t cookie, const char *name, uint64_t ino)
{
	sqlite3_stmt *prepared = store_statement(store, STATEMENT_PUT_ENTRY);

	if (!prepared)
		return;
	sqlite3_bind_int64(prepared, 1, (sqlite3_int64)parent);
	sqlite3_bind_int64(prepared, 2, (sqlite3_int64)cookie);
	sqlite3_bind_blob(prepared, 3, name, (int)strlen(name), SQLITE_STATIC);
	sqlite3_bind_int64(prepared, 4, (sqlite3_int64)ino);
	store_run(store, prepared);
}

void store_delete_entry(struct store *store, uint64_t parent, uint64_t cookie)
{
	STORE_RUN(store, STATEMENT_DELETE_ENTRY, parent, cookie);
}

void store_put_xattr(struct store *store, uint64_t ino, const char *name, const void *value, size_t size)
{
	sqlite3_stmt *prepared = store_statement(store, STATEMENT_PUT_XATTR);

	if (!prepared)
		return;
	sqlite3_bind_int64(prepared, 1, (sqlite3_int64)ino);
	sqlite3_bind_blob(prepared, 2, name, (int)strlen(name), SQLITE_STATIC);
	sqlite3_bind_blob64(prepared, 3, size ? value : "", size, SQLITE_STATIC);
	store_run(store, prepared);
}

void store_delete_xattr(struct store *store, uint64_t ino, const char *name)
{
	sqlite3_stmt *prepared = store_statement(store, STATEMENT_DELETE_XATTR);

	if (!prepared)
		return;
	sqlite3_bind_int64(prepared, 1, (sqlite3_int64)ino);
	sqlite3_bind_blob(prepared, 2, name, (int)strlen(name), SQLITE_STATIC);
	store_run(store, prepared);
}

void store_put_extent(struct store *store, uint64_t ino, const struct extent_map_run *run)
{
	store_delete_clean(store, run->extent);
	store_delete_extents(store, ino, run->offset, run->offset + run->extent.length);
	STORE_RUN(store, STATEMENT_PUT_EXTENT, ino, run->offset, run->extent.start, run->extent.length);
}

void store_delete_extents(struct store *store, uint64_t ino, uint64_t from, uint64_t to)
{
	STORE_RUN(store, STATEMENT_DELETE_EXTENTS, ino, from, MIN(to, (uint64_t)INT64_MAX));
}

void store_put_backing(struct store *store, uint64_t ino, int id)
{
	STORE_RUN(store, STATEMENT_PUT_BACKING, ino, (uint64_t)id);
}

static uint64_t first_slot(const struct store *store)
{
	return (uint64_t)store->generation << 16;
}

void store_put_done(struct store *store, unsigned slot, const struct store_done *done)
{
	STORE_RUN(store, STATEMENT_PUT_DONE, first_slot(store) + slot, done->unique, done->ino);
}

void store_delete_old_done(struct store *store)
{
	STORE_RUN(store, STATEMENT_DELETE_OLD_DONE, first_slot(store));
}

int store_forget_connection(struct store *store)
{
	store_begin(store);
	run_plain(store, STATEMENT_DELETE_ALL_DONE);
	run_plain(store, STATEMENT_DELETE_ALL_BACKING);
	return store_commit(store);
}

void store_reserve_inos(struct store *store, uint64_t next)
{
	store_put_value(store, "next_ino", &next, sizeof(next));
}

void store_put_value(struct store *store, const char *name, const void *value, size_t size)
{
	sqlite3_stmt *prepared = store_statement(store, value ? STATEMENT_PUT_VALUE : STATEMENT_DELETE_VALUE);

	if (!prepared)
		return;
	sqlite3_bind_text(prepared, 1, name, -1, SQLITE_STATIC);
	if (value)
		sqlite3_bind_blob64(prepared, 2, value, size, SQLITE_STATIC);
	store_run(store, prepared);
}

GBytes *store_get_value(struct store *store, const char *name)
{
	GBytes *found = NULL;

	g_mutex_lock(&store->lock);
	store->failed = SQLITE_OK;

	sqlite3_stmt *prepared = store_statement(store, STATEMENT_GET_VALUE);

	if (prepared) {
		sqlite3_bind_text(prepared, 1, name, -1, SQLITE_STATIC);
		if (sqlite3_step(prepared) == SQLITE_ROW)
			found = g_bytes_new(sqlite3_column_blob(prepared, 0), (gsize)sqlite3_column_bytes(prepared, 0));
		sqlite3_reset(prepared);
	}
	g_mutex_unlock(&store->lock);
	return found;
}

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
#include "store_redo.h"

#define REMEDY "look with dmemfsctl fsck, then restore a copy or start empty with dmemfsctl fsck --move-aside"
/* Deletions that wait for a transaction to go with. */
#define GRAVES_MAX 256

G_DEFINE_QUARK(dmemfs-store-error-quark, store_error)

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
	g_set_error(error, STORE_ERROR, STORE_ERROR_DAMAGED, "%s: damaged: %s%s: " REMEDY, path, text->str,
	            problems->len > 3 ? "; ..." : "");
	return false;
}

static bool load_mark(struct store *store, GError **error)
{
	g_autoptr(GBytes) mark = store_get_value(store, "mark");
	g_autoptr(GBytes) next = store_get_value(store, "next_ino");
	g_autoptr(GBytes) generation = store_get_value(store, "generation");
	g_autoptr(GBytes) applied = store_get_value(store, STORE_APPLIED);

	if (!mark || g_bytes_get_size(mark) != sizeof(store->mark) || !next || g_bytes_get_size(next) != 8 ||
	    !generation || g_bytes_get_size(generation) != 4 || !applied || g_bytes_get_size(applied) != 8)
		return store_fail(error, STORE_ERROR_DAMAGED, store->path, NULL,
		                  "damaged: no mark, next_ino, generation or applied");
	memcpy(&store->mark, g_bytes_get_data(mark, NULL), sizeof(store->mark));
	memcpy(&store->next_ino, g_bytes_get_data(next, NULL), 8);
	memcpy(&store->generation, g_bytes_get_data(generation, NULL), 4);
	memcpy(&store->applied, g_bytes_get_data(applied, NULL), 8);
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

static bool is_sound(struct store *store, GError **error)
{
	g_autoptr(GPtrArray) problems = store_check(store);

	return !problems || damaged(error, store->path, problems);
}

/* What the last daemon had no time to apply, because it died. */
static bool apply_left_log(struct store *store, GError **error)
{
	g_autoptr(GByteArray) rows = g_byte_array_new();
	g_autoptr(GError) reason = NULL;
	uint64_t last;

	if (!redo_read(store->redo_path, &store->mark, store->applied, rows, &last, &reason)) {
		bool is_damaged = g_error_matches(reason, STORE_ERROR, STORE_ERROR_DAMAGED);

		g_set_error(error, STORE_ERROR, reason->code, "%s%s", reason->message, is_damaged ? ": " REMEDY : "");
		return false;
	}
	if (last == store->applied)
		return true;
	if (store_apply(store, rows, last) < 0)
		return store_fail(error, STORE_ERROR_IO, store->path, store->db, "cannot apply its redo log");
	log_debug("%s: %" G_GUINT64_FORMAT " changes were still to be applied", store->path, last - store->applied);
	return is_sound(store, error) && load_mark(store, error);
}

static bool prepare(struct store *store, uid_t root_uid, gid_t root_gid, GError **error)
{
	if (!store_schema_prepare(store->db, store->path, root_uid, root_gid, error))
		return false;
	if (!execute(store->db, store->path, "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
	             " PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = -2048", error))
		return false;
	if (!is_sound(store, error))
		return false;
	store_checkpoint_left_log(store->db, store->path);
	return load_mark(store, error) && apply_left_log(store, error) && count_generation(store, error);
}

static bool start(struct store *store, GError **error)
{
	struct redo *redo;

	store->checkpointer = store_checkpointer_start(store->db, store->path, error);
	if (!store->checkpointer)
		return false;
	redo = redo_create(store->redo_path, &store->mark, error);
	if (!redo)
		return false;
	store->applier = store_applier_start(store, redo, store->applied);
	return true;
}

static struct store *store_new(const char *state_dir)
{
	struct store *store = g_new0(struct store, 1);

	g_mutex_init(&store->lock);
	store->graves = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	store->rows = g_byte_array_new();
	store->path = g_build_filename(state_dir, STORE_FILE, NULL);
	store->redo_path = g_build_filename(state_dir, STORE_REDO_FILE, NULL);
	return store;
}

struct store *store_open(const char *state_dir, uid_t root_uid, gid_t root_gid, GError **error)
{
	struct store *store = store_new(state_dir);

	store->db = store_connect(store->path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOFOLLOW, error);
	if (store->db && prepare(store, root_uid, root_gid, error) && start(store, error))
		return store;
	store_close(store);
	return NULL;
}

void store_close(struct store *store)
{
	if (!store)
		return;
	if (store->applier)
		store_flush(store);
	store_applier_stop(store->applier);
	store_checkpointer_stop(store->checkpointer);
	for (int i = 0; i < STATEMENTS; i++)
		sqlite3_finalize(store->statements[i]);
	sqlite3_close(store->db); /* checkpoints */
	g_array_unref(store->graves);
	g_byte_array_unref(store->rows);
	g_mutex_clear(&store->lock);
	g_free(store->redo_path);
	g_free(store->path);
	g_free(store);
}

GPtrArray *store_check(struct store *store)
{
	GPtrArray *problems;

	if (store_lock_database(store) < 0) {
		problems = g_ptr_array_new_with_free_func(g_free);
		g_ptr_array_add(problems, g_strdup("the last changes cannot be written"));
		return problems;
	}
	problems = store_check_database(store->db);
	store_unlock_database(store);
	return problems;
}

/* Can the next start apply what the database lacks? */
static void check_left_log(struct store *store, GPtrArray *problems)
{
	g_autoptr(GByteArray) rows = g_byte_array_new();
	g_autoptr(GError) error = NULL;
	uint64_t last;

	if (!load_mark(store, &error) || !redo_read(store->redo_path, &store->mark, store->applied, rows, &last, &error))
		g_ptr_array_add(problems, g_strdup(error->message));
}

GPtrArray *store_fsck(const char *state_dir, GError **error)
{
	struct store *store = store_new(state_dir);
	GPtrArray *problems = NULL;

	store->db = store_connect(store->path, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOFOLLOW, error);
	if (store->db && store_schema_verify(store->db, store->path, error)) {
		problems = store_check(store);
		if (!problems) {
			problems = g_ptr_array_new_with_free_func(g_free);
			check_left_log(store, problems);
		}
	}
	store_close(store);
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

static void dig_graves(struct store *store)
{
	for (guint i = 0; i < store->graves->len; i++)
		store_delete_inode(store, g_array_index(store->graves, uint64_t, i));
}

void store_begin(struct store *store)
{
	g_mutex_lock(&store->lock);
	g_byte_array_set_size(store->rows, 0);
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

static int commit(struct store *store)
{
	if (store->rows->len == 0)
		return 0;
	if (store->applier)
		return store_applier_commit(store->applier, store->rows);
	return store_apply(store, store->rows, store->applied); /* at the start */
}

int store_commit(struct store *store)
{
	static struct log_limit limit = LOG_LIMIT_INIT;
	g_autoptr(GArray) deleted = NULL;
	int err;

	CRASH_POINT("before-commit");
	err = commit(store);
	CRASH_POINT("after-commit");
	if (err) {
		log_limited(&limit, LOG_LEVEL_ERROR, "%s: %s: the change is refused", store->path, g_strerror(-err));
	} else if (store->graves->len) {
		deleted = g_steal_pointer(&store->graves);
		store->graves = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	}
	g_mutex_unlock(&store->lock);
	for (guint i = 0; deleted && store->deleted && i < deleted->len; i++)
		store->deleted(g_array_index(deleted, uint64_t, i), store->deleted_data);
	return err;
}

void store_rollback(struct store *store)
{
	g_mutex_unlock(&store->lock);
}

int store_lock_database(struct store *store)
{
	int err;

	g_mutex_lock(&store->lock);
	err = store->applier ? store_applier_drain(store->applier) : 0;
	if (err)
		g_mutex_unlock(&store->lock);
	return err;
}

void store_unlock_database(struct store *store)
{
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
	int result = store_lock_database(store);

	if (result)
		return result;
	store_applier_bypass(store->applier);
	result = sqlite3_exec(store->db, "PRAGMA synchronous = FULL", NULL, NULL, NULL);
	if (result == SQLITE_OK)
		result = sqlite3_wal_checkpoint_v2(store->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
	store_unlock_database(store);
	return store_errno(result);
}

GBytes *store_get_value(struct store *store, const char *name)
{
	sqlite3_stmt *prepared;
	GBytes *found = NULL;

	if (store_lock_database(store) < 0)
		return NULL;
	store->failed = SQLITE_OK;
	prepared = store_statement(store, STATEMENT_GET_VALUE);
	if (prepared) {
		sqlite3_bind_text(prepared, 1, name, -1, SQLITE_STATIC);
		if (sqlite3_step(prepared) == SQLITE_ROW)
			found = g_bytes_new(sqlite3_column_blob(prepared, 0), (gsize)sqlite3_column_bytes(prepared, 0));
		sqlite3_reset(prepared);
	}
	store_unlock_database(store);
	return found;
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* Opens and closes the database, and begins and commits transactions. */
#include "store/store.h"

#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/crash_point.h"
#include "base/log.h"
#include "store/store_internal.h"

/* A daemon before version 5 of the schema left this file when it died: changes that are not in the database. */
#define REDO_FILE STORE_FILE "-redo"
/* The most deletions of inodes that wait for a transaction. */
#define GRAVES_MAX 256
/*
 * Bounds of SQLite's write-ahead log, in bytes. A commit that makes the log LOG_KEPT bytes long moves it into the database (a
 * checkpoint), which waits for the disk. So does a commit that makes it longer than the free space of the disk, because a
 * checkpoint may need as much space as the log has. After a checkpoint SQLite writes the log from its beginning again, and
 * truncates the file to LOG_KEPT bytes. When checkpoints fail until the log has LOG_MAX bytes, changes are refused until
 * one succeeds.
 */
/* Bytes of a page of SQLite: the default (sqlite.org/pgszchng2016.html). */
#define LOG_PAGE 4096
#define LOG_KEPT 16777216
#define LOG_MAX  (32 << 20)

/* Makes one error message of the first problems that store_check() found. */
static bool damaged(GError **error, const char *path, const GPtrArray *problems)
{
	g_autoptr(GString) text = g_string_new(NULL);
	g_autofree char *remedy = store_damage_remedy(path);

	for (guint i = 0; i < MIN(problems->len, 3); i++)
		g_string_append_printf(text, "%s%s", i ? "; " : "", (const char *)g_ptr_array_index(problems, i));
	g_set_error(error, STORE_ERROR, STORE_ERROR_DAMAGED, "%s: damaged: %s%s: %s", path, text->str,
	            problems->len > 3 ? "; ..." : "", remedy);
	return false;
}

static bool is_sound(struct store *store, GError **error)
{
	g_autoptr(GPtrArray) problems = store_check(store, error);

	return problems && (problems->len == 0 || damaged(error, store->path, problems));
}

/* Copies the value @name to @to. It must have @size bytes. */
static bool load_value(struct store *store, const char *name, void *to, gsize size, GError **error)
{
	g_autoptr(GBytes) value = NULL;

	if (!store_get_value(store, name, &value, error))
		return false;
	if (!value || g_bytes_get_size(value) != size)
		return store_refuse_damaged(error, store->path, "mark, next_ino or generation is missing");
	memcpy(to, g_bytes_get_data(value, NULL), size);
	return true;
}

/*
 * Each process has its own generation. Records of requests are numbered by it, so that a new process does not overwrite
 * those of an earlier one before they are no longer needed.
 */
static bool count_generation(struct store *store, GError **error)
{
	store->generation++;
	store_begin(store);
	store_put_value(store, "generation", &store->generation, sizeof(store->generation));
	return store_commit(store) == 0 || store_fail(error, store->path, store->db, store->failed, "cannot write");
}

/* SQLite calls this after each commit. A failure is not reported here; bound_log() reports one that persists. */
static int move_log(void *data, sqlite3 *db, const char *name, int pages)
{
	const struct store *store = data;
	uint64_t size = (uint64_t)pages * LOG_PAGE;
	struct statvfs room;

	if (size >= LOG_KEPT || (statvfs(store->path, &room) == 0 && size > room.f_bavail * room.f_frsize))
		sqlite3_wal_checkpoint_v2(db, name, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
	return SQLITE_OK;
}

static bool prepare(struct store *store, uid_t root_uid, gid_t root_gid, GError **error)
{
	/* EXCLUSIVE: no reader can keep SQLite from restarting the log, which needs no index in shared memory. */
	static const char settings[] = "PRAGMA locking_mode = EXCLUSIVE; PRAGMA synchronous = NORMAL;"
				       " PRAGMA journal_size_limit = " G_STRINGIFY(LOG_KEPT);
	int result = sqlite3_exec(store->db, settings, NULL, NULL, NULL);

	if (result != SQLITE_OK)
		return store_fail(error, store->path, store->db, result, "cannot prepare the database");
	sqlite3_wal_hook(store->db, move_log, store);
	return store_schema_prepare(store->db, store->path, root_uid, root_gid, error) && is_sound(store, error) &&
	       load_value(store, "mark", &store->mark, sizeof(store->mark), error) &&
	       load_value(store, "next_ino", &store->next_ino, sizeof(store->next_ino), error) &&
	       load_value(store, "generation", &store->generation, sizeof(store->generation), error) &&
	       count_generation(store, error);
}

static void finalize(gpointer statement)
{
	sqlite3_finalize(statement);
}

static void clear_grave(gpointer grave)
{
	store_gone_free(((struct store_grave *)grave)->gone);
}

static GArray *new_graves(void)
{
	GArray *graves = g_array_new(FALSE, FALSE, sizeof(struct store_grave));

	g_array_set_clear_func(graves, clear_grave);
	return graves;
}

static struct store *store_new(const char *state_dir)
{
	struct store *store = g_new0(struct store, 1);

	g_mutex_init(&store->lock);
	store->graves = new_graves();
	store->statements = g_hash_table_new_full(NULL, NULL, NULL, finalize);
	store->path = g_build_filename(state_dir, STORE_FILE, NULL);
	store->log_path = g_strconcat(store->path, "-wal", NULL);
	return store;
}

static bool has_no_redo_log(const char *state_dir, GError **error)
{
	g_autofree char *path = g_build_filename(state_dir, REDO_FILE, NULL);

	return !g_file_test(path, G_FILE_TEST_EXISTS) ||
	       store_refuse(
		       error, STORE_ERROR_FOREIGN, path,
		       "has the last changes of an older dmemfsd that died: start that version once more and stop it, "
		       "which removes this file, then upgrade");
}

struct store *store_open(const char *state_dir, uid_t root_uid, gid_t root_gid, GError **error)
{
	struct store *store;

	if (!has_no_redo_log(state_dir, error))
		return NULL;
	store = store_new(state_dir);
	store->db = store_connect(store->path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, error);
	if (store->db && prepare(store, root_uid, root_gid, error))
		return store;
	store_close(store);
	return NULL;
}

void store_close(struct store *store)
{
	if (!store)
		return;
	store_flush(store);
	g_hash_table_unref(store->statements);
	sqlite3_close(store->db); /* checkpoints */
	g_array_unref(store->graves);
	g_mutex_clear(&store->lock);
	g_free(store->log_path);
	g_free(store->path);
	g_free(store);
}

GPtrArray *store_check(struct store *store, GError **error)
{
	GPtrArray *problems;

	g_mutex_lock(&store->lock);
	problems = store_check_database(store->db, store->path, error);
	g_mutex_unlock(&store->lock);
	return problems;
}

GPtrArray *store_fsck(const char *state_dir, GError **error)
{
	struct store *store;
	GPtrArray *problems = NULL;

	if (!has_no_redo_log(state_dir, error))
		return NULL;
	store = store_new(state_dir);
	store->db = store_connect(store->path, SQLITE_OPEN_READONLY, error);
	if (store->db && store_schema_verify(store->db, store->path, error))
		problems = store_check(store, error);
	store_close(store);
	return problems;
}

struct store_mark store_get_mark(struct store *store)
{
	return store->mark;
}

uint64_t store_get_next_ino(struct store *store)
{
	return store->next_ino;
}

/* Checkpoints the log when it is too long because earlier checkpoints failed, and reports a failure. */
static int bound_log(struct store *store)
{
	struct stat st;

	if (stat(store->log_path, &st) < 0 || st.st_size <= LOG_MAX)
		return SQLITE_OK;
	return sqlite3_wal_checkpoint_v2(store->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
}

void store_begin(struct store *store)
{
	g_mutex_lock(&store->lock);
	store->failed = bound_log(store);
	store_run(store, "BEGIN IMMEDIATE", NULL, 0);
	for (guint i = 0; i < store->graves->len; i++) {
		const struct store_grave *grave = &g_array_index(store->graves, struct store_grave, i);

		store_delete_inode(store, grave->ino);
		if (grave->gone)
			store_put_gone(store, grave->ino, grave->gone);
	}
}

static int commit(struct store *store)
{
	static struct log_limit limit = LOG_LIMIT_INIT;
	g_autofree char *help = NULL;

	if (COMMIT_FAILS() && !store->failed)
		store->failed = SQLITE_FULL;
	store_run(store, "COMMIT", NULL, 0);
	if (!store->failed)
		return 0;
	help = store_remedy(store->failed, store->path);
	log_limited(&limit, LOG_LEVEL_ERROR, "%s: a change is refused: %s: %s", store->path,
	            store_reason(store->db, store->failed), help);
	if (!sqlite3_get_autocommit(store->db))
		sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
	return store_errno(store->failed);
}

int store_commit(struct store *store)
{
	g_autoptr(GArray) deleted = NULL;
	int err;

	CRASH_POINT("before-commit");
	err = commit(store);
	CRASH_POINT("after-commit");
	if (!err && store->graves->len) {
		deleted = g_steal_pointer(&store->graves);
		store->graves = new_graves();
	}
	g_mutex_unlock(&store->lock);
	for (guint i = 0; deleted && store->deleted && i < deleted->len; i++)
		store->deleted(g_array_index(deleted, struct store_grave, i).ino, store->deleted_data);
	return err;
}

int store_forget_connection(struct store *store)
{
	store_begin(store);
	store_run(store, "DELETE FROM done", NULL, 0);
	store_run(store, "DELETE FROM backing", NULL, 0);
	return store_commit(store);
}

void store_set_deleted_callback(struct store *store, void (*deleted)(uint64_t ino, void *data), void *data)
{
	store->deleted = deleted;
	store->deleted_data = data;
}

void store_delete_inode_later(struct store *store, uint64_t ino, struct store_gone *gone)
{
	const struct store_grave grave = { ino, gone };

	g_mutex_lock(&store->lock);
	g_array_append_val(store->graves, grave);
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

bool store_get_value(struct store *store, const char *name, GBytes **value, GError **error)
{
	sqlite3_stmt *query = NULL;
	int result;

	*value = NULL;
	g_mutex_lock(&store->lock);
	result = sqlite3_prepare_v2(store->db, "SELECT value FROM value WHERE name = ?1", -1, &query, NULL);
	if (result == SQLITE_OK) {
		sqlite3_bind_text(query, 1, name, -1, SQLITE_STATIC);
		result = sqlite3_step(query);
	}
	if (result == SQLITE_ROW)
		*value = g_bytes_new(sqlite3_column_blob(query, 0), (gsize)sqlite3_column_bytes(query, 0));
	else if (result != SQLITE_DONE)
		store_fail(error, store->path, store->db, result, "cannot read");
	sqlite3_finalize(query);
	g_mutex_unlock(&store->lock);
	return result == SQLITE_ROW || result == SQLITE_DONE;
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* Connections, errors and statements of SQLite. Calls no other part of the store. */
#include <errno.h>
#include <string.h>
#include <zlib.h>

#include "store/store_internal.h"

/* Milliseconds. Another process has the database open only for a moment, while a daemon starts. */
#define BUSY_TIMEOUT 10000

G_DEFINE_QUARK(dmemfs - store - error - quark, store_error)

bool store_is_damage(int result)
{
	switch (result & 0xff) { /* primary result code (sqlite3.h) */
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
	case SQLITE_ERROR: /* no such table */
		return true;
	default:
		return false;
	}
}

static bool is_memory(int result)
{
	return (result & 0xff) == SQLITE_NOMEM || result == SQLITE_IOERR_NOMEM;
}

int store_errno(int result)
{
	if (is_memory(result))
		return -ENOMEM;
	if ((result & 0xff) == SQLITE_FULL)
		return -ENOSPC;
	return result == SQLITE_OK ? 0 : -EIO;
}

char *store_damage_remedy(const char *path)
{
	g_autofree char *directory = g_path_get_dirname(path);

	return g_strdup_printf(
		"run dmemfsctl fsck %s, then restore a copy of the record, or start empty with dmemfsctl fsck "
		"--move-aside %s",
		directory, directory);
}

char *store_remedy(int result, const char *path)
{
	g_autofree char *directory = g_path_get_dirname(path);

	if (store_is_damage(result))
		return store_damage_remedy(path);
	if (is_memory(result))
		return g_strdup("nothing is lost: free some memory, then try again");
	if ((result & 0xff) == SQLITE_FULL)
		return g_strdup_printf("nothing is lost: free some space in %s, then try again", directory);
	if ((result & 0xff) == SQLITE_BUSY)
		return g_strdup("nothing is lost: end the process that has the file open (see fuser), then try again");
	return g_strdup_printf(
		"nothing is lost: check that %s can be read and written and has free space, and look for disk "
		"errors in the kernel's log, then try again",
		directory);
}

bool store_refuse(GError **error, enum store_error code, const char *path, const char *why)
{
	g_set_error(error, STORE_ERROR, code, "%s: %s", path, why);
	return false;
}

bool store_refuse_damaged(GError **error, const char *path, const char *why)
{
	g_autofree char *remedy = store_damage_remedy(path);

	g_set_error(error, STORE_ERROR, STORE_ERROR_DAMAGED, "%s: damaged: %s: %s", path, why, remedy);
	return false;
}

const char *store_reason(sqlite3 *db, int result)
{
	return db && sqlite3_extended_errcode(db) == result ? sqlite3_errmsg(db) : sqlite3_errstr(result);
}

bool store_fail(GError **error, const char *path, sqlite3 *db, int result, const char *what)
{
	g_autofree char *help = store_remedy(result, path);

	g_set_error(error, STORE_ERROR, store_is_damage(result) ? STORE_ERROR_DAMAGED : STORE_ERROR_IO,
	            "%s: %s: %s: %s", path, what, store_reason(db, result), help);
	return false;
}

/*
 * The SQL function crc(...): CRC-32 of type and value of each argument. Every row stores the CRC of its columns, which
 * detects bits that flipped on a disk: SQLite checks the structure of its pages, not their contents.
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

			if (blob) /* NULL when empty; crc32() would return the initial sum for NULL */
				sum = crc32(sum, blob, (uInt)sqlite3_value_bytes(values[i]));
		}
	}
	sqlite3_result_int64(context, (sqlite3_int64)sum);
}

sqlite3 *store_connect(const char *path, int flags, GError **error)
{
	sqlite3 *db = NULL;
	int result = sqlite3_open_v2(path, &db,
	                             flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE | SQLITE_OPEN_NOFOLLOW, NULL);

	if (result == SQLITE_OK)
		result = sqlite3_create_function(db, "crc", -1, SQLITE_UTF8 | SQLITE_DETERMINISTIC, NULL, crc_function,
		                                 NULL, NULL);
	/* Temporary tables are in memory: a file would be in a directory that may be full. */
	if (result == SQLITE_OK)
		result = sqlite3_exec(db, "PRAGMA temp_store = MEMORY", NULL, NULL, NULL);
	if (result != SQLITE_OK) {
		store_fail(error, path, db, result, "cannot open");
		sqlite3_close(db);
		return NULL;
	}
	sqlite3_busy_timeout(db, BUSY_TIMEOUT);
	/* Names in a damaged schema must not become code (sqlite3_db_config(3), "Security"). */
	sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	return db;
}

sqlite3_stmt *store_statement(struct store *store, const char *sql)
{
	sqlite3_stmt *prepared = g_hash_table_lookup(store->statements, sql);

	if (prepared || store->failed)
		return store->failed ? NULL : prepared;
	store->failed = sqlite3_prepare_v3(store->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &prepared, NULL);
	if (store->failed)
		return NULL;
	g_hash_table_insert(store->statements, (gpointer)sql, prepared);
	return prepared;
}

void store_step(struct store *store, sqlite3_stmt *prepared)
{
	int result = sqlite3_step(prepared);

	sqlite3_reset(prepared);
	sqlite3_clear_bindings(prepared);
	if (result != SQLITE_DONE && !store->failed)
		store->failed = result;
}

void store_bind_blob(sqlite3_stmt *prepared, int index, const void *bytes, size_t size)
{
	sqlite3_bind_blob64(prepared, index, size ? bytes : "", size, SQLITE_STATIC);
}

void store_run_named(struct store *store, const char *sql, const uint64_t *numbers, int count, const char *name,
                     const void *value, size_t size)
{
	sqlite3_stmt *prepared = store_statement(store, sql);

	if (!prepared)
		return;
	for (int i = 0; i < count; i++)
		sqlite3_bind_int64(prepared, i + 1, (sqlite3_int64)numbers[i]);
	if (name)
		store_bind_blob(prepared, count + 1, name, strlen(name));
	if (value)
		store_bind_blob(prepared, count + 2, value, size);
	store_step(store, prepared);
}

void store_run(struct store *store, const char *sql, const uint64_t *numbers, int count)
{
	store_run_named(store, sql, numbers, count, NULL, NULL, 0);
}

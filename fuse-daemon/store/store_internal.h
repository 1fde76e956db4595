/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared by the parts of the store. Internal to store*.c. */
#ifndef DMEMFS_STORE_INTERNAL_H
#define DMEMFS_STORE_INTERNAL_H

#include <glib.h>
#include <sqlite3.h>

#include "store/store.h"

struct store_grave {
	uint64_t ino;
	struct store_gone *gone; /* owned; may be NULL */
};

struct store {
	char *path;
	char *log_path; /* of SQLite's write-ahead log */
	struct store_mark mark;
	uint32_t generation; /* counts processes; part of the numbers of this process's records of requests */
	uint64_t next_ino;
	void (*deleted)(uint64_t ino, void *data);
	void *deleted_data;

	GMutex lock;    /* held from begin to commit, and for each read; guards what follows */
	GArray *graves; /* struct store_grave: inodes to delete with the next transaction */
	sqlite3 *db;
	GHashTable *statements; /* static text of SQL -> sqlite3_stmt, prepared once */
	int failed;             /* SQLite's code of the transaction's first failure; later changes of rows do nothing */
};

/* store_sqlite.c: used by all other parts, and uses none of them. */
/* Does SQLite's @result mean a damaged database? Otherwise the machine failed: space, memory, the disk. */
bool store_is_damage(int result);
/* Adds a path to each number of an inode or a directory in @texts (char *, owned) that has one on record (store_path.c). */
void store_name_inodes(sqlite3 *db, GPtrArray *texts);
/* SQLite's @result as a negative errno. */
int store_errno(int result);
/* Sets @error to "PATH: why". Always returns false. */
bool store_refuse(GError **error, enum store_error code, const char *path, const char *why);
/* Sets @error to "PATH: damaged: why", with the remedy. Always returns false. */
bool store_refuse_damaged(GError **error, const char *path, const char *why);
/* Sets @error for an operation @what of SQLite that failed with @result, with the remedy. Always returns false. */
bool store_fail(GError **error, const char *path, sqlite3 *db, int result, const char *what);
/* The remedy for SQLite's @result, as text; the caller frees it. @path: the database. */
char *store_remedy(int result, const char *path);
/* The remedy for a damaged database @path; the caller frees it. */
char *store_damage_remedy(const char *path);
/* The text for SQLite's @result: the message of @db when its last error is @result, else a general one. */
const char *store_reason(sqlite3 *db, int result);
/* Opens the database with @flags of sqlite3_open_v2(). NULL and @error on failure. */
sqlite3 *store_connect(const char *path, int flags, GError **error);
/* Prepares a statement; the store owns it. @sql is static text. NULL when this or something before it failed. */
sqlite3_stmt *store_statement(struct store *store, const char *sql);
/* Runs a statement that returns no row. */
void store_step(struct store *store, sqlite3_stmt *prepared);
/* Runs a statement that returns no row, with @numbers as its values. */
void store_run(struct store *store, const char *sql, const uint64_t *numbers, int count);
#define STORE_RUN(store, sql, ...)                               \
	store_run(store, sql, (const uint64_t[]){ __VA_ARGS__ }, \
	          sizeof((const uint64_t[]){ __VA_ARGS__ }) / sizeof(uint64_t))
/* The same; the values after @numbers are @name, unless it is NULL, and @value, unless it is NULL. */
void store_run_named(struct store *store, const char *sql, const uint64_t *numbers, int count, const char *name,
                     const void *value, size_t size);
/* Binds @bytes as a blob. An empty blob is bound as such, not as NULL. */
void store_bind_blob(sqlite3_stmt *prepared, int index, const void *bytes, size_t size);

/* store_schema.c */
/* Writes the schema into a new database, or migrates an older one. False and @error for any other. */
bool store_schema_prepare(sqlite3 *db, const char *path, uid_t root_uid, gid_t root_gid, GError **error);
/* Is it a database of dmemfs, of the current version? */
bool store_schema_verify(sqlite3 *db, const char *path, GError **error);

/* store_check.c */
/* Returns the problems of the database, an empty array when it is sound. NULL and @error when it cannot be read. */
GPtrArray *store_check_database(sqlite3 *db, const char *path, GError **error);

/* store_held.c */
/* Puts @gone, of the inode @ino, on record. Inside a transaction. */
void store_put_gone(struct store *store, uint64_t ino, const struct store_gone *gone);
void store_gone_free(struct store_gone *gone);

/* store_clean.c */
/* Appends the rows of @query (start, length) to @runs. Outside of a transaction. 0 or a negative errno. */
int store_list_runs(struct store *store, const char *query, GArray *runs);

#endif

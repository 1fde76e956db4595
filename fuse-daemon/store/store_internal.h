/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the parts of the store share. Internal to store*.c. */
#ifndef DMEMFS_STORE_INTERNAL_H
#define DMEMFS_STORE_INTERNAL_H

#include <glib.h>
#include <sqlite3.h>

#include "store/store.h"

struct store {
	char *path;
	char *log_path; /* of SQLite's write-ahead log */
	struct store_mark mark;
	uint32_t generation; /* of this process, in the records of requests */
	uint64_t next_ino;
	void (*deleted)(uint64_t ino, void *data);
	void *deleted_data;

	GMutex lock;    /* held from begin to commit, and for each read; guards what follows */
	GArray *graves; /* uint64_t: inodes to delete with the next transaction */
	sqlite3 *db;
	GHashTable *statements; /* static text of SQL -> sqlite3_stmt, prepared once */
	int failed; /* SQLite's code for the first row of the transaction that failed: the later ones do nothing */
};

/* store_sqlite.c: the leaf that the other parts stand on. */
/* Does SQLite's @result say that the database contradicts itself? Else it is the machine's: space, memory, the disk. */
bool store_is_damage(int result);
/* SQLite's @result as a negative errno. */
int store_errno(int result);
/* Always false. */
bool store_refuse(GError **error, enum store_error code, const char *path, const char *why);
/* The same for what SQLite could not do, with its @result and what helps. */
bool store_fail(GError **error, const char *path, sqlite3 *db, int result, const char *what);
/* What makes it work again; @path: of the database. */
char *store_remedy(int result, const char *path);
#define STORE_REMEDY "look with dmemfsctl fsck, then restore a copy or start empty with dmemfsctl fsck --move-aside"
/* SQLite's last word on @db, where it is about @result. */
const char *store_reason(sqlite3 *db, int result);
sqlite3 *store_connect(const char *path, int flags, GError **error);
/* A statement ready for its values; @sql is static text. NULL when something has failed already. */
sqlite3_stmt *store_statement(struct store *store, const char *sql);
/* Runs one that returns no row. */
void store_step(struct store *store, sqlite3_stmt *prepared);
/* Runs one that returns no row with @numbers as its values. */
void store_run(struct store *store, const char *sql, const uint64_t *numbers, int count);
#define STORE_RUN(store, sql, ...)                               \
	store_run(store, sql, (const uint64_t[]){ __VA_ARGS__ }, \
	          sizeof((const uint64_t[]){ __VA_ARGS__ }) / sizeof(uint64_t))
/* The same, and the values after @numbers are @name and, unless it is NULL, @value. */
void store_run_named(struct store *store, const char *sql, const uint64_t *numbers, int count, const char *name,
                     const void *value, size_t size);
/* An empty one is no NULL. */
void store_bind_blob(sqlite3_stmt *prepared, int index, const void *bytes, size_t size);

/* store_schema.c: a new database gets the schema, an older one is migrated, anything else is an error. */
bool store_schema_prepare(sqlite3 *db, const char *path, uid_t root_uid, gid_t root_gid, GError **error);
/* Is it dmemfs's, of a version that this program reads? */
bool store_schema_verify(sqlite3 *db, const char *path, GError **error);

/* store_check.c: what does not fit, none when all does; NULL when the database cannot be read. */
GPtrArray *store_check_database(sqlite3 *db, const char *path, GError **error);

/* store_clean.c */
/* Appends the rows of @query, start and length, to @runs. Outside of a transaction; 0 or a negative errno. */
int store_list_runs(struct store *store, const char *query, GArray *runs);

#endif

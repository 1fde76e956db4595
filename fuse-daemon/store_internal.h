/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the parts of the store share. Internal to store*.c. */
#ifndef DMEMFS_STORE_INTERNAL_H
#define DMEMFS_STORE_INTERNAL_H

#include <glib.h>
#include <sqlite3.h>

#include "store.h"
#include "store_applier.h"
#include "store_rows.h"

/*
 * Bytes. A transaction changes a few rows in three to five pages, and each of them goes to the log as a whole. (SQLite's own
 * 4096 are for who reads from a disk: here only the start does.)
 */
#define STORE_PAGE_SIZE 1024
/* How long one user of the database waits for another: a checkpoint, dmemfsctl fsck. Milliseconds. */
#define STORE_BUSY_TIMEOUT 10000

/* Statements, prepared once: one for most kinds of rows, by the number of that, and these. */
enum {
	STATEMENT_BEGIN = ROWS,
	STATEMENT_COMMIT,
	STATEMENT_ROLLBACK,
	STATEMENT_GET_VALUE,
	STATEMENT_GET_CLEAN,
	STATEMENT_ADD_CLEAN,
	STATEMENT_REMOVE_CLEAN,
	STATEMENTS
};

/* The value with the number of the last transaction in the database. */
#define STORE_APPLIED "applied"

struct store_checkpointer;

struct store {
	char *path, *redo_path;
	struct store_mark mark;
	uint32_t generation; /* of this process, in the records of requests */
	uint64_t next_ino;
	uint64_t applied; /* number of the last transaction in the database when it was opened */
	struct store_checkpointer *checkpointer;
	struct store_applier *applier; /* NULL at the start: transactions go into the database at once */
	void (*deleted)(uint64_t ino, void *data);
	void *deleted_data;

	GMutex lock;      /* held from begin to commit or rollback; guards the next two */
	GByteArray *rows; /* of the transaction */
	GArray *graves;   /* uint64_t: inodes to delete with the next transaction */

	/* Of whoever uses the database (store_applier.h). */
	sqlite3 *db;
	sqlite3_stmt *statements[STATEMENTS];
	int failed; /* SQLite's code for the first row that failed of what is being applied */
};

/* store_schema.c: a new database gets the schema, an older one is migrated, anything else is an error. */
bool store_schema_prepare(sqlite3 *db, const char *path, uid_t root_uid, gid_t root_gid, GError **error);
/* Is it dmemfs's, of a version that this program reads? */
bool store_schema_verify(sqlite3 *db, const char *path, GError **error);

/* store_check.c */
GPtrArray *store_check_database(sqlite3 *db);

/* store_checkpoint.c: moves committed pages from the log into the database, on a thread and connection of its own. */
struct store_checkpointer *store_checkpointer_start(sqlite3 *db, const char *path, GError **error);
void store_checkpointer_stop(struct store_checkpointer *checkpointer);
/* At the start: a process that is killed again and again never gets to it, and each start reads the whole log. */
void store_checkpoint_left_log(sqlite3 *db, const char *path);

/* store_apply.c */
/* A statement ready for its values; NULL when something has failed already. */
sqlite3_stmt *store_statement(struct store *store, int which);
/* Runs one that returns no row. */
void store_run(struct store *store, int which, const uint64_t *numbers, int count);
#define STORE_RUN(store, which, ...)                                                                                   \
	store_run(store, which, (const uint64_t[]){ __VA_ARGS__ },                                                     \
	          sizeof((const uint64_t[]){ __VA_ARGS__ }) / sizeof(uint64_t))
/* All @rows, up to those of transaction @number, or none of them. 0 or a negative errno. */
int store_apply(struct store *store, const GByteArray *rows, uint64_t number);

/* store_clean.c: what store_put_clean() and store_delete_clean() do, in the database. */
void store_add_clean(struct store *store, struct extent run);
void store_remove_clean(struct store *store, struct extent run);

/* store.c */
/* Nobody changes anything, and all that was committed is in the database, until it is unlocked. 0 or a negative errno: not locked. */
int store_lock_database(struct store *store);
void store_unlock_database(struct store *store);
/* Appends the rows of @query, start and length, to @runs. Outside of a transaction; 0 or a negative errno. */
int store_list_runs(struct store *store, const char *query, GArray *runs);
/* SQLite's code as a negative errno. */
int store_errno(int result);
bool store_fail(GError **error, enum store_error code, const char *path, sqlite3 *db, const char *what);
sqlite3 *store_connect(const char *path, int flags, GError **error);

#endif

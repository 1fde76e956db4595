/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the parts of the store share. Internal to store*.c. */
#ifndef DMEMFS_STORE_INTERNAL_H
#define DMEMFS_STORE_INTERNAL_H

#include <glib.h>
#include <sqlite3.h>

#include "store.h"

/*
 * Bytes. A transaction changes a few rows in three to five pages, and each of them goes to the log as a whole. (SQLite's own
 * 4096 are for who reads from a disk: here only the start does.)
 */
#define STORE_PAGE_SIZE 1024
/* How long one user of the database waits for another: a checkpoint, dmemfsctl fsck. Milliseconds. */
#define STORE_BUSY_TIMEOUT 10000

enum store_statement {
	STATEMENT_BEGIN,
	STATEMENT_COMMIT,
	STATEMENT_ROLLBACK,
	STATEMENT_PUT_INODE,
	STATEMENT_PUT_ATTRIBUTES,
	STATEMENT_PUT_SIZE,
	STATEMENT_DELETE_INODE,
	STATEMENT_DELETE_INODE_XATTRS,
	STATEMENT_DELETE_INODE_EXTENTS,
	STATEMENT_DELETE_INODE_BACKING,
	STATEMENT_PUT_ENTRY,
	STATEMENT_DELETE_ENTRY,
	STATEMENT_PUT_XATTR,
	STATEMENT_DELETE_XATTR,
	STATEMENT_PUT_EXTENT,
	STATEMENT_DELETE_EXTENTS,
	STATEMENT_PUT_CLEAN,
	STATEMENT_DELETE_CLEAN,
	STATEMENT_DELETE_ALL_CLEAN,
	STATEMENT_GET_CLEAN,
	STATEMENT_PUT_POISON,
	STATEMENT_PUT_BACKING,
	STATEMENT_PUT_DONE,
	STATEMENT_DELETE_OLD_DONE,
	STATEMENT_DELETE_ALL_DONE,
	STATEMENT_DELETE_ALL_BACKING,
	STATEMENT_PUT_VALUE,
	STATEMENT_DELETE_VALUE,
	STATEMENT_GET_VALUE,
	STATEMENTS
};

struct store_checkpointer;

struct store {
	sqlite3 *db;
	char *path;
	struct store_mark mark;
	uint32_t generation; /* of this process, in the records of requests */
	uint64_t next_ino;
	struct store_checkpointer *checkpointer;
	void (*deleted)(uint64_t ino, void *data);
	void *deleted_data;

	GMutex lock; /* held from begin to commit or rollback; guards all below */
	sqlite3_stmt *statements[STATEMENTS];
	int failed;     /* SQLite's code for the first row of this transaction that failed */
	GArray *graves; /* uint64_t: inodes to delete with the next transaction */
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

/* store.c */
/* A statement ready for its values; NULL when the transaction has failed already. Prepared once. */
sqlite3_stmt *store_statement(struct store *store, enum store_statement which);
/* Runs one that returns no row. */
void store_run(struct store *store, sqlite3_stmt *prepared);
void store_run_with(struct store *store, enum store_statement which, const uint64_t *numbers, int count);
#define STORE_RUN(store, which, ...)                                                                                   \
	store_run_with(store, which, (const uint64_t[]){ __VA_ARGS__ },                                                \
	               sizeof((const uint64_t[]){ __VA_ARGS__ }) / sizeof(uint64_t))
/* Appends the rows of @query, start and length, to @runs. Outside of a transaction; 0 or a negative errno. */
int store_list_runs(struct store *store, const char *query, GArray *runs);
/* SQLite's code as a negative errno. */
int store_errno(int result);
bool store_fail(GError **error, enum store_error code, const char *path, sqlite3 *db, const char *what);
sqlite3 *store_connect(const char *path, int flags, GError **error);

#endif

// SPDX-License-Identifier: GPL-2.0-or-later
/* The schema of the database, and the way to it from none and from older ones. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "store_internal.h"

/*
 * Names, link targets and names of extended attributes are bytes, not text. Times are seconds and nanoseconds. Offsets,
 * addresses and lengths are bytes. An entry keeps its cookie, the position in a directory's listing. sum is the
 * checksum of the other columns, in this order (store.c).
 *
 * value holds, by name: mark (struct store_mark), next_ino and generation (native integers), regions (struct extent, any
 * number: all extents lie in them), applied (the number of the last transaction, see store_redo.h), and what others keep there.
 */
static const char schema[] =
	"CREATE TABLE value (name TEXT PRIMARY KEY, value BLOB NOT NULL, sum INTEGER NOT NULL)"
	" STRICT, WITHOUT ROWID;"
	"CREATE TABLE inode (ino INTEGER PRIMARY KEY, mode INTEGER NOT NULL, uid INTEGER NOT NULL, gid INTEGER NOT NULL,"
	" size INTEGER NOT NULL, atime INTEGER NOT NULL, atime_ns INTEGER NOT NULL, mtime INTEGER NOT NULL,"
	" mtime_ns INTEGER NOT NULL, ctime INTEGER NOT NULL, ctime_ns INTEGER NOT NULL, target BLOB,"
	" sum INTEGER NOT NULL) STRICT;"
	"CREATE TABLE entry (parent INTEGER NOT NULL, cookie INTEGER NOT NULL, name BLOB NOT NULL, ino INTEGER NOT NULL,"
	" sum INTEGER NOT NULL, PRIMARY KEY (parent, cookie)) STRICT, WITHOUT ROWID;"
	"CREATE TABLE xattr (ino INTEGER NOT NULL, name BLOB NOT NULL, value BLOB NOT NULL, sum INTEGER NOT NULL,"
	" PRIMARY KEY (ino, name)) STRICT, WITHOUT ROWID;"
	"CREATE TABLE extent (ino INTEGER NOT NULL, offset INTEGER NOT NULL, start INTEGER NOT NULL,"
	" length INTEGER NOT NULL, sum INTEGER NOT NULL, PRIMARY KEY (ino, offset)) STRICT, WITHOUT ROWID;"
	"CREATE TABLE backing (ino INTEGER PRIMARY KEY, id INTEGER NOT NULL, sum INTEGER NOT NULL) STRICT;"
	"CREATE TABLE done (slot INTEGER PRIMARY KEY, unique_id INTEGER NOT NULL, ino INTEGER NOT NULL,"
	" sum INTEGER NOT NULL) STRICT;";

/* Memory that no file has, and that is zero. What was there before the table was is dirty, as all that is not in it. */
static const char schema_clean[] =
	"CREATE TABLE clean (start INTEGER PRIMARY KEY, length INTEGER NOT NULL, sum INTEGER NOT NULL) STRICT;";

/* Memory that went bad, whoever has it: it may be a file's as well, never clean, and may lie in no region any more. */
static const char schema_poison[] =
	"CREATE TABLE poison (start INTEGER PRIMARY KEY, length INTEGER NOT NULL, sum INTEGER NOT NULL) STRICT;";

/* An older program knows nothing of the redo log, and is not to open what may have one. */
static const char schema_redo[] =
	"INSERT INTO value (name, value, sum) VALUES ('applied', zeroblob(8), crc('applied', zeroblob(8)));";

/* From version I to I + 1. */
static const char *const migrations[STORE_VERSION] = {
	[0] = schema,
	[1] = schema_clean,
	[2] = schema_poison,
	[3] = schema_redo,
};

static bool read_number(sqlite3 *db, const char *pragma, int *number)
{
	sqlite3_stmt *query = NULL;
	bool found = false;

	if (sqlite3_prepare_v2(db, pragma, -1, &query, NULL) == SQLITE_OK && sqlite3_step(query) == SQLITE_ROW) {
		*number = sqlite3_column_int(query, 0);
		found = true;
	}
	sqlite3_finalize(query);
	return found;
}

/* 0: an empty file. */
static bool read_version(sqlite3 *db, const char *path, int *version, GError **error)
{
	int id, objects;

	if (!read_number(db, "PRAGMA application_id", &id) || !read_number(db, "PRAGMA user_version", version) ||
	    !read_number(db, "SELECT count(*) FROM sqlite_schema", &objects))
		return store_fail(error, STORE_ERROR_IO, path, db, "cannot read");
	if (id == 0 && *version == 0 && objects == 0)
		return true;
	if (id != STORE_APPLICATION_ID)
		return store_fail(error, STORE_ERROR_FOREIGN, path, NULL,
		                  "a database of another program: name another state-dir");
	if (*version > STORE_VERSION)
		return store_fail(error, STORE_ERROR_FOREIGN, path, NULL,
		                  "written by a newer dmemfsd: install that version again");
	if (*version < 1)
		return store_fail(error, STORE_ERROR_DAMAGED, path, NULL, "damaged: no version");
	return true;
}

bool store_schema_verify(sqlite3 *db, const char *path, GError **error)
{
	int version;

	if (!read_version(db, path, &version, error))
		return false;
	if (version != STORE_VERSION)
		return store_fail(error, STORE_ERROR_FOREIGN, path, NULL,
		                  version ? "of an older version: start dmemfsd once" : "empty: no daemon has used it yet");
	return true;
}

static bool run_migrations(sqlite3 *db, int version)
{
	g_autofree char *numbers =
		g_strdup_printf("PRAGMA application_id = %d; PRAGMA user_version = %d", STORE_APPLICATION_ID, STORE_VERSION);

	for (; version < STORE_VERSION; version++) {
		if (sqlite3_exec(db, migrations[version], NULL, NULL, NULL) != SQLITE_OK)
			return false;
	}
	return sqlite3_exec(db, numbers, NULL, NULL, NULL) == SQLITE_OK;
}

static bool put_value(sqlite3 *db, const char *name, const void *value, int size)
{
	sqlite3_stmt *insert = NULL;
	bool done = false;

	if (sqlite3_prepare_v2(db, "INSERT INTO value (name, value, sum) VALUES (?1, ?2, crc(?1, ?2))", -1, &insert, NULL) == SQLITE_OK) {
		sqlite3_bind_text(insert, 1, name, -1, SQLITE_STATIC);
		sqlite3_bind_blob(insert, 2, value, size, SQLITE_STATIC);
		done = sqlite3_step(insert) == SQLITE_DONE;
	}
	sqlite3_finalize(insert);
	return done;
}

/* What an empty file system has: a root directory, and a mark of its own. */
static bool fill(sqlite3 *db, uid_t uid, gid_t gid)
{
	struct store_mark mark;
	uint64_t next_ino = 2; /* after the root */
	uint32_t generation = 0;
	time_t now = time(NULL);
	g_autofree char *root = g_strdup_printf(
		"INSERT INTO inode (ino, mode, uid, gid, size, atime, atime_ns, mtime, mtime_ns, ctime, ctime_ns, sum)"
		" VALUES (1, %u, %u, %u, 0, %lld, 0, %lld, 0, %lld, 0, 0);"
		"UPDATE inode SET sum = crc(ino, mode, uid, gid, size, atime, atime_ns, mtime, mtime_ns, ctime, ctime_ns,"
		" target)",
		S_IFDIR | 0755u, uid, gid, (long long)now, (long long)now, (long long)now);

	sqlite3_randomness(sizeof(mark), &mark);
	return put_value(db, "mark", &mark, sizeof(mark)) && put_value(db, "next_ino", &next_ino, sizeof(next_ino)) &&
	       put_value(db, "generation", &generation, sizeof(generation)) &&
	       sqlite3_exec(db, root, NULL, NULL, NULL) == SQLITE_OK;
}

bool store_schema_prepare(sqlite3 *db, const char *path, uid_t root_uid, gid_t root_gid, GError **error)
{
	int version;

	if (!read_version(db, path, &version, error))
		return false;
	if (version == STORE_VERSION)
		return true;
	if (version == 0) /* one with another page size would be slower, and else the same */
		sqlite3_exec(db, "PRAGMA page_size = " G_STRINGIFY(STORE_PAGE_SIZE), NULL, NULL, NULL);
	if (sqlite3_exec(db, "BEGIN EXCLUSIVE", NULL, NULL, NULL) == SQLITE_OK && run_migrations(db, version) &&
	    (version > 0 || fill(db, root_uid, root_gid)) && sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK)
		return true;
	store_fail(error, STORE_ERROR_IO, path, db, "cannot write the schema");
	sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
	return false;
}

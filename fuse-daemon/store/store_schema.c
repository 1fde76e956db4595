// SPDX-License-Identifier: GPL-2.0-or-later
/* The schema of the database: creates it, and migrates older versions. */
#include <sys/stat.h>
#include <time.h>

#include "store/store_internal.h"

/* The oldest version that can be migrated. */
#define STORE_VERSION_OLDEST 4
/* The first inode number after the root's. */
#define FIRST_INO UINT64_C(2)

/* Memory that left a file, as long as no file has it again and it is not zeroed. Devices may hold some of it. */
#define SCHEMA_HELD                                                                                \
	"CREATE TABLE IF NOT EXISTS held (start INTEGER PRIMARY KEY, length INTEGER NOT NULL,"     \
	" since INTEGER NOT NULL, ino INTEGER NOT NULL, pid INTEGER NOT NULL, name BLOB NOT NULL," \
	" trees BLOB NOT NULL, sum INTEGER NOT NULL) STRICT;"                                      \
	"CREATE INDEX IF NOT EXISTS held_ino ON held (ino);"

/*
 * Names, link targets and names of extended attributes are bytes, not text. Times are seconds and nanoseconds. Offsets,
 * addresses and lengths are bytes. The cookie of an entry is its position in the listing of the directory; it never
 * changes. sum is the checksum of the other columns, in this order (store_sqlite.c).
 *
 * The table value holds, by name: mark (struct store_mark), next_ino and generation (native integers), regions (an array of
 * struct extent: all extents are in them), and values of other rooms (store_put_value()).
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
	" sum INTEGER NOT NULL) STRICT;"
	/* Memory that belongs to no file and is zero. Free memory that is not in this table is dirty. */
	"CREATE TABLE clean (start INTEGER PRIMARY KEY, length INTEGER NOT NULL, sum INTEGER NOT NULL) STRICT;"
	/* Memory that went bad. It may belong to a file, is never clean, and may be outside the present regions. */
	"CREATE TABLE poison (start INTEGER PRIMARY KEY, length INTEGER NOT NULL, sum INTEGER NOT NULL) STRICT;" SCHEMA_HELD;

/*
 * The migration. Version 5 had no table held. Version 4 also had its position in a redo log: store_open() has checked that there is no
 * such log.
 */
static const char migration[] = "DELETE FROM value WHERE name = 'applied';" SCHEMA_HELD;

/* Reads one number. Returns SQLite's code. */
static int read_number(sqlite3 *db, const char *pragma, int *number)
{
	sqlite3_stmt *query = NULL;
	int result = sqlite3_prepare_v2(db, pragma, -1, &query, NULL);

	if (result == SQLITE_OK)
		result = sqlite3_step(query);
	if (result == SQLITE_ROW) {
		*number = sqlite3_column_int(query, 0);
		result = SQLITE_OK;
	}
	sqlite3_finalize(query);
	return result;
}

/* Reads the version of the schema; 0 for an empty file. False and @error for a database that this program cannot use. */
static bool read_version(sqlite3 *db, const char *path, int *version, GError **error)
{
	int id, objects;
	int result = read_number(db, "PRAGMA application_id", &id);

	if (result == SQLITE_OK)
		result = read_number(db, "PRAGMA user_version", version);
	if (result == SQLITE_OK)
		result = read_number(db, "SELECT count(*) FROM sqlite_schema", &objects);
	if (result != SQLITE_OK)
		return store_fail(error, path, db, result, "cannot read");
	if (id == 0 && *version == 0 && objects == 0)
		return true;
	if (id != STORE_APPLICATION_ID)
		return store_refuse(error, STORE_ERROR_FOREIGN, path,
		                    "a database of another program: name another state-dir");
	if (*version > STORE_VERSION)
		return store_refuse(error, STORE_ERROR_FOREIGN, path,
		                    "written by a newer dmemfsd: install that version again");
	if (*version < 1)
		return store_refuse_damaged(error, path, "no version");
	if (*version < STORE_VERSION_OLDEST)
		return store_refuse(error, STORE_ERROR_FOREIGN, path,
		                    "of a version that was never released: start empty with dmemfsctl fsck "
		                    "--move-aside --force");
	return true;
}

bool store_schema_verify(sqlite3 *db, const char *path, GError **error)
{
	int version;

	if (!read_version(db, path, &version, error))
		return false;
	if (version != STORE_VERSION)
		return store_refuse(error, STORE_ERROR_FOREIGN, path,
		                    version ? "of an older version: start dmemfsd once"
		                            : "empty: no daemon has used it yet");
	return true;
}

/* Writes the schema into a new database (@version 0), or migrates an older one. Returns SQLite's code. */
static int write_schema(sqlite3 *db, int version)
{
	g_autofree char *numbers = g_strdup_printf("PRAGMA application_id = %d; PRAGMA user_version = %d",
	                                           STORE_APPLICATION_ID, STORE_VERSION);
	int result = sqlite3_exec(db, version == 0 ? schema : migration, NULL, NULL, NULL);

	return result == SQLITE_OK ? sqlite3_exec(db, numbers, NULL, NULL, NULL) : result;
}

/* Writes the rows of an empty file system: the root directory, a new mark, and counters. */
static int fill(sqlite3 *db, uid_t uid, gid_t gid)
{
	long long now = (long long)time(NULL);
	g_autofree char *text = g_strdup_printf(
		"INSERT INTO inode (ino, mode, uid, gid, size, atime, atime_ns, mtime, mtime_ns, ctime, ctime_ns, sum)"
		" VALUES (1, %u, %u, %u, 0, %lld, 0, %lld, 0, %lld, 0, 0);"
		"UPDATE inode SET sum = crc(ino, mode, uid, gid, size, atime, atime_ns, mtime, mtime_ns, ctime, ctime_ns,"
		" target);"
		"INSERT INTO value (name, value, sum) VALUES ('mark', randomblob(16), 0), ('next_ino', x'%016" G_GINT64_MODIFIER
		"x', 0), ('generation', zeroblob(4), 0);"
		"UPDATE value SET sum = crc(name, value)",
		S_IFDIR | 0755u, uid, gid, now, now, now, GUINT64_TO_BE(FIRST_INO));

	return sqlite3_exec(db, text, NULL, NULL, NULL);
}

bool store_schema_prepare(sqlite3 *db, const char *path, uid_t root_uid, gid_t root_gid, GError **error)
{
	int version, result;

	if (!read_version(db, path, &version, error))
		return false;
	result = sqlite3_exec(db, "PRAGMA journal_mode = WAL", NULL, NULL, NULL);
	if (result == SQLITE_OK && version == STORE_VERSION)
		return true;
	if (result == SQLITE_OK)
		result = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
	if (result == SQLITE_OK)
		result = write_schema(db, version);
	if (result == SQLITE_OK && version == 0)
		result = fill(db, root_uid, root_gid);
	if (result == SQLITE_OK)
		result = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
	return result == SQLITE_OK || store_fail(error, path, db, result, "cannot write the schema");
}

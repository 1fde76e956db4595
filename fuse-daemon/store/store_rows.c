// SPDX-License-Identifier: GPL-2.0-or-later
/* Changes rows in a transaction. Each row has a checksum of its columns (store_sqlite.c). */
#include <string.h>

#include "store/store_internal.h"

static void bind_attributes(sqlite3_stmt *prepared, const struct store_inode *inode)
{
	const sqlite3_int64 numbers[] = {
		(sqlite3_int64)inode->ino,  inode->mode,         inode->uid,           inode->gid,
		(sqlite3_int64)inode->size, inode->atime.tv_sec, inode->atime.tv_nsec, inode->mtime.tv_sec,
		inode->mtime.tv_nsec,       inode->ctime.tv_sec, inode->ctime.tv_nsec,
	};

	for (int i = 0; i < (int)G_N_ELEMENTS(numbers); i++)
		sqlite3_bind_int64(prepared, i + 1, numbers[i]);
}

void store_put_inode(struct store *store, const struct store_inode *inode)
{
	sqlite3_stmt *prepared = store_statement(
		store,
		"INSERT INTO inode (ino, mode, uid, gid, size, atime, atime_ns, mtime, mtime_ns, ctime, ctime_ns,"
		" target, sum) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12,"
		" crc(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12))");

	if (!prepared)
		return;
	bind_attributes(prepared, inode);
	if (inode->target)
		store_bind_blob(prepared, 12, inode->target, strlen(inode->target));
	store_step(store, prepared);
}

void store_put_attributes(struct store *store, const struct store_inode *inode)
{
	/* ?5, the size, is not used: it stays. */
	sqlite3_stmt *prepared = store_statement(
		store,
		"UPDATE inode SET mode = ?2, uid = ?3, gid = ?4, atime = ?6, atime_ns = ?7, mtime = ?8, mtime_ns = ?9,"
		" ctime = ?10, ctime_ns = ?11,"
		" sum = crc(?1, ?2, ?3, ?4, size, ?6, ?7, ?8, ?9, ?10, ?11, target) WHERE ino = ?1");

	if (!prepared)
		return;
	bind_attributes(prepared, inode);
	store_step(store, prepared);
}

void store_put_size(struct store *store, uint64_t ino, uint64_t size)
{
	STORE_RUN(store,
	          "UPDATE inode SET size = ?2, sum = crc(?1, mode, uid, gid, ?2, atime, atime_ns, mtime, mtime_ns,"
	          " ctime, ctime_ns, target) WHERE ino = ?1",
	          ino, size);
}

void store_delete_inode(struct store *store, uint64_t ino)
{
	STORE_RUN(store, "DELETE FROM inode WHERE ino = ?1", ino);
	STORE_RUN(store, "DELETE FROM xattr WHERE ino = ?1", ino);
	STORE_RUN(store, "DELETE FROM extent WHERE ino = ?1", ino);
	STORE_RUN(store, "DELETE FROM backing WHERE ino = ?1", ino);
}

void store_put_entry(struct store *store, uint64_t parent, uint64_t cookie, const char *name, uint64_t ino)
{
	store_run_named(store,
	                "INSERT OR REPLACE INTO entry (parent, cookie, ino, name, sum)"
	                " VALUES (?1, ?2, ?3, ?4, crc(?1, ?2, ?4, ?3))",
	                (const uint64_t[]){ parent, cookie, ino }, 3, name, NULL, 0);
}

void store_delete_entry(struct store *store, uint64_t parent, uint64_t cookie)
{
	STORE_RUN(store, "DELETE FROM entry WHERE parent = ?1 AND cookie = ?2", parent, cookie);
}

void store_put_xattr(struct store *store, uint64_t ino, const char *name, const void *value, size_t size)
{
	store_run_named(store,
	                "INSERT OR REPLACE INTO xattr (ino, name, value, sum) VALUES (?1, ?2, ?3, crc(?1, ?2, ?3))",
	                &ino, 1, name, value, size);
}

void store_put_text(struct store *store, uint64_t ino, const char *name, const char *text)
{
	if (text)
		store_put_xattr(store, ino, name, text, strlen(text));
	else
		store_delete_xattr(store, ino, name);
}

void store_delete_xattr(struct store *store, uint64_t ino, const char *name)
{
	store_run_named(store, "DELETE FROM xattr WHERE ino = ?1 AND name = ?2", &ino, 1, name, NULL, 0);
}

void store_put_extent(struct store *store, uint64_t ino, const struct extent_map_run *run)
{
	store_delete_clean(store, run->extent);
	store_delete_held(store, run->extent);
	store_delete_extents(store, ino, run->offset, run->offset + run->extent.length);
	STORE_RUN(store,
	          "INSERT INTO extent (ino, offset, start, length, sum) VALUES (?1, ?2, ?3, ?4, crc(?1, ?2, ?3, ?4))",
	          ino, run->offset, run->extent.start, run->extent.length);
}

void store_delete_extents(struct store *store, uint64_t ino, uint64_t from, uint64_t to)
{
	STORE_RUN(store, "DELETE FROM extent WHERE ino = ?1 AND offset >= ?2 AND offset < ?3", ino, from,
	          MIN(to, (uint64_t)INT64_MAX));
}

void store_put_poison(struct store *store, struct extent run)
{
	store_delete_clean(store, run);
	STORE_RUN(store, "INSERT INTO poison (start, length, sum) VALUES (?1, ?2, crc(?1, ?2))", run.start, run.length);
}

void store_put_backing(struct store *store, uint64_t ino, int id)
{
	STORE_RUN(store, "INSERT OR REPLACE INTO backing (ino, id, sum) VALUES (?1, ?2, crc(?1, ?2))", ino,
	          (uint64_t)id);
}

static uint64_t first_slot(const struct store *store)
{
	return (uint64_t)store->generation << 16;
}

void store_put_done(struct store *store, unsigned slot, const struct store_done *done)
{
	STORE_RUN(store, "INSERT OR REPLACE INTO done (slot, unique_id, ino, sum) VALUES (?1, ?2, ?3, crc(?1, ?2, ?3))",
	          first_slot(store) + slot, done->unique, done->ino);
}

void store_delete_old_done(struct store *store)
{
	STORE_RUN(store, "DELETE FROM done WHERE slot < ?1", first_slot(store));
}

void store_reserve_inos(struct store *store, uint64_t next)
{
	store_put_value(store, "next_ino", &next, sizeof(next));
}

void store_put_value(struct store *store, const char *name, const void *value, size_t size)
{
	sqlite3_stmt *prepared =
		store_statement(store,
	                        value ? "INSERT OR REPLACE INTO value (name, value, sum) VALUES (?1, ?2, crc(?1, ?2))"
	                              : "DELETE FROM value WHERE name = ?1");

	if (!prepared)
		return;
	sqlite3_bind_text(prepared, 1, name, -1, SQLITE_STATIC);
	if (value)
		store_bind_blob(prepared, 2, value, size);
	store_step(store, prepared);
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* A VFS for SQLite that simulates disks that fail or lose power. */
#include "unit/store/fault_vfs.h"

#include <sqlite3.h>
#include <string.h>

#define SECTOR 512

/* The contents of one file on the simulated disk. */
struct content {
	GByteArray *synced; /* survives a power cut */
	GPtrArray *writes;  /* struct change: since the last sync; each may survive or not */
};

struct change {
	sqlite3_int64 offset;
	GBytes *bytes; /* NULL: the file ends at offset */
};

struct fault_file {
	sqlite3_file base;
	struct content *content;
	sqlite3_file *real;
	bool is_log;
};

static struct {
	unsigned countdown;
	int code;
	bool writes, failed;
	unsigned cut_countdown;
	bool cut_database;
	void (*cut)(void *data);
	void *cut_data;
	GHashTable *contents; /* path -> struct content */
	sqlite3_vfs *real;
} disk;

/* @log: is the file SQLite's log? */
static int access_disk(bool is_write, bool log)
{
	if (is_write && !(log && disk.cut_database) && disk.cut_countdown && --disk.cut_countdown == 0)
		disk.cut(disk.cut_data);
	if (disk.countdown && (is_write || !disk.writes) && (disk.failed || --disk.countdown == 0)) {
		disk.countdown = 1;
		disk.failed = true;
		return disk.code;
	}
	return SQLITE_OK;
}

static void change_free(gpointer data)
{
	struct change *change = data;

	g_clear_pointer(&change->bytes, g_bytes_unref);
	g_free(change);
}

static void note(struct content *content, sqlite3_int64 offset, const void *bytes, int size)
{
	struct change *change = g_new0(struct change, 1);

	change->offset = offset;
	change->bytes = bytes ? g_bytes_new(bytes, (gsize)size) : NULL;
	g_ptr_array_add(content->writes, change);
}

/* Applies @change to @to: all of it when @chance is NULL, else sectors at random. */
static void apply(GByteArray *to, const struct change *change, GRand *chance)
{
	gsize size = 0;
	const guint8 *bytes = change->bytes ? g_bytes_get_data(change->bytes, &size) : NULL;
	guint had = to->len, end = (guint)change->offset + (guint)size;

	if (!bytes) {
		if (!chance || g_rand_boolean(chance))
			g_byte_array_set_size(to, MIN(had, end));
		return;
	}
	for (gsize at = 0; at < size; at += SECTOR) {
		guint from = (guint)change->offset + (guint)at, length = (guint)MIN(SECTOR, size - at);

		if (chance && g_rand_boolean(chance))
			continue;
		had = to->len;
		if (from + length > had) {
			g_byte_array_set_size(to, from + length);
			memset(to->data + had, 0, from + length - had);
		}
		memcpy(to->data + from, bytes + at, length);
	}
}

static struct fault_file *file_of(sqlite3_file *file)
{
	return (struct fault_file *)file;
}

static int fault_close(sqlite3_file *file)
{
	struct fault_file *own = file_of(file);
	int result = own->real->pMethods->xClose(own->real);

	g_free(own->real);
	return result;
}

static int fault_read(sqlite3_file *file, void *to, int size, sqlite3_int64 offset)
{
	int result = access_disk(false, false);

	return result ? result : file_of(file)->real->pMethods->xRead(file_of(file)->real, to, size, offset);
}

static int fault_write(sqlite3_file *file, const void *from, int size, sqlite3_int64 offset)
{
	int result = access_disk(true, file_of(file)->is_log);

	if (result)
		return result;
	note(file_of(file)->content, offset, from, size);
	return file_of(file)->real->pMethods->xWrite(file_of(file)->real, from, size, offset);
}

static int fault_truncate(sqlite3_file *file, sqlite3_int64 size)
{
	int result = access_disk(true, file_of(file)->is_log);

	if (result)
		return result;
	note(file_of(file)->content, size, NULL, 0);
	return file_of(file)->real->pMethods->xTruncate(file_of(file)->real, size);
}

static int fault_sync(sqlite3_file *file, int flags)
{
	struct content *content = file_of(file)->content;
	int result = access_disk(true, file_of(file)->is_log);

	if (result)
		return result;
	for (guint i = 0; i < content->writes->len; i++)
		apply(content->synced, g_ptr_array_index(content->writes, i), NULL);
	g_ptr_array_set_size(content->writes, 0);
	return file_of(file)->real->pMethods->xSync(file_of(file)->real, flags);
}

static int fault_file_size(sqlite3_file *file, sqlite3_int64 *size)
{
	return file_of(file)->real->pMethods->xFileSize(file_of(file)->real, size);
}

static int fault_lock(sqlite3_file *file, int level)
{
	return file_of(file)->real->pMethods->xLock(file_of(file)->real, level);
}

static int fault_unlock(sqlite3_file *file, int level)
{
	return file_of(file)->real->pMethods->xUnlock(file_of(file)->real, level);
}

static int fault_check_lock(sqlite3_file *file, int *result)
{
	return file_of(file)->real->pMethods->xCheckReservedLock(file_of(file)->real, result);
}

static int fault_control(sqlite3_file *file, int op, void *argument)
{
	return file_of(file)->real->pMethods->xFileControl(file_of(file)->real, op, argument);
}

static int fault_sector_size(sqlite3_file *file)
{
	return file_of(file)->real->pMethods->xSectorSize(file_of(file)->real);
}

static int fault_characteristics(sqlite3_file *file)
{
	return file_of(file)->real->pMethods->xDeviceCharacteristics(file_of(file)->real);
}

/* Version 1: without shared memory, which the store does not need: it locks the database exclusively. */
static const sqlite3_io_methods methods = {
	.iVersion = 1,
	.xClose = fault_close,
	.xRead = fault_read,
	.xWrite = fault_write,
	.xTruncate = fault_truncate,
	.xSync = fault_sync,
	.xFileSize = fault_file_size,
	.xLock = fault_lock,
	.xUnlock = fault_unlock,
	.xCheckReservedLock = fault_check_lock,
	.xFileControl = fault_control,
	.xSectorSize = fault_sector_size,
	.xDeviceCharacteristics = fault_characteristics,
};

static void content_free(gpointer data)
{
	struct content *content = data;

	g_byte_array_unref(content->synced);
	g_ptr_array_unref(content->writes);
	g_free(content);
}

static struct content *content_of(const char *path)
{
	struct content *content = g_hash_table_lookup(disk.contents, path);

	if (!content) {
		content = g_new0(struct content, 1);
		content->synced = g_byte_array_new();
		content->writes = g_ptr_array_new_with_free_func(change_free);
		g_hash_table_insert(disk.contents, g_strdup(path), content);
	}
	return content;
}

static int fault_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *got)
{
	struct fault_file *own = file_of(file);
	int result = access_disk(false, false);

	(void)vfs;
	own->base.pMethods = NULL;
	if (result)
		return SQLITE_CANTOPEN;
	own->real = g_malloc0((gsize)disk.real->szOsFile);
	result = disk.real->xOpen(disk.real, name, own->real, flags, got);
	if (result) {
		g_free(own->real);
		return result;
	}
	own->is_log = name && g_str_has_suffix(name, "-wal");
	own->content = content_of(name ? name : "");
	own->base.pMethods = &methods;
	return SQLITE_OK;
}

static int fault_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
	(void)vfs;
	g_hash_table_remove(disk.contents, name);
	return disk.real->xDelete(disk.real, name, sync);
}

void fault_vfs_install(void)
{
	static sqlite3_vfs vfs;

	disk.real = sqlite3_vfs_find(NULL);
	disk.contents = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, content_free);
	vfs = *disk.real;
	vfs.zName = "fault";
	vfs.szOsFile = (int)sizeof(struct fault_file);
	vfs.xOpen = fault_open;
	vfs.xDelete = fault_delete;
	g_assert_cmpint(sqlite3_vfs_register(&vfs, 1), ==, SQLITE_OK);
}

void fault_vfs_fail(unsigned number, int code, bool writes)
{
	disk.countdown = number;
	disk.code = code;
	disk.writes = writes;
	disk.failed = false;
}

bool fault_vfs_failed(void)
{
	return disk.failed;
}

void fault_vfs_cut(unsigned number, bool database, void (*cut)(void *data), void *data)
{
	disk.cut_countdown = number;
	disk.cut_database = database;
	disk.cut = cut;
	disk.cut_data = data;
}

bool fault_vfs_save(const char *path, const char *to, GRand *chance)
{
	const struct content *content = g_hash_table_lookup(disk.contents, path);
	g_autoptr(GByteArray) image = g_byte_array_new();

	if (!content)
		return false;
	if (content->synced->len > 0)
		g_byte_array_append(image, content->synced->data, content->synced->len);
	for (guint i = 0; i < content->writes->len; i++)
		apply(image, g_ptr_array_index(content->writes, i), chance);
	g_assert_true(g_file_set_contents(to, image->len ? (const char *)image->data : "", (gssize)image->len, NULL));
	return true;
}

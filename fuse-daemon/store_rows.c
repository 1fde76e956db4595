// SPDX-License-Identifier: GPL-2.0-or-later
/* Rows of a transaction: written down by those who change something, and read back. */
#include "store_rows.h"

#include <string.h>

#include "store_internal.h"

void row_begin(GByteArray *rows, enum store_row what, unsigned count)
{
	const guint8 head[] = { (guint8)what, (guint8)count };

	g_byte_array_append(rows, head, sizeof(head));
}

static void put_type(GByteArray *rows, int type)
{
	g_byte_array_append(rows, &(guint8){ (guint8)type }, 1);
}

void row_number(GByteArray *rows, uint64_t number)
{
	put_type(rows, SQLITE_INTEGER);
	g_byte_array_append(rows, (const guint8 *)&number, sizeof(number));
}

void row_bytes(GByteArray *rows, int type, const void *bytes, size_t size)
{
	uint32_t length = (uint32_t)size;

	put_type(rows, type);
	g_byte_array_append(rows, (const guint8 *)&length, sizeof(length));
	g_byte_array_append(rows, bytes, length);
}

void row_null(GByteArray *rows)
{
	put_type(rows, SQLITE_NULL);
}

void row_numbers(GByteArray *rows, enum store_row what, const uint64_t *numbers, unsigned count)
{
	row_begin(rows, what, count);
	for (unsigned i = 0; i < count; i++)
		row_number(rows, numbers[i]);
}

static bool take(const GByteArray *rows, size_t *at, void *to, size_t size)
{
	if (size > rows->len - *at)
		return false;
	memcpy(to, rows->data + *at, size);
	*at += size;
	return true;
}

static bool read_value(const GByteArray *rows, size_t *at, struct row_value *value)
{
	guint8 type;

	if (!take(rows, at, &type, 1))
		return false;
	value->type = type;
	switch (type) {
	case SQLITE_NULL:
		return true;
	case SQLITE_INTEGER:
		return take(rows, at, &value->number, sizeof(value->number));
	case SQLITE_TEXT:
	case SQLITE_BLOB:
		if (!take(rows, at, &value->size, sizeof(value->size)) || value->size > rows->len - *at)
			return false;
		value->bytes = rows->data + *at;
		*at += value->size;
		return true;
	default:
		return false;
	}
}

bool row_read(const GByteArray *rows, size_t *at, struct row *row)
{
	guint8 head[2];

	if (!take(rows, at, head, sizeof(head)) || head[0] == 0 || head[0] >= ROWS || head[1] > ROW_VALUES_MAX)
		return false;
	*row = (struct row){ .what = head[0], .count = head[1] };
	for (unsigned i = 0; i < row->count; i++) {
		if (!read_value(rows, at, &row->values[i]))
			return false;
	}
	return true;
}

/* What both kinds of rows of an inode begin with. */
static void put_inode(struct store *store, enum store_row what, unsigned count, const struct store_inode *inode)
{
	row_begin(store->rows, what, count);
	row_number(store->rows, inode->ino);
	row_number(store->rows, inode->mode);
	row_number(store->rows, inode->uid);
	row_number(store->rows, inode->gid);
	row_number(store->rows, inode->size);
	row_number(store->rows, (uint64_t)inode->atime.tv_sec);
	row_number(store->rows, (uint64_t)inode->atime.tv_nsec);
	row_number(store->rows, (uint64_t)inode->mtime.tv_sec);
	row_number(store->rows, (uint64_t)inode->mtime.tv_nsec);
	row_number(store->rows, (uint64_t)inode->ctime.tv_sec);
	row_number(store->rows, (uint64_t)inode->ctime.tv_nsec);
}

void store_put_inode(struct store *store, const struct store_inode *inode)
{
	put_inode(store, ROW_PUT_INODE, 12, inode);
	if (inode->target)
		row_bytes(store->rows, SQLITE_BLOB, inode->target, strlen(inode->target));
	else
		row_null(store->rows);
}

void store_put_attributes(struct store *store, const struct store_inode *inode)
{
	put_inode(store, ROW_PUT_ATTRIBUTES, 11, inode);
}

void store_put_size(struct store *store, uint64_t ino, uint64_t size)
{
	ROW(store->rows, ROW_PUT_SIZE, ino, size);
}

void store_delete_inode(struct store *store, uint64_t ino)
{
	ROW(store->rows, ROW_DELETE_INODE, ino);
	ROW(store->rows, ROW_DELETE_INODE_XATTRS, ino);
	ROW(store->rows, ROW_DELETE_INODE_EXTENTS, ino);
	ROW(store->rows, ROW_DELETE_INODE_BACKING, ino);
}

void store_put_entry(struct store *store, uint64_t parent, uint64_t cookie, const char *name, uint64_t ino)
{
	row_begin(store->rows, ROW_PUT_ENTRY, 4);
	row_number(store->rows, parent);
	row_number(store->rows, cookie);
	row_bytes(store->rows, SQLITE_BLOB, name, strlen(name));
	row_number(store->rows, ino);
}

void store_delete_entry(struct store *store, uint64_t parent, uint64_t cookie)
{
	ROW(store->rows, ROW_DELETE_ENTRY, parent, cookie);
}

void store_put_xattr(struct store *store, uint64_t ino, const char *name, const void *value, size_t size)
{
	row_begin(store->rows, ROW_PUT_XATTR, 3);
	row_number(store->rows, ino);
	row_bytes(store->rows, SQLITE_BLOB, name, strlen(name));
	row_bytes(store->rows, SQLITE_BLOB, value, size);
}

void store_delete_xattr(struct store *store, uint64_t ino, const char *name)
{
	row_begin(store->rows, ROW_DELETE_XATTR, 2);
	row_number(store->rows, ino);
	row_bytes(store->rows, SQLITE_BLOB, name, strlen(name));
}

void store_put_extent(struct store *store, uint64_t ino, const struct extent_map_run *run)
{
	store_delete_clean(store, run->extent);
	store_delete_extents(store, ino, run->offset, run->offset + run->extent.length);
	ROW(store->rows, ROW_PUT_EXTENT, ino, run->offset, run->extent.start, run->extent.length);
}

void store_delete_extents(struct store *store, uint64_t ino, uint64_t from, uint64_t to)
{
	ROW(store->rows, ROW_DELETE_EXTENTS, ino, from, MIN(to, (uint64_t)INT64_MAX));
}

void store_put_clean(struct store *store, struct extent run)
{
	ROW(store->rows, ROW_PUT_CLEAN, run.start, run.length);
}

void store_delete_clean(struct store *store, struct extent run)
{
	ROW(store->rows, ROW_DELETE_CLEAN, run.start, run.length);
}

void store_forget_clean(struct store *store)
{
	row_begin(store->rows, ROW_FORGET_CLEAN, 0);
}

void store_put_poison(struct store *store, struct extent run)
{
	store_delete_clean(store, run);
	ROW(store->rows, ROW_PUT_POISON, run.start, run.length);
}

void store_put_backing(struct store *store, uint64_t ino, int id)
{
	ROW(store->rows, ROW_PUT_BACKING, ino, (uint64_t)id);
}

static uint64_t first_slot(const struct store *store)
{
	return (uint64_t)store->generation << 16;
}

void store_put_done(struct store *store, unsigned slot, const struct store_done *done)
{
	ROW(store->rows, ROW_PUT_DONE, first_slot(store) + slot, done->unique, done->ino);
}

void store_delete_old_done(struct store *store)
{
	ROW(store->rows, ROW_DELETE_OLD_DONE, first_slot(store));
}

int store_forget_connection(struct store *store)
{
	store_begin(store);
	row_begin(store->rows, ROW_FORGET_DONE, 0);
	row_begin(store->rows, ROW_FORGET_BACKING, 0);
	return store_commit(store);
}

void store_reserve_inos(struct store *store, uint64_t next)
{
	store_put_value(store, "next_ino", &next, sizeof(next));
}

void store_put_value(struct store *store, const char *name, const void *value, size_t size)
{
	row_begin(store->rows, value ? ROW_PUT_VALUE : ROW_DELETE_VALUE, value ? 2 : 1);
	row_bytes(store->rows, SQLITE_TEXT, name, strlen(name));
	if (value)
		row_bytes(store->rows, SQLITE_BLOB, value, size);
}

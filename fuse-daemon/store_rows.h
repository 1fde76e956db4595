/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The rows of a transaction as bytes, on their way into the redo log and the database. A row is the number of what is done
 * (enum store_row), how many values it has, and these: type, and the eight bytes of a number, or length and bytes.
 *
 * Internal to store*.c.
 */
#ifndef DMEMFS_STORE_ROWS_H
#define DMEMFS_STORE_ROWS_H

#include <glib.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

/* What a row does. The redo log has these numbers: new ones come at the end, and none ever gets another meaning. */
enum store_row {
	ROW_PUT_INODE = 1,
	ROW_PUT_ATTRIBUTES,
	ROW_PUT_SIZE,
	ROW_DELETE_INODE,
	ROW_DELETE_INODE_XATTRS,
	ROW_DELETE_INODE_EXTENTS,
	ROW_DELETE_INODE_BACKING,
	ROW_PUT_ENTRY,
	ROW_DELETE_ENTRY,
	ROW_PUT_XATTR,
	ROW_DELETE_XATTR,
	ROW_PUT_EXTENT,
	ROW_DELETE_EXTENTS,
	ROW_PUT_CLEAN,
	ROW_DELETE_CLEAN,
	ROW_FORGET_CLEAN,
	ROW_PUT_POISON,
	ROW_PUT_BACKING,
	ROW_PUT_DONE,
	ROW_DELETE_OLD_DONE,
	ROW_FORGET_DONE,
	ROW_FORGET_BACKING,
	ROW_PUT_VALUE,
	ROW_DELETE_VALUE,
	ROWS
};

#define ROW_VALUES_MAX 12

struct row {
	enum store_row what;
	unsigned count;
	struct row_value {
		int type; /* SQLITE_INTEGER, SQLITE_TEXT, SQLITE_BLOB or SQLITE_NULL */
		int64_t number;
		const void *bytes; /* in what the row was read from */
		uint32_t size;
	} values[ROW_VALUES_MAX];
};

/* Begins a row of @count values, which follow. */
void row_begin(GByteArray *rows, enum store_row what, unsigned count);
void row_number(GByteArray *rows, uint64_t number);
/* @type: SQLITE_TEXT or SQLITE_BLOB. */
void row_bytes(GByteArray *rows, int type, const void *bytes, size_t size);
void row_null(GByteArray *rows);
/* A row of numbers. */
void row_numbers(GByteArray *rows, enum store_row what, const uint64_t *numbers, unsigned count);
#define ROW(rows, what, ...)                                                                                           \
	row_numbers(rows, what, (const uint64_t[]){ __VA_ARGS__ },                                                     \
	            sizeof((const uint64_t[]){ __VA_ARGS__ }) / sizeof(uint64_t))

/* Takes the row at @at, which moves on; false: there is none that makes sense. */
bool row_read(const GByteArray *rows, size_t *at, struct row *row);

#endif

// SPDX-License-Identifier: GPL-2.0-or-later
/* The redo log by itself, and the store that writes it: what a death at any byte leaves. */
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "store.h"
#include "store_redo.h"
#include "store_rows.h"

/* As in store_redo.c. */
#define HALVES_AT 4096
#define HALF_SIZE (256 << 10)
#define HEAD_SIZE 24

static const struct store_mark mark = { .bytes = { 1, 2, 3 } };

struct log {
	char *directory, *path;
};

static void set_up(struct log *log, gconstpointer data)
{
	(void)data;
	log->directory = g_dir_make_tmp("dmemfs-redo-XXXXXX", NULL);
	g_assert_nonnull(log->directory);
	log->path = g_build_filename(log->directory, STORE_REDO_FILE, NULL);
}

static void tear_down(struct log *log, gconstpointer data)
{
	static const char *const names[] = { STORE_FILE, STORE_FILE "-wal", STORE_FILE "-shm", STORE_REDO_FILE };

	(void)data;
	for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
		g_autofree char *path = g_build_filename(log->directory, names[i], NULL);

		unlink(path);
	}
	g_assert_cmpint(g_rmdir(log->directory), ==, 0);
	g_free(log->directory);
	g_free(log->path);
}

static struct redo *create(const struct log *log)
{
	g_autoptr(GError) error = NULL;
	struct redo *redo = redo_create(log->path, &mark, &error);

	g_assert_no_error(error);
	return redo;
}

/* Transaction @number is as many bytes of it, plus @more. */
static void append(struct redo *redo, uint64_t number, guint more)
{
	g_autoptr(GByteArray) rows = g_byte_array_new();

	g_byte_array_set_size(rows, (guint)number + more);
	memset(rows->data, (int)number, rows->len);
	g_assert_true(redo_fits(redo, rows->len));
	g_assert_cmpint(redo_append(redo, number, rows), ==, 0);
}

/* The log has transactions @applied + 1 to @last, each of which is whole. */
static void assert_holds(const struct log *log, uint64_t applied, uint64_t last, guint more)
{
	g_autoptr(GByteArray) rows = g_byte_array_new();
	g_autoptr(GError) error = NULL;
	uint64_t seen;
	guint at = 0;

	g_assert_true(redo_read(log->path, &mark, applied, rows, &seen, &error));
	g_assert_no_error(error);
	g_assert_cmpuint(seen, ==, last);
	for (uint64_t number = applied + 1; number <= last; number++) {
		for (uint64_t i = 0; i < number + more; i++, at++)
			g_assert_cmpuint(rows->data[at], ==, number & 0xff);
	}
	g_assert_cmpuint(at, ==, rows->len);
}

static void test_reading_back(struct log *log, gconstpointer data)
{
	struct redo *redo;

	(void)data;
	assert_holds(log, 0, 0, 0); /* no file */
	assert_holds(log, 7, 7, 0);
	redo = create(log);
	assert_holds(log, 7, 7, 0);
	for (uint64_t number = 8; number <= 20; number++) {
		append(redo, number, 0);
		assert_holds(log, 7, number, 0);
		assert_holds(log, number, number, 0);
	}
	assert_holds(log, 12, 20, 0);
	redo_close(redo, true);
	assert_holds(log, 12, 20, 0);
	redo_close(create(log), false);
	g_assert_false(g_file_test(log->path, G_FILE_TEST_EXISTS));
}

/* Halves take turns many times; what is left of earlier turns is never taken for something new. */
static void test_halves(struct log *log, gconstpointer data)
{
	enum { MORE = 60000 };
	struct redo *redo = create(log);
	uint64_t applied = 0, switched = 0;

	(void)data;
	for (uint64_t number = 1; number <= 40; number++) {
		if (number % 7 == 0 || !redo_fits(redo, (size_t)number + MORE)) {
			applied = switched; /* what is in the half that is overwritten now */
			switched = number - 1;
			redo_switch(redo);
		}
		append(redo, number, MORE);
		assert_holds(log, applied, number, MORE);
	}
	redo_close(redo, false);
	g_assert_false(redo_could_fit(HALF_SIZE));
	g_assert_true(redo_could_fit(HALF_SIZE - HEAD_SIZE));
}

/* The file as it is when the process dies while it writes the last of three transactions. */
static void test_torn_write(struct log *log, gconstpointer data)
{
	struct redo *redo = create(log);
	g_autofree char *whole = NULL;
	gsize size, begin, end;

	(void)data;
	append(redo, 1, 100);
	append(redo, 2, 100);
	begin = HALVES_AT + 2 * (HEAD_SIZE + 104);
	append(redo, 3, 100);
	end = begin + HEAD_SIZE + 103;
	redo_close(redo, true);
	g_assert_true(g_file_get_contents(log->path, &whole, &size, NULL));
	for (gsize cut = begin; cut <= end; cut++) {
		g_autofree char *torn = g_memdup2(whole, size);

		memset(torn + cut, 0, size - cut);
		g_assert_true(g_file_set_contents(log->path, torn, (gssize)size, NULL));
		assert_holds(log, 0, cut < end ? 2 : 3, 100);
	}
}

/* One bit is wrong: an error, or all that comes before it if nothing comes after it. Never other bytes. */
static void test_flipped_bits(struct log *log, gconstpointer data)
{
	struct redo *redo = create(log);
	g_autofree char *whole = NULL;
	gsize size, end = HALVES_AT + 4 * (HEAD_SIZE + 104);

	(void)data;
	for (uint64_t number = 1; number <= 4; number++)
		append(redo, number, 100);
	redo_close(redo, true);
	g_assert_true(g_file_get_contents(log->path, &whole, &size, NULL));
	for (gsize bit = 0; bit < end * 8; bit += bit < (gsize)HALVES_AT * 8 ? 97 : 3) {
		g_autoptr(GByteArray) rows = g_byte_array_new();
		g_autoptr(GError) error = NULL;
		uint64_t last;

		whole[bit / 8] ^= (char)(1 << bit % 8);
		g_assert_true(g_file_set_contents(log->path, whole, (gssize)size, NULL));
		if (redo_read(log->path, &mark, 0, rows, &last, &error)) {
			assert_holds(log, 0, last, 100);
			g_assert_true(last == 4 || (last == 3 && bit / 8 >= HALVES_AT));
		} else {
			g_assert_nonnull(error);
			g_assert_nonnull(strstr(error->message, log->path));
		}
		whole[bit / 8] ^= (char)(1 << bit % 8);
	}
}

static void test_rows(void)
{
	g_autoptr(GByteArray) rows = g_byte_array_new();
	struct row row;
	size_t at = 0;

	ROW(rows, ROW_PUT_SIZE, 5, UINT64_MAX);
	row_begin(rows, ROW_PUT_XATTR, 3);
	row_number(rows, 7);
	row_bytes(rows, SQLITE_BLOB, "name", 4);
	row_bytes(rows, SQLITE_BLOB, "", 0);
	row_begin(rows, ROW_FORGET_CLEAN, 0);
	g_assert_true(row_read(rows, &at, &row));
	g_assert_cmpint(row.what, ==, ROW_PUT_SIZE);
	g_assert_cmpuint(row.count, ==, 2);
	g_assert_cmpint(row.values[1].number, ==, -1);
	g_assert_true(row_read(rows, &at, &row));
	g_assert_cmpmem(row.values[1].bytes, row.values[1].size, "name", 4);
	g_assert_cmpuint(row.values[2].size, ==, 0);
	g_assert_true(row_read(rows, &at, &row));
	g_assert_cmpuint(at, ==, rows->len);
	g_assert_false(row_read(rows, &at, &row));
	/* Cut anywhere, the last row is none. */
	for (guint size = 1; size < rows->len; size++) {
		g_autoptr(GByteArray) cut = g_byte_array_new();
		bool good = true;

		g_byte_array_append(cut, rows->data, size);
		for (at = 0; at < size && good;)
			good = row_read(cut, &at, &row);
		g_assert_cmpuint(at, <=, size);
	}
}

static struct store *open_store(const struct log *log)
{
	g_autoptr(GError) error = NULL;
	struct store *store = store_open(log->directory, 0, 0, &error);

	g_assert_no_error(error);
	return store;
}

static void put_value(struct store *store, unsigned number, size_t size)
{
	g_autofree char *name = g_strdup_printf("value%u", number);
	g_autofree char *value = g_malloc0(size);

	store_put_value(store, name, value, size);
}

static void assert_value(struct store *store, unsigned number, size_t size)
{
	g_autofree char *name = g_strdup_printf("value%u", number);
	g_autoptr(GBytes) value = store_get_value(store, name);

	g_assert_nonnull(value);
	g_assert_cmpuint(g_bytes_get_size(value), ==, size);
}

/* Transactions of all sizes, also larger than the log: each is there at once, in order, and after opening it again. */
static void test_large_transactions(struct log *log, gconstpointer data)
{
	static const size_t sizes[] = { 1, HALF_SIZE / 2, 100, HALF_SIZE, 5000, 3 * HALF_SIZE, HALF_SIZE - 100, 7 };
	struct store *store = open_store(log);

	(void)data;
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++) {
			store_begin(store);
			put_value(store, 0, sizes[i] + round);
			put_value(store, 1 + i, sizes[i] + round);
			g_assert_cmpint(store_commit(store), ==, 0);
			if (round == 1)
				assert_value(store, 0, sizes[i] + round);
		}
	}
	store_close(store);
	store = open_store(log);
	assert_value(store, 0, 7 + 2);
	for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++)
		assert_value(store, 1 + i, sizes[i] + 2);
	store_close(store);
}

static void test_rollback(struct log *log, gconstpointer data)
{
	struct store *store = open_store(log);

	(void)data;
	store_begin(store);
	put_value(store, 1, 10);
	store_rollback(store);
	store_begin(store); /* and one of nothing */
	g_assert_cmpint(store_commit(store), ==, 0);
	g_assert_null(store_get_value(store, "value1"));
	store_close(store);
}

/* Once it is synced, each commit is in the database, as somebody who takes a copy of that expects. */
static void test_sync(struct log *log, gconstpointer data)
{
	struct store *store = open_store(log);
	g_autofree char *before = NULL, *after = NULL;
	gsize before_size, after_size;

	(void)data;
	store_begin(store);
	put_value(store, 1, 10);
	g_assert_cmpint(store_commit(store), ==, 0);
	g_assert_cmpint(store_sync(store), ==, 0);
	g_assert_true(g_file_get_contents(log->path, &before, &before_size, NULL));
	store_begin(store);
	put_value(store, 2, 10);
	g_assert_cmpint(store_commit(store), ==, 0);
	g_assert_true(g_file_get_contents(log->path, &after, &after_size, NULL));
	g_assert_cmpmem(before, before_size, after, after_size);
	assert_value(store, 2, 10);
	store_close(store);
}

#define ADD(name, function) g_test_add("/store-redo/" name, struct log, NULL, set_up, function, tear_down)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/store-redo/rows", test_rows);
	ADD("reading-back", test_reading_back);
	ADD("halves", test_halves);
	ADD("torn-write", test_torn_write);
	ADD("flipped-bits", test_flipped_bits);
	ADD("large-transactions", test_large_transactions);
	ADD("rollback", test_rollback);
	ADD("sync", test_sync);
	return g_test_run();
}

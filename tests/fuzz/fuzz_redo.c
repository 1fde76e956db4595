// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A redo log beside a sound database: refused with what is wrong, or applied, after which the database is sound again. An input
 * is whether the log is damaged (1 byte), where (4) and which bits (1); then transactions, each a size (2) and rows.
 */
#include <string.h>
#include <unistd.h>

#include "fuzz.h"
#include "store.h"
#include "store_redo.h"

static const char *const suffixes[] = { "", "-wal", "-shm", "-redo" };

static char *directory;
static char *path;
static char *sound;
static gsize sound_size;
static struct store_mark mark;

static void remove_files(void)
{
	for (size_t i = 0; i < G_N_ELEMENTS(suffixes); i++) {
		g_autofree char *name = g_strconcat(path, suffixes[i], NULL);

		unlink(name);
	}
}

static void remove_directory(void)
{
	remove_files();
	rmdir(directory);
}

static void make_sound(void)
{
	const struct store_inode file = { .ino = 2, .mode = S_IFREG | 0644, .size = 0 };
	g_autoptr(GError) error = NULL;
	struct store *store;

	directory = g_dir_make_tmp("dmemfs-fuzz-XXXXXX", &error);
	g_assert_no_error(error);
	path = g_build_filename(directory, STORE_FILE, NULL);
	atexit(remove_directory);
	store = store_open(directory, 0, 0, &error);
	g_assert_no_error(error);
	mark = store_get_mark(store);
	store_begin(store);
	store_reserve_inos(store, 100);
	store_put_inode(store, &file);
	store_put_entry(store, 1, 10, "file", 2);
	g_assert_cmpint(store_commit(store), ==, 0);
	store_close(store);
	g_assert_true(g_file_get_contents(path, &sound, &sound_size, &error));
}

/* After the one transaction that the database has had. */
static void write_log(struct fuzz_input *input)
{
	bool is_damaged = fuzz_take(input, 1) & 1;
	gsize where = fuzz_take(input, 4), size;
	char how = (char)fuzz_take(input, 1);
	g_autofree char *log = g_strconcat(path, "-redo", NULL);
	g_autofree char *contents = NULL;
	g_autoptr(GError) error = NULL;
	struct redo *redo = redo_create(log, &mark, &error);

	g_assert_no_error(error);
	for (uint64_t number = 2; input->size > 2; number++) {
		size_t length = fuzz_take(input, 2) % 512;
		const uint8_t *bytes = fuzz_take_bytes(input, &length);
		g_autoptr(GByteArray) rows = g_byte_array_new();

		g_byte_array_append(rows, bytes, (guint)length);
		if (redo_fits(redo, length))
			g_assert_cmpint(redo_append(redo, number, rows), ==, 0);
	}
	redo_close(redo, true);
	if (!is_damaged)
		return;
	g_assert_true(g_file_get_contents(log, &contents, &size, NULL));
	where %= 8192;
	contents[where < 128 ? where : 4096 - 128 + where % 4096] ^= how;
	g_assert_true(g_file_set_contents(log, contents, (gssize)size, NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = { data, size };
	g_autoptr(GError) error = NULL;
	struct store *store;

	if (!directory)
		make_sound();
	remove_files();
	g_assert_true(g_file_set_contents(path, sound, (gssize)sound_size, NULL));
	write_log(&input);
	store = store_open(directory, 0, 0, &error);
	if (!store) {
		g_assert_nonnull(error);
		g_assert_nonnull(strstr(error->message, path));
		return 0;
	}
	g_assert_no_error(error);
	g_assert_null(store_check(store));
	store_close(store);
	return 0;
}

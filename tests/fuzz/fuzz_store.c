// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A damaged database: refused with what is wrong, or loaded with rows that make sense. An input is a list of changes to a
 * sound one: where (4 bytes), how many bytes (1), the bytes. A change past the end cuts the file there.
 */
#include <string.h>
#include <unistd.h>

#include "fuzz.h"
#include "store/store.h"

static char *directory;
static char *path;
static char *sound;
static gsize sound_size;

static void remove_directory(void)
{
	for (unsigned i = 0; i < 3; i++) {
		g_autofree char *name = g_strconcat(path, ((const char *[]){ "", "-wal", "-shm" })[i], NULL);

		unlink(name);
	}
	rmdir(directory);
}

static void put_file(struct store *store, uint64_t ino, const char *name)
{
	const struct store_inode inode = { .ino = ino, .mode = S_IFREG | 0644, .uid = 1000, .gid = 1000, .size = 5000 };
	const struct extent_map_run run = { .offset = 0, .extent = { (uint64_t)4 << 30, DMEMFS_PAGE_2M } };
	struct extent_map_run own = run;

	own.extent.start += ino * DMEMFS_PAGE_2M;
	store_put_inode(store, &inode);
	store_put_entry(store, 1, ino + 10, name, ino);
	store_put_extent(store, ino, &own);
	store_put_xattr(store, ino, "user.key", "value", 5);
	store_put_backing(store, ino, (int)ino);
}

/* A row of every kind. */
static void make_sound(void)
{
	const struct store_inode link = { .ino = 9, .mode = S_IFLNK | 0777, .target = "elsewhere" };
	const struct store_done done = { .unique = 44, .ino = 9 };
	GError *error = NULL;

	directory = g_dir_make_tmp("dmemfs-fuzz-XXXXXX", &error);
	g_assert_no_error(error);
	path = g_build_filename(directory, STORE_FILE, NULL);
	atexit(remove_directory);

	struct store *store = store_open(directory, 0, 0, &error);

	g_assert_no_error(error);
	store_begin(store);
	store_reserve_inos(store, 100);
	put_file(store, 2, "one");
	put_file(store, 3, "two");
	store_put_entry(store, 1, 20, "another name of two", 3);
	store_put_inode(store, &link);
	store_put_entry(store, 1, 21, "link", 9);
	store_put_done(store, 0, &done);
	store_put_value(store, "value", "x", 1);
	g_assert_cmpint(store_commit(store), ==, 0);
	store_close(store);
	g_file_get_contents(path, &sound, &sound_size, &error);
	g_assert_no_error(error);
}

static void write_damaged(struct fuzz_input *input)
{
	g_autofree char *image = g_memdup2(sound, sound_size);
	gsize size = sound_size;

	while (input->size > 5) {
		gsize at = fuzz_take(input, 4) % (sound_size + sound_size / 16);
		size_t count = fuzz_take(input, 1) % 64;
		const void *bytes = fuzz_take_bytes(input, &count);

		if (at >= sound_size)
			size = MIN(size, (at - sound_size) * 16);
		else
			memcpy(image + at, bytes, MIN(count, sound_size - at));
	}
	g_assert_true(g_file_set_contents(path, image, (gssize)size, NULL));
}

static bool visit_inode(const struct store_inode *inode, void *data, GError **error)
{
	GHashTable *inodes = data;

	(void)error;
	g_assert_cmpuint(inode->ino, >, 0);
	g_assert_cmpuint(inode->size, <=, INT64_MAX);
	g_assert_true(!S_ISLNK(inode->mode) == !inode->target);
	g_assert_true(g_hash_table_add(inodes, g_memdup2(&inode->ino, sizeof(inode->ino))));
	return true;
}

static void check_known(GHashTable *inodes, uint64_t ino)
{
	g_assert_true(g_hash_table_contains(inodes, &ino));
}

static bool visit_entry(uint64_t parent, uint64_t cookie, const char *name, uint64_t ino, void *data, GError **error)
{
	(void)cookie;
	(void)error;
	check_known(data, parent);
	check_known(data, ino);
	g_assert_cmpuint(strlen(name), >, 0);
	g_assert_cmpuint(strlen(name), <=, 255);
	g_assert_null(strchr(name, '/'));
	return true;
}

static bool visit_xattr(uint64_t ino, const char *name, const void *value, size_t size, void *data, GError **error)
{
	(void)error;
	check_known(data, ino);
	g_assert_cmpuint(strlen(name), >, 0);
	g_assert_true(size == 0 || value);
	return true;
}

static bool visit_extent(uint64_t ino, struct extent_map_run run, void *data, GError **error)
{
	(void)error;
	check_known(data, ino);
	g_assert_cmpuint(run.extent.length, >, 0);
	g_assert_cmpuint(run.extent.start, <=, INT64_MAX - run.extent.length);
	g_assert_cmpuint(run.offset, <=, INT64_MAX - run.extent.length);
	return true;
}

static bool visit_backing(uint64_t ino, int id, void *data, GError **error)
{
	(void)error;
	check_known(data, ino);
	g_assert_cmpint(id, >, 0);
	return true;
}

static bool visit_done(const struct store_done *done, void *data, GError **error)
{
	(void)done;
	(void)data;
	(void)error;
	return true;
}

static const struct store_visitor visitor = {
	visit_inode, visit_entry, visit_xattr, visit_extent, visit_backing, visit_done,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = { data, size };
	g_autoptr(GHashTable) inodes = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
	g_autoptr(GError) error = NULL;

	if (!directory)
		make_sound();
	write_damaged(&input);

	struct store *store = store_open(directory, 0, 0, &error);

	if (!store) {
		g_assert_nonnull(error);
		g_assert_nonnull(strstr(error->message, path));
		return 0;
	}
	g_assert_no_error(error);
	if (!store_load(store, &visitor, inodes, &error))
		g_assert_nonnull(error);
	store_close(store);
	return 0;
}

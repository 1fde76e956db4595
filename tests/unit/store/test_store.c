// SPDX-License-Identifier: GPL-2.0-or-later
/* The store: a transaction is applied as a whole or not at all. */
#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>

#include "unit/store/store_state.h"

static void put_value(struct store *store, unsigned number, size_t size)
{
	g_autofree char *name = g_strdup_printf("value%u", number);
	g_autofree char *value = g_malloc0(size + 1);

	store_put_value(store, name, value, size);
}

/* The value with this number; -1: there is none. */
static int64_t get_value(struct store *store, unsigned number)
{
	g_autofree char *name = g_strdup_printf("value%u", number);
	g_autoptr(GBytes) value = NULL;
	g_autoptr(GError) error = NULL;

	g_assert_true(store_get_value(store, name, &value, &error));
	g_assert_no_error(error);
	return value ? (int64_t)g_bytes_get_size(value) : -1;
}

static void test_values(struct state *state, gconstpointer data)
{
	struct store *store = state_open_store(state);

	(void)data;
	g_assert_cmpint(get_value(store, 1), ==, -1);
	store_begin(store);
	put_value(store, 1, 100);
	put_value(store, 2, 0);
	g_assert_cmpint(store_commit(store), ==, 0);
	store_begin(store);
	store_put_value(store, "value1", NULL, 0);
	g_assert_cmpint(store_commit(store), ==, 0);
	store_close(store);
	store = state_open_store(state);
	g_assert_cmpint(get_value(store, 1), ==, -1);
	g_assert_cmpint(get_value(store, 2), ==, 0);
	state_check_store(store);
	store_close(store);
}

static void put_held(struct store *store, uint64_t start, uint64_t length, uint64_t ino)
{
	store_put_held(store, &(struct store_held){
				      .extent = { start << 12, length << 12 }, .since = 5, .ino = ino, .pid = 8 });
}

/* "START LENGTH INODE NAME TREES" of each row, in pages. */
static void assert_held(struct store *store, const char *expected)
{
	g_autoptr(GArray) held = store_held_new();
	g_autoptr(GString) text = g_string_new(NULL);

	g_assert_cmpint(store_list_held(store, held), ==, 0);
	for (guint i = 0; i < held->len; i++) {
		const struct store_held *row = &g_array_index(held, struct store_held, i);

		g_string_append_printf(text, "%s%d %d %d %s %s", i ? ", " : "", (int)(row->extent.start >> 12),
		                       (int)(row->extent.length >> 12), (int)row->ino, row->name, row->trees);
		g_assert_cmpint(row->since, ==, 5);
		g_assert_cmpint(row->pid, ==, 8);
	}
	g_assert_cmpstr(text->str, ==, expected);
}

/* Pages 10 to 19 of the inode 2, 20 to 24 of 3. */
static void hold_memory_of_two(struct store *store)
{
	store_begin(store);
	put_held(store, 10, 10, 2);
	put_held(store, 20, 5, 3);
	g_assert_cmpint(store_commit(store), ==, 0);
}

/* A file has the memory again, or it was zeroed. */
static void test_held_memory_ends(struct state *state, gconstpointer data)
{
	const struct extent_map_run run = { 0, { 13 << 12, 4 << 12 } };
	struct store *store = state_open_store(state);

	(void)data;
	hold_memory_of_two(store);
	assert_held(store, "10 10 2  , 20 5 3  ");
	store_begin(store);
	store_put_clean(store, (struct extent){ 18 << 12, 4 << 12 });
	store_put_extent(store, STORE_ROOT_INO, &run);
	store_delete_extents(store, STORE_ROOT_INO, 0, INT64_MAX);
	g_assert_cmpint(store_commit(store), ==, 0);
	assert_held(store, "10 3 2  , 17 1 2  , 22 3 3  ");
	store_begin(store);
	put_held(store, 12, 20, 4);
	g_assert_cmpint(store_commit(store), ==, 0);
	assert_held(store, "10 2 2  , 12 20 4  ");
	store_close(store);
	store = state_open_store(state);
	assert_held(store, "10 2 2  , 12 20 4  ");
	store_close(store);
}

/* The deletion of the inode puts the file's name and quota on record, also for memory that it gave up before. */
static void test_held_memory_of_a_removed_file(struct state *state, gconstpointer data)
{
	struct store_gone *gone = g_new0(struct store_gone, 1);
	const struct extent run = { 5 << 12, 2 << 12 };
	struct store *store = state_open_store(state);

	(void)data;
	hold_memory_of_two(store);
	gone->extents = extents_new();
	g_array_append_val(gone->extents, run);
	gone->last =
		(struct store_held){ .since = 5, .ino = 2, .pid = 8, .name = g_strdup("vm"), .trees = g_strdup("7 4") };
	store_delete_inode_later(store, 2, gone);
	assert_held(store, "10 10 2  , 20 5 3  ");
	g_assert_cmpint(store_flush(store), ==, 0);
	assert_held(store, "5 2 2 vm 7 4, 10 10 2 vm 7 4, 20 5 3  ");
	store_close(store);
	store_close(state_open_store(state)); /* consistent */
}

/* When one row fails, the whole transaction fails. Other transactions are not affected. */
static void test_row_that_fails(struct state *state, gconstpointer data)
{
	const struct store_inode root = { .ino = 1, .mode = S_IFDIR | 0755 };
	struct store *store = state_open_store(state);

	(void)data;
	store_begin(store);
	put_value(store, 1, 10);
	store_put_inode(store, &root); /* fails: it is there already */
	put_value(store, 2, 10);
	g_assert_cmpint(store_commit(store), ==, -EIO);
	g_assert_cmpint(get_value(store, 1), ==, -1);
	g_assert_cmpint(get_value(store, 2), ==, -1);
	store_begin(store); /* an empty transaction */
	g_assert_cmpint(store_commit(store), ==, 0);
	store_begin(store);
	put_value(store, 2, 10);
	g_assert_cmpint(store_commit(store), ==, 0);
	g_assert_cmpint(get_value(store, 2), ==, 10);
	state_check_store(store);
	store_close(store);
}

static int64_t log_size(const struct state *state)
{
	GStatBuf st;

	return g_stat(state->log, &st) == 0 ? st.st_size : 0;
}

/* SQLite restarts the log, and truncates it after a very large transaction. */
static void test_log_stays_small(struct state *state, gconstpointer data)
{
	struct store *store = state_open_store(state);

	(void)data;
	for (unsigned i = 0; i < 3000; i++) {
		store_begin(store);
		put_value(store, i % 7, i == 1500 ? 20 << 20 : 60000);
		g_assert_cmpint(store_commit(store), ==, 0);
		g_assert_cmpint(log_size(state), <, i < 1500 || i > 1510 ? 18 << 20 : 64 << 20);
	}
	store_close(store);
}

/* After store_sync(), the database file contains every commit, so that it can be copied alone. */
static void test_sync(struct state *state, gconstpointer data)
{
	struct store *store = state_open_store(state);

	(void)data;
	store_begin(store);
	put_value(store, 1, 10);
	g_assert_cmpint(store_commit(store), ==, 0);
	g_assert_cmpint(log_size(state), >, 0);
	g_assert_cmpint(store_sync(store), ==, 0);
	g_assert_cmpint(log_size(state), ==, 0);
	store_close(store);
}

static unsigned odd_runs(struct store *store, uint64_t start, uint64_t length, uint64_t page)
{
	unsigned runs;

	g_assert_cmpint(store_count_odd_runs(store, (struct extent){ start, length }, page, &runs), ==, 0);
	return runs;
}

/* A run counts if it begins, in the file or in memory, or ends inside a page. */
static void test_odd_runs(struct state *state, gconstpointer data)
{
	static const struct extent_map_run runs[] = {
		{ 0, { 0, 2 * DMEMFS_PAGE_1G } },
		{ 2 * DMEMFS_PAGE_1G, { 2 * DMEMFS_PAGE_1G, DMEMFS_PAGE_2M } },
		{ 4 * DMEMFS_PAGE_1G, { 3 * DMEMFS_PAGE_1G + DMEMFS_PAGE_2M, DMEMFS_PAGE_1G } },
		{ 5 * DMEMFS_PAGE_1G + DMEMFS_PAGE_4K, { 8 * DMEMFS_PAGE_1G, DMEMFS_PAGE_1G } },
	};
	struct store *store = state_open_store(state);

	(void)data;
	store_begin(store);
	for (size_t i = 0; i < G_N_ELEMENTS(runs); i++)
		store_put_extent(store, 1, &runs[i]);
	g_assert_cmpint(store_commit(store), ==, 0);
	g_assert_cmpuint(odd_runs(store, 0, INT64_MAX, DMEMFS_PAGE_4K), ==, 0);
	g_assert_cmpuint(odd_runs(store, 0, INT64_MAX, DMEMFS_PAGE_2M), ==, 1);
	g_assert_cmpuint(odd_runs(store, 0, INT64_MAX, DMEMFS_PAGE_1G), ==, 3);
	g_assert_cmpuint(odd_runs(store, 0, 2 * DMEMFS_PAGE_1G, DMEMFS_PAGE_1G), ==, 0);
	g_assert_cmpuint(odd_runs(store, 4 * DMEMFS_PAGE_1G, DMEMFS_PAGE_1G, DMEMFS_PAGE_1G), ==, 1);
	store_begin(store);
	store_delete_extents(store, 1, 0, UINT64_MAX);
	g_assert_cmpint(store_commit(store), ==, 0);
	g_assert_cmpuint(odd_runs(store, 0, INT64_MAX, DMEMFS_PAGE_1G), ==, 0);
	store_close(store);
}

/* Makes the file @ino with a name and a run; @lost: its STORE_LOST_CONTENTS, NULL: none. */
static void put_file(struct store *store, uint64_t ino, uint64_t size, const char *lost)
{
	g_autofree char *name = g_strdup_printf("file%d", (int)ino);
	const struct extent_map_run run = { 0, { ino << 12, DMEMFS_PAGE_4K } };

	store_reserve_inos(store, ino + 1);
	store_put_inode(store, &(struct store_inode){ .ino = ino, .mode = S_IFREG | 0600, .size = size });
	store_put_entry(store, STORE_ROOT_INO, STORE_COOKIE_FIRST + ino, name, ino);
	store_put_xattr(store, ino, "user.name", "remove", 6);
	store_put_text(store, ino, STORE_LOST_CONTENTS, lost);
	if (size)
		store_put_extent(store, ino, &run);
}

static bool add_inode(const struct store_inode *inode, void *data, GError **error)
{
	(void)error;
	g_string_append_printf(data, " %d", (int)inode->ino);
	return true;
}

static bool skip_entry(uint64_t parent, uint64_t cookie, const char *name, uint64_t ino, void *data, GError **error)
{
	(void)parent, (void)cookie, (void)name, (void)ino, (void)data, (void)error;
	return true;
}

static bool skip_xattr(uint64_t ino, const char *name, const void *value, size_t size, void *data, GError **error)
{
	(void)ino, (void)name, (void)value, (void)size, (void)data, (void)error;
	return true;
}

static bool skip_extent(uint64_t ino, struct extent_map_run run, void *data, GError **error)
{
	(void)ino, (void)run, (void)data, (void)error;
	return true;
}

/* The inodes on record are those of @expected. */
static void assert_inodes(struct store *store, const char *expected)
{
	static const struct store_visitor visitor = {
		.inode = add_inode, .entry = skip_entry, .xattr = skip_xattr, .extent = skip_extent
	};
	g_autoptr(GString) text = g_string_new(NULL);
	g_autoptr(GError) error = NULL;

	g_assert_true(store_load(store, &visitor, text, &error));
	g_assert_no_error(error);
	g_assert_cmpstr(text->str, ==, expected);
}

/* Each file is removed or kept as its attribute says, and without one as @data, which is no pointer, says. */
static void test_lost_contents(struct state *state, gconstpointer data)
{
	bool by_default = GPOINTER_TO_INT(data);
	struct store *store = state_open_store(state);
	unsigned files, to_remove;

	store_begin(store);
	put_file(store, 2, 1, NULL);
	put_file(store, 3, 1, "zero");
	put_file(store, 4, 1, "remove");
	put_file(store, 5, 0, "remove");
	store_put_text(store, STORE_ROOT_INO, STORE_LOST_CONTENTS, "remove");
	g_assert_cmpint(store_commit(store), ==, 0);
	g_assert_cmpint(store_count_files(store, by_default, &files, &to_remove), ==, 0);
	g_assert_cmpuint(files, ==, 3);
	g_assert_cmpuint(to_remove, ==, by_default ? 2 : 1);
	for (int i = 0; i < 2; i++) {
		g_assert_cmpint(store_remove_files(store, by_default), ==, 0);
		state_check_store(store);
	}
	g_assert_cmpint(store_count_files(store, by_default, &files, &to_remove), ==, 0);
	g_assert_cmpuint(files, ==, by_default ? 1 : 2);
	g_assert_cmpuint(to_remove, ==, 0);
	assert_inodes(store, by_default ? " 1 3 5" : " 1 2 3 5");
	store_close(store);
}

#define ADD(name, function) g_test_add("/store/" name, struct state, NULL, state_set_up, function, state_tear_down)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD("values", test_values);
	ADD("held", test_held_memory_ends);
	ADD("held/removed", test_held_memory_of_a_removed_file);
	ADD("row-that-fails", test_row_that_fails);
	ADD("log-stays-small", test_log_stays_small);
	ADD("sync", test_sync);
	ADD("odd-runs", test_odd_runs);
	g_test_add("/store/lost-contents/zero", struct state, GINT_TO_POINTER(false), state_set_up, test_lost_contents,
	           state_tear_down);
	g_test_add("/store/lost-contents/remove", struct state, GINT_TO_POINTER(true), state_set_up, test_lost_contents,
	           state_tear_down);
	return g_test_run();
}

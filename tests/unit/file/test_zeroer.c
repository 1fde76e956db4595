// SPDX-License-Identifier: GPL-2.0-or-later
/* Zeroing in advance and in need, and the record of clean memory. */
#include <string.h>

#include "file/zeroer.h"
#include "pool/pool_clean.h"
#include "unit/backend/fake_backend.h"

#define START (UINT64_C(4) << 30)
#define M2    DMEMFS_PAGE_2M

static struct pool_usage usage_of(struct fake *fake)
{
	struct pool_usage usage;

	pool_get_usage(fake->storage.pool, &usage);
	g_assert_cmpuint(usage.free, ==, usage.clean + usage.dirty + usage.zeroing);
	return usage;
}

static void wait_until_clean(struct fake *fake)
{
	for (int i = 0; i < 1000 && usage_of(fake).clean < usage_of(fake).free; i++)
		g_usleep(10000);
	g_assert_cmpuint(usage_of(fake).dirty + usage_of(fake).zeroing, ==, 0);
}

static void assert_recorded(struct fake *fake, guint count, const struct extent *expected)
{
	g_autoptr(GArray) rows = g_array_new(FALSE, FALSE, sizeof(struct extent));
	g_autoptr(GError) error = NULL;
	g_autoptr(GPtrArray) problems = store_check(fake->storage.store, &error);

	g_assert_cmpint(store_list_clean(fake->storage.store, rows), ==, 0);
	g_assert_cmpuint(rows->len, ==, count);
	for (guint i = 0; i < count; i++) {
		g_assert_cmphex(g_array_index(rows, struct extent, i).start, ==, expected[i].start);
		g_assert_cmphex(g_array_index(rows, struct extent, i).length, ==, expected[i].length);
	}
	g_assert_no_error(error);
	g_assert_cmpuint(problems->len, ==, 0);
}

static void put(struct fake *fake, uint64_t start, uint64_t length)
{
	store_begin(fake->storage.store);
	store_put_clean(fake->storage.store, (struct extent){ START + start, length });
	g_assert_cmpint(store_commit(fake->storage.store), ==, 0);
}

static void delete (struct fake *fake, uint64_t start, uint64_t length)
{
	store_begin(fake->storage.store);
	store_delete_clean(fake->storage.store, (struct extent){ START + start, length });
	g_assert_cmpint(store_commit(fake->storage.store), ==, 0);
}

static void the_record_has_few_rows(void)
{
	struct fake *fake = fake_new(64 * M2, M2);

	put(fake, 4 * M2, 2 * M2);
	put(fake, 8 * M2, 2 * M2);
	put(fake, 6 * M2, 2 * M2); /* closes the gap */
	assert_recorded(fake, 1, &(struct extent){ START + 4 * M2, 6 * M2 });
	put(fake, 0, 64 * M2);
	assert_recorded(fake, 1, &(struct extent){ START, 64 * M2 });
	delete (fake, 2 * M2, M2);
	delete (fake, 0, M2);
	delete (fake, 62 * M2, 2 * M2);
	delete (fake, 20 * M2, M2);
	delete (fake, 10 * M2, 30 * M2);
	assert_recorded(fake, 3,
	                (struct extent[]){
				{ START + M2, M2 }, { START + 3 * M2, 7 * M2 }, { START + 40 * M2, 22 * M2 } });
	fake_destroy(fake);
}

static void a_file_s_memory_is_not_clean_on_record(void)
{
	struct fake *fake = fake_new(8 * M2, M2);
	struct file *file;

	zeroer_start(fake->storage.zeroer, 0);
	wait_until_clean(fake);
	zeroer_stop(fake->storage.zeroer);
	assert_recorded(fake, 1, &(struct extent){ START, 8 * M2 });
	file = file_new(&fake->storage, 2);
	g_assert_cmpint(file_truncate(file, 3 * M2), ==, 0);

	g_autoptr(GArray) rows = g_array_new(FALSE, FALSE, sizeof(struct extent));

	g_assert_cmpint(store_list_clean(fake->storage.store, rows), ==, 0);
	g_assert_cmpuint(rows->len, ==, 1);
	g_assert_cmpuint(g_array_index(rows, struct extent, 0).length, ==, 5 * M2);
	g_assert_cmpuint(usage_of(fake).clean, ==, 5 * M2);
	/* The memory that the file had is dirty, and not on record. */
	g_assert_cmpint(file_truncate(file, 0), ==, 0);
	g_assert_cmpuint(usage_of(fake).dirty, ==, 3 * M2);
	file_destroy(file);
	fake_destroy(fake);
}

/* Many files are created and removed while workers zero. The fake backend asserts that each file gets zeroed memory. */
static void files_and_workers_share_the_pool(void)
{
	struct fake *fake = fake_new(512 * M2, DMEMFS_PAGE_4K);
	struct file *files[8];
	g_autoptr(GRand) random = g_rand_new_with_seed(7);

	zeroer_start(fake->storage.zeroer, 0);
	for (guint i = 0; i < G_N_ELEMENTS(files); i++)
		files[i] = file_new(&fake->storage, 2 + i);
	for (int round = 0; round < 300; round++) {
		struct file *file = files[g_rand_int_range(random, 0, G_N_ELEMENTS(files))];
		uint64_t size = (uint64_t)g_rand_int_range(random, 0, 24) * M2 / 3;

		g_assert_cmpint(file_truncate(file, size), ==, 0);
		usage_of(fake);
	}
	for (guint i = 0; i < G_N_ELEMENTS(files); i++)
		file_destroy(files[i]);
	store_flush(fake->storage.store);
	wait_until_clean(fake);
	zeroer_stop(fake->storage.zeroer);
	assert_recorded(fake, 1, &(struct extent){ START, 512 * M2 });
	fake_destroy(fake);
}

/* The rate is that of the last second. On a busy machine that may be over before the test reads it: then it tries again. */
static uint64_t rate_of_zeroing(struct fake *fake, struct file *file)
{
	struct zeroer_stats stats;
	gint64 begun;

	do {
		begun = g_get_monotonic_time();
		g_assert_cmpint(file_truncate(file, 0), ==, 0);
		g_assert_cmpint(file_truncate(file, 10 * M2), ==, 0);
		zeroer_get_stats(fake->storage.zeroer, &stats);
	} while (stats.rate == 0 && g_get_monotonic_time() - begun > G_USEC_PER_SEC);
	return stats.rate;
}

/* So much memory that the request shares the work with helpers. */
static void in_need_all_is_zeroed(void)
{
	struct fake *fake = fake_new(64 * M2, M2);
	struct file *file = file_new(&fake->storage, 2);
	struct zeroer_stats stats;

	g_assert_cmpint(file_truncate(file, 10 * M2), ==, 0);
	zeroer_get_stats(fake->storage.zeroer, &stats);
	g_assert_cmpuint(stats.zeroed, ==, 10 * M2);
	g_assert_cmpuint(rate_of_zeroing(fake, file), >, 0);
	g_assert_cmpuint(stats.workers, ==, 0);
	file_destroy(file);
	fake_destroy(fake);
}

static void the_pace_is_kept(void)
{
	struct fake *fake = fake_new(256 * M2, M2);
	gint64 start = g_get_monotonic_time(), time;

	zeroer_start(fake->storage.zeroer, 64 * M2);
	g_usleep(G_USEC_PER_SEC / 2);
	time = g_get_monotonic_time() - start;

	/* An eighth of a second's worth is not paid for yet, and one more is in work. */
	uint64_t allowed = 64 * M2 * ((uint64_t)time + G_USEC_PER_SEC / 4) / G_USEC_PER_SEC;

	g_assert_cmpuint(usage_of(fake).clean, <=, allowed);
	g_assert_cmpuint(usage_of(fake).clean, >, 0);
	/* zeroer_stop() does not wait for the rate. */
	start = g_get_monotonic_time();
	zeroer_stop(fake->storage.zeroer);
	g_assert_cmpint(g_get_monotonic_time() - start, <, G_USEC_PER_SEC / 4);
	fake_destroy(fake);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/zeroer/rows", the_record_has_few_rows);
	g_test_add_func("/zeroer/file", a_file_s_memory_is_not_clean_on_record);
	g_test_add_func("/zeroer/shared", files_and_workers_share_the_pool);
	g_test_add_func("/zeroer/need", in_need_all_is_zeroed);
	g_test_add_func("/zeroer/pace", the_pace_is_kept);
	return g_test_run();
}

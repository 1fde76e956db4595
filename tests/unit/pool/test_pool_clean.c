// SPDX-License-Identifier: GPL-2.0-or-later
/* The pool: which of its free memory is zero, who is given it, and who waits for it. */
#include "backend/backend.h"
#include "base/page_order.h"
#include "pool/pool.h"
#include "pool/pool_clean.h"

#define START (UINT64_C(4) << 30)
#define M2    DMEMFS_PAGE_2M
#define G1    DMEMFS_PAGE_1G

static unsigned hurries;

static void count_hurry(void *data)
{
	(void)data;
	hurries++;
}

static GArray *new_runs(void)
{
	return g_array_new(FALSE, FALSE, sizeof(struct extent));
}

static struct pool *new_pool(uint64_t bytes)
{
	g_autoptr(GArray) regions = g_array_new(FALSE, FALSE, sizeof(struct memory_region));
	struct memory_region region = { START, bytes, 0, PAGE_ORDER_NONE };
	struct pool *pool;

	g_array_append_val(regions, region);
	pool = pool_new(regions, 1, NULL);
	pool_need_zeroing(pool);
	return pool;
}

static void take(struct pool *pool, uint64_t length, uint64_t unit, GArray *runs)
{
	struct allocator_request request = {
		.length = length, .unit = unit, .hint = ALLOCATOR_NO_HINT, .regions = ALLOCATOR_ANY_REGION
	};

	g_assert_cmpint(pool_alloc(pool, NULL, &request, runs), ==, 0);
}

static struct extent take_one(struct pool *pool, uint64_t length, uint64_t unit)
{
	g_autoptr(GArray) runs = new_runs();

	take(pool, length, unit, runs);
	g_assert_cmpuint(runs->len, ==, 1);
	return g_array_index(runs, struct extent, 0);
}

static uint64_t stale_bytes(struct pool *pool, struct extent run)
{
	g_autoptr(GArray) stale = new_runs();
	uint64_t bytes = 0;

	pool_list_stale(pool, &run, 1, stale);
	for (guint i = 0; i < stale->len; i++)
		bytes += g_array_index(stale, struct extent, i).length;
	return bytes;
}

static void make_clean(struct pool *pool, uint64_t start, uint64_t length)
{
	g_autoptr(GArray) believed = new_runs();

	pool_believe(pool, (struct extent){ start, length }, believed);
	g_assert_cmpuint(believed->len, ==, 1);
}

static void assert_usage(struct pool *pool, uint64_t clean, uint64_t dirty, uint64_t zeroing)
{
	struct pool_usage usage;

	pool_get_usage(pool, &usage);
	g_assert_cmpuint(usage.clean, ==, clean);
	g_assert_cmpuint(usage.dirty, ==, dirty);
	g_assert_cmpuint(usage.zeroing, ==, zeroing);
	g_assert_cmpuint(usage.free, ==, clean + dirty + zeroing);
}

static struct pool_piece new_piece(uint64_t max_bytes)
{
	return (struct pool_piece){
		.regions = ALLOCATOR_ANY_REGION, .max_bytes = max_bytes, .hurry = count_hurry, .runs = new_runs()
	};
}

static void without_zeroing_all_is_clean(void)
{
	g_autoptr(GArray) regions = g_array_new(FALSE, FALSE, sizeof(struct memory_region));
	struct memory_region region = { START, 8 * M2, 0, PAGE_ORDER_NONE };
	struct pool_piece piece = new_piece(M2);

	g_array_append_val(regions, region);

	struct pool *pool = pool_new(regions, 1, NULL);
	struct extent run = take_one(pool, M2, M2);

	g_assert_cmpuint(stale_bytes(pool, run), ==, 0);
	assert_usage(pool, 7 * M2, 0, 0);
	g_assert_false(pool_begin_zeroing(pool, &piece, false));
	pool_destroy(pool);
	g_array_unref(piece.runs);
}

/* Whoever gets dirty memory is told so until it is zeroed; what comes back is dirty, whatever became of it. */
static void memory_starts_dirty_and_comes_back_dirty(void)
{
	struct pool *pool = new_pool(8 * M2);
	struct extent run = take_one(pool, 4 * M2, M2);

	assert_usage(pool, 0, 4 * M2, 0);
	g_assert_cmpuint(stale_bytes(pool, run), ==, 4 * M2);
	pool_set_zeroed(pool, &(struct extent){ run.start, M2 }, 1);
	g_assert_cmpuint(stale_bytes(pool, run), ==, 3 * M2);
	pool_set_zeroed(pool, &run, 1);
	g_assert_cmpuint(stale_bytes(pool, run), ==, 0);
	pool_free(pool, &run, 1);
	assert_usage(pool, 0, 8 * M2, 0);
	pool_destroy(pool);
}

static void unused_memory_stays_clean(void)
{
	struct pool *pool = new_pool(4 * M2);
	struct extent run;

	make_clean(pool, START, 2 * M2);
	run = take_one(pool, 4 * M2, M2);
	g_assert_cmpuint(stale_bytes(pool, run), ==, 2 * M2);
	pool_free_unused(pool, &run, 1);
	assert_usage(pool, 2 * M2, 2 * M2, 0);
	run = take_one(pool, 4 * M2, M2);
	pool_free(pool, &run, 1);
	assert_usage(pool, 0, 4 * M2, 0);
	pool_destroy(pool);
}

static void clean_memory_comes_first(void)
{
	struct pool *pool = new_pool(8 * G1);
	struct extent run;

	make_clean(pool, START + 5 * G1, 2 * G1);
	run = take_one(pool, 2 * G1, G1);
	g_assert_cmpuint(run.start, ==, START + 5 * G1);
	g_assert_cmpuint(stale_bytes(pool, run), ==, 0);
	assert_usage(pool, 0, 6 * G1, 0);
	pool_destroy(pool);
}

/* A broken gigabyte is used up, dirty as it is, before a clean one is broken. */
static void large_pages_are_worth_more(void)
{
	struct pool *pool = new_pool(4 * G1);
	struct extent first = take_one(pool, M2, M2), second;
	struct pool_usage usage;

	make_clean(pool, START, G1);
	second = take_one(pool, M2, M2);
	g_assert_cmpuint(second.start / G1, ==, first.start / G1);
	g_assert_cmpuint(stale_bytes(pool, second), ==, M2);
	pool_get_usage(pool, &usage);
	g_assert_cmpuint(usage.free_1g, ==, 3 * G1);
	pool_destroy(pool);
}

static void too_little_is_made_up_for(void)
{
	struct pool *pool = new_pool(8 * G1);
	g_autoptr(GArray) runs = new_runs();
	uint64_t stale = 0, bytes = 0;

	make_clean(pool, START + 6 * G1, 2 * G1);
	take(pool, 5 * G1, G1, runs);
	for (guint i = 0; i < runs->len; i++) {
		stale += stale_bytes(pool, g_array_index(runs, struct extent, i));
		bytes += g_array_index(runs, struct extent, i).length;
	}
	g_assert_cmpuint(bytes, ==, 5 * G1);
	g_assert_cmpuint(stale, ==, 3 * G1);
	assert_usage(pool, 0, 3 * G1, 0);
	pool_destroy(pool);
}

static void pieces_go_round(void)
{
	struct pool *pool = new_pool(8 * M2);
	struct pool_piece piece = new_piece(3 * M2);
	struct extent hole;

	hole = take_one(pool, M2, M2);
	g_assert_true(pool_begin_zeroing(pool, &piece, false));
	assert_usage(pool, 0, 4 * M2, 3 * M2);
	pool_end_zeroing(pool, &piece, false);
	assert_usage(pool, 0, 7 * M2, 0);
	/* What failed comes again, but after the others. */
	for (int i = 0; i < 3; i++) {
		g_assert_true(pool_begin_zeroing(pool, &piece, false));
		pool_end_zeroing(pool, &piece, true);
	}
	assert_usage(pool, 7 * M2, 0, 0);
	g_assert_false(pool_begin_zeroing(pool, &piece, false));
	pool_free(pool, &hole, 1);
	g_assert_true(pool_begin_zeroing(pool, &piece, false));
	g_assert_cmpuint(piece.runs->len, ==, 1);
	g_assert_cmpuint(g_array_index(piece.runs, struct extent, 0).start, ==, hole.start);
	pool_end_zeroing(pool, &piece, true);
	assert_usage(pool, 8 * M2, 0, 0);
	pool_destroy(pool);
	g_array_unref(piece.runs);
}

static gpointer take_all(gpointer pool)
{
	struct extent *run = g_new(struct extent, 1);

	*run = take_one(pool, 8 * M2, M2);
	return run;
}

/* Until the thread has taken all that is free, and waits for the piece in work. */
static void wait_taken(struct pool *pool)
{
	gint64 deadline = g_get_monotonic_time() + 10 * G_TIME_SPAN_SECOND;
	struct pool_usage usage;

	do {
		g_usleep(1000);
		pool_get_usage(pool, &usage);
	} while (usage.free && g_get_monotonic_time() < deadline);
}

/* No ENOSPC, no hole: the piece is waited for, and its zeroes are not made twice. */
static void a_piece_in_work_is_waited_for(void)
{
	struct pool *pool = new_pool(8 * M2);
	struct pool_piece piece = new_piece(2 * M2);
	g_autofree struct extent *run = NULL;

	hurries = 0;
	g_assert_true(pool_begin_zeroing(pool, &piece, false));

	GThread *thread = g_thread_new("taker", take_all, pool);

	wait_taken(pool);
	assert_usage(pool, 0, 0, 0);
	g_assert_cmpuint(pool_available(pool, NULL, ALLOCATOR_ANY_REGION, M2), ==, 0);
	g_assert_cmpuint(hurries, ==, 1);
	pool_end_zeroing(pool, &piece, true);
	run = g_thread_join(thread);
	g_assert_cmpuint(stale_bytes(pool, *run), ==, 6 * M2);
	pool_destroy(pool);
	g_array_unref(piece.runs);
}

static void a_piece_that_failed_is_stale(void)
{
	struct pool *pool = new_pool(8 * M2);
	struct pool_piece piece = new_piece(2 * M2);
	g_autofree struct extent *run = NULL;

	g_assert_true(pool_begin_zeroing(pool, &piece, false));

	GThread *thread = g_thread_new("taker", take_all, pool);

	wait_taken(pool);
	pool_end_zeroing(pool, &piece, false);
	run = g_thread_join(thread);
	g_assert_cmpuint(stale_bytes(pool, *run), ==, 8 * M2);
	pool_destroy(pool);
	g_array_unref(piece.runs);
}

static gpointer wait_for_work(gpointer pool)
{
	struct pool_piece piece = new_piece(M2);
	bool found = pool_begin_zeroing(pool, &piece, true);

	if (found)
		pool_end_zeroing(pool, &piece, true);
	g_array_unref(piece.runs);
	return GINT_TO_POINTER(found);
}

static void workers_wait_for_work_and_for_the_end(void)
{
	struct pool *pool = new_pool(M2);
	struct extent run = take_one(pool, M2, M2);
	GThread *first = g_thread_new("first", wait_for_work, pool);

	pool_free(pool, &run, 1);
	g_assert_true(GPOINTER_TO_INT(g_thread_join(first)));

	GThread *second = g_thread_new("second", wait_for_work, pool);

	g_usleep(20000);
	pool_stop_zeroing(pool);
	g_assert_false(GPOINTER_TO_INT(g_thread_join(second)));
	pool_destroy(pool);
}

/* Only what is free can be believed to be clean. */
static void memory_in_use_is_not_believed(void)
{
	struct pool *pool = new_pool(8 * M2);
	g_autoptr(GArray) believed = new_runs();

	g_assert_true(pool_claim(pool, (struct extent){ START + 2 * M2, M2 }));
	pool_believe(pool, (struct extent){ START, 4 * M2 }, believed);
	pool_believe(pool, (struct extent){ START + 7 * M2, 4 * M2 }, believed);
	g_assert_cmpuint(believed->len, ==, 3);
	assert_usage(pool, 4 * M2, 3 * M2, 0);
	pool_destroy(pool);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/clean/without-zeroing", without_zeroing_all_is_clean);
	g_test_add_func("/clean/starts-dirty", memory_starts_dirty_and_comes_back_dirty);
	g_test_add_func("/clean/unused", unused_memory_stays_clean);
	g_test_add_func("/clean/first", clean_memory_comes_first);
	g_test_add_func("/clean/large-pages", large_pages_are_worth_more);
	g_test_add_func("/clean/too-little", too_little_is_made_up_for);
	g_test_add_func("/clean/pieces", pieces_go_round);
	g_test_add_func("/clean/waited-for", a_piece_in_work_is_waited_for);
	g_test_add_func("/clean/failed", a_piece_that_failed_is_stale);
	g_test_add_func("/clean/workers-wait", workers_wait_for_work_and_for_the_end);
	g_test_add_func("/clean/in-use", memory_in_use_is_not_believed);
	return g_test_run();
}

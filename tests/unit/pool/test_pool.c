// SPDX-License-Identifier: GPL-2.0-or-later
/* The pool: every run free, in use or pending; waiting for memory that is on its way back. */
#include <errno.h>

#include "backend/backend.h"
#include "base/page_order.h"
#include "pool/pool.h"

#define UNIT  DMEMFS_PAGE_2M
#define START (UINT64_C(4) << 30)

static struct pool *new_pool(uint64_t units)
{
	g_autoptr(GArray) regions = g_array_new(FALSE, FALSE, sizeof(struct memory_region));
	struct memory_region region = { START, units * UNIT, 0, PAGE_ORDER_NONE };

	g_array_append_val(regions, region);
	return pool_new(regions, 1, NULL);
}

static int take(struct pool *pool, uint64_t units, GArray *runs)
{
	struct allocator_request request = {
		.length = units * UNIT, .unit = UNIT, .hint = ALLOCATOR_NO_HINT, .regions = ALLOCATOR_ANY_REGION
	};

	return pool_alloc(pool, NULL, &request, runs);
}

static void assert_usage(struct pool *pool, uint64_t free_units, uint64_t pending_units)
{
	struct pool_usage usage;

	pool_get_usage(pool, &usage);
	g_assert_cmpuint(usage.free, ==, free_units * UNIT);
	g_assert_cmpuint(usage.pending, ==, pending_units * UNIT);
	g_assert_cmpuint(pool_available(pool, NULL, ALLOCATOR_ANY_REGION, UNIT), ==, free_units * UNIT);
}

static GArray *new_runs(void)
{
	return g_array_new(FALSE, FALSE, sizeof(struct extent));
}

static void overlapping_regions_are_refused(void)
{
	g_autoptr(GArray) regions = g_array_new(FALSE, FALSE, sizeof(struct memory_region));
	g_autoptr(GError) error = NULL;
	struct memory_region region = { START, 4 * UNIT, 0, PAGE_ORDER_NONE };

	g_array_append_val(regions, region);
	region.start += UNIT;
	g_array_append_val(regions, region);
	g_assert_null(pool_new(regions, 1, &error));
	g_assert_nonnull(error);
}

static void memory_is_free_in_use_or_pending(void)
{
	struct pool *pool = new_pool(8);
	g_autoptr(GArray) kept = new_runs();
	GArray *retired = new_runs();

	g_assert_cmpint(take(pool, 3, kept), ==, 0);
	g_assert_cmpint(take(pool, 4, retired), ==, 0);
	assert_usage(pool, 1, 0);
	pool_retire(pool, 7, retired);
	assert_usage(pool, 1, 4);
	pool_idle(pool, 99);
	assert_usage(pool, 1, 4);
	pool_idle(pool, 7);
	assert_usage(pool, 5, 0);
	pool_idle(pool, 7);
	assert_usage(pool, 5, 0);
	pool_free(pool, (struct extent *)kept->data, kept->len);
	assert_usage(pool, 8, 0);
	pool_destroy(pool);
}

/* What guests of an earlier daemon still map is nobody's until they are gone. */
static void adopted_memory_is_pending(void)
{
	struct pool *pool = new_pool(4);
	g_autoptr(GArray) runs = new_runs();

	pool_adopt(pool, 5, (struct extent){ START, UNIT });
	pool_adopt(pool, 5, (struct extent){ START + 2 * UNIT, UNIT });
	pool_adopt(pool, 6, (struct extent){ START + 64 * UNIT, UNIT });
	assert_usage(pool, 2, 2);
	g_assert_cmpint(take(pool, 3, runs), ==, -ENOSPC);
	g_assert_cmpint(take(pool, 2, runs), ==, 0);
	for (guint i = 0; i < runs->len; i++) {
		struct extent run = g_array_index(runs, struct extent, i);

		g_assert_cmpuint(run.length, ==, UNIT);
		g_assert_true(run.start == START + UNIT || run.start == START + 3 * UNIT);
	}
	pool_idle(pool, 5);
	assert_usage(pool, 2, 0);
	pool_destroy(pool);
}

static void shortage_without_a_removal_is_immediate(void)
{
	struct pool *pool = new_pool(1);
	g_autoptr(GArray) runs = new_runs();
	gint64 before = g_get_monotonic_time();

	g_assert_cmpint(take(pool, 2, runs), ==, -ENOSPC);
	g_assert_cmpint(g_get_monotonic_time() - before, <, POOL_PATIENCE_MS * G_TIME_SPAN_MILLISECOND / 2);
	g_assert_cmpuint(runs->len, ==, 0);
	pool_destroy(pool);
}

static void patience_ends(void)
{
	struct pool *pool = new_pool(1);
	g_autoptr(GArray) runs = new_runs();

	pool_expect(pool);
	g_assert_cmpint(take(pool, 2, runs), ==, -ENOSPC);
	assert_usage(pool, 1, 0);
	pool_destroy(pool);
}

static gpointer wait_for_memory(gpointer pool)
{
	g_autoptr(GArray) runs = new_runs();

	return GINT_TO_POINTER(take(pool, 1, runs));
}

/* One may wait (the pool was made so); the next one is told at once, so that a thread is left to bring memory back. */
static void waiters_are_limited(void)
{
	struct pool *pool = new_pool(1);
	GArray *runs = new_runs();

	g_assert_cmpint(take(pool, 1, runs), ==, 0);
	pool_retire(pool, 3, runs);

	GThread *first = g_thread_new("first", wait_for_memory, pool);
	GThread *second = g_thread_new("second", wait_for_memory, pool);

	g_usleep(100000);
	pool_idle(pool, 3);

	int results[] = { GPOINTER_TO_INT(g_thread_join(first)), GPOINTER_TO_INT(g_thread_join(second)) };

	g_assert_cmpint(results[0] + results[1], ==, -ENOSPC);
	pool_destroy(pool);
}

static void regions_tell_their_free_memory(void)
{
	g_autoptr(GArray) given = g_array_new(FALSE, FALSE, sizeof(struct memory_region));
	struct memory_region low = { START, 4 * UNIT, 1, PAGE_ORDER_2M },
			     high = { 2 * START, 2 * UNIT, -1, PAGE_ORDER_NONE };
	g_autoptr(GArray) runs = new_runs();

	g_array_append_val(given, high);
	g_array_append_val(given, low);

	struct pool *pool = pool_new(given, 1, NULL);

	g_assert_cmpint(take(pool, 3, runs), ==, 0); /* fits only into the second one */

	g_autoptr(GArray) regions = pool_get_regions(pool);
	const struct pool_region *first = &g_array_index(regions, struct pool_region, 0);

	g_assert_cmpuint(regions->len, ==, 2);
	g_assert_cmphex(first[0].extent.start, ==, high.start);
	g_assert_cmpuint(first[0].free, ==, 2 * UNIT);
	g_assert_cmpint(first[0].node, ==, -1);
	g_assert_cmpuint(first[0].order, ==, PAGE_ORDER_NONE);
	g_assert_cmphex(first[1].extent.length, ==, low.length);
	g_assert_cmpuint(first[1].free, ==, UNIT);
	g_assert_cmpint(first[1].node, ==, 1);
	g_assert_cmpuint(first[1].order, ==, PAGE_ORDER_2M);
	pool_destroy(pool);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/pool/regions", overlapping_regions_are_refused);
	g_test_add_func("/pool/accounting", memory_is_free_in_use_or_pending);
	g_test_add_func("/pool/adopt", adopted_memory_is_pending);
	g_test_add_func("/pool/shortage", shortage_without_a_removal_is_immediate);
	g_test_add_func("/pool/patience", patience_ends);
	g_test_add_func("/pool/waiters", waiters_are_limited);
	g_test_add_func("/pool/tells_regions", regions_tell_their_free_memory);
	return g_test_run();
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* The pool: what is bad is given to nobody, and every byte is still accounted for. */
#include <errno.h>

#include "backend/backend.h"
#include "base/page_order.h"
#include "pool/pool.h"
#include "pool/pool_clean.h"

#define START (UINT64_C(4) << 30)
#define K4    DMEMFS_PAGE_4K
#define M2    DMEMFS_PAGE_2M
#define SIZE  (UINT64_C(8) * M2)

static GArray *new_runs(void)
{
	return g_array_new(FALSE, FALSE, sizeof(struct extent));
}

/* Two regions that touch, of 8 MiB each. */
static struct pool *new_pool(void)
{
	g_autoptr(GArray) regions = g_array_new(FALSE, FALSE, sizeof(struct memory_region));
	const struct memory_region both[] = { { START, SIZE / 2, 0, PAGE_ORDER_NONE },
		                              { START + SIZE / 2, SIZE / 2, 1, PAGE_ORDER_NONE } };
	struct pool *pool;

	g_array_append_vals(regions, both, G_N_ELEMENTS(both));
	pool = pool_new(regions, 1, NULL);
	pool_need_zeroing(pool);
	return pool;
}

/* Returns how much of it was news. */
static uint64_t poison(struct pool *pool, uint64_t start, uint64_t length)
{
	g_autoptr(GArray) added = new_runs();
	uint64_t bytes = 0;

	pool_poison(pool, (struct extent){ start, length }, added);
	for (guint i = 0; i < added->len; i++)
		bytes += g_array_index(added, struct extent, i).length;
	return bytes;
}

static int take(struct pool *pool, uint64_t length, uint64_t unit, GArray *runs)
{
	struct allocator_request request = {
		.length = length, .unit = unit, .hint = ALLOCATOR_NO_HINT, .regions = ALLOCATOR_ANY_REGION
	};

	return pool_alloc(pool, NULL, &request, runs);
}

static void give_back(struct pool *pool, const GArray *runs)
{
	pool_free(pool, (const struct extent *)runs->data, runs->len);
}

static void assert_usage(struct pool *pool, uint64_t free, uint64_t poisoned, uint64_t poisoned_used)
{
	struct pool_usage usage;

	pool_get_usage(pool, &usage);
	g_assert_cmpuint(usage.capacity, ==, SIZE);
	g_assert_cmpuint(usage.free, ==, free);
	g_assert_cmpuint(usage.free, ==, usage.clean + usage.dirty + usage.zeroing);
	g_assert_cmpuint(usage.poisoned, ==, poisoned);
	g_assert_cmpuint(usage.poisoned_used, ==, poisoned_used);
}

static bool has(const GArray *runs, uint64_t address)
{
	for (guint i = 0; i < runs->len; i++) {
		const struct extent *run = &g_array_index(runs, struct extent, i);

		if (address >= run->start && address - run->start < run->length)
			return true;
	}
	return false;
}

static void free_memory_leaves_the_pool(void)
{
	struct pool *pool = new_pool();
	g_autoptr(GArray) runs = new_runs();
	g_autoptr(GArray) believed = new_runs();

	pool_believe(pool, (struct extent){ START, M2 }, believed);
	g_assert_cmpuint(poison(pool, START + K4, K4), ==, K4);
	g_assert_cmpuint(poison(pool, START + K4, 2 * K4), ==, K4);
	assert_usage(pool, SIZE - 2 * K4, 2 * K4, 0);
	g_assert_cmpint(take(pool, SIZE, M2, runs), ==, -ENOSPC);
	g_assert_cmpint(take(pool, SIZE - M2, M2, runs), ==, 0);
	/* What is around it serves in smaller pieces. */
	g_assert_cmpint(take(pool, M2 - 2 * K4, K4, runs), ==, 0);
	g_assert_false(has(runs, START + K4));
	g_assert_false(has(runs, START + 2 * K4));
	g_assert_cmpint(take(pool, K4, K4, runs), ==, -ENOSPC);
	give_back(pool, runs);
	assert_usage(pool, SIZE - 2 * K4, 2 * K4, 0);
	pool_destroy(pool);
}

static void memory_of_a_file_leaves_it_when_it_is_given_back(void)
{
	struct pool *pool = new_pool();
	GArray *runs = new_runs();
	g_autoptr(GArray) others = new_runs();

	g_assert_cmpint(take(pool, SIZE / 2, M2, runs), ==, 0);
	g_assert_cmpuint(runs->len, ==, 1);

	uint64_t bad = g_array_index(runs, struct extent, 0).start + M2 + 5 * K4;

	g_assert_cmpuint(poison(pool, bad, K4), ==, K4);
	assert_usage(pool, SIZE / 2, 0, K4);
	pool_retire(pool, 7, runs);
	assert_usage(pool, SIZE / 2, 0, K4);
	pool_idle(pool, 7);
	assert_usage(pool, SIZE - K4, K4, 0);
	g_assert_cmpint(take(pool, SIZE - K4, K4, others), ==, 0);
	g_assert_false(has(others, bad));
	pool_free_unused(pool, (const struct extent *)others->data, others->len);
	assert_usage(pool, SIZE - K4, K4, 0);
	pool_destroy(pool);
}

/* The record says that a file has it, and that it is bad, in whatever order. */
static void memory_on_record(void)
{
	struct pool *pool = new_pool();
	const struct extent file = { START, M2 }, left_over = { START + SIZE / 2 - M2, 2 * M2 };

	poison(pool, START + K4, K4);
	poison(pool, left_over.start + M2, K4);
	g_assert_true(pool_claim(pool, file));
	g_assert_false(pool_claim(pool, file));
	pool_adopt(pool, 9, left_over);
	assert_usage(pool, SIZE - 3 * M2, 0, 2 * K4);
	pool_idle(pool, 9);
	pool_free(pool, &file, 1);
	assert_usage(pool, SIZE - 2 * K4, 2 * K4, 0);
	pool_destroy(pool);
}

static void promises_are_kept_as_far_as_memory_goes(void)
{
	struct pool *pool = new_pool();
	struct allocator_request request = {
		.length = M2, .unit = M2, .hint = ALLOCATOR_NO_HINT, .regions = ALLOCATOR_ANY_REGION
	};
	g_autoptr(GArray) runs = new_runs();

	g_assert_cmpint(pool_promise(pool, ALLOCATOR_ANY_REGION, SIZE, true), ==, 0);
	g_assert_cmpint(pool_alloc_promised(pool, NULL, -1, &request, true, runs), ==, 0);
	poison(pool, g_array_index(runs, struct extent, 0).start, K4);
	pool_free_promised(pool, (const struct extent *)runs->data, runs->len);
	assert_usage(pool, SIZE - K4, K4, 0);
	g_array_set_size(runs, 0);
	for (uint64_t left = SIZE - M2; left > 0; left -= M2)
		g_assert_cmpint(pool_alloc_promised(pool, NULL, -1, &request, true, runs), ==, 0);
	g_assert_cmpint(pool_alloc_promised(pool, NULL, -1, &request, true, runs), ==, -ENOSPC);
	pool_destroy(pool);
}

static void nothing_hurry(void *data)
{
	(void)data;
}

static void memory_that_is_being_zeroed(void)
{
	struct pool *pool = new_pool();
	struct pool_piece piece = {
		.regions = ALLOCATOR_ANY_REGION, .max_bytes = M2, .hurry = nothing_hurry, .runs = new_runs()
	};

	g_assert_true(pool_begin_zeroing(pool, &piece, false));
	poison(pool, g_array_index(piece.runs, struct extent, 0).start, K4);
	assert_usage(pool, SIZE - K4, K4, 0);
	pool_end_zeroing(pool, &piece, true);
	assert_usage(pool, SIZE - K4, K4, 0);
	g_array_unref(piece.runs);
	pool_destroy(pool);
}

static void memory_of_no_region(void)
{
	struct pool *pool = new_pool();
	g_autoptr(GArray) listed = new_runs();

	g_assert_cmpuint(poison(pool, START - 2 * K4, 2 * K4), ==, 0);
	g_assert_cmpuint(poison(pool, START - K4, 2 * K4), ==, K4);
	g_assert_cmpuint(poison(pool, START + SIZE / 2 - K4, 2 * K4), ==, 2 * K4);
	g_assert_cmpuint(poison(pool, START + SIZE - K4, M2), ==, K4);
	assert_usage(pool, SIZE - 4 * K4, 4 * K4, 0);
	pool_list_poisoned(pool, (struct extent){ START, SIZE }, listed);
	g_assert_true(has(listed, START) && has(listed, START + SIZE / 2) && !has(listed, START + K4));
	pool_destroy(pool);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/poison/free", free_memory_leaves_the_pool);
	g_test_add_func("/poison/file", memory_of_a_file_leaves_it_when_it_is_given_back);
	g_test_add_func("/poison/on-record", memory_on_record);
	g_test_add_func("/poison/promised", promises_are_kept_as_far_as_memory_goes);
	g_test_add_func("/poison/zeroing", memory_that_is_being_zeroed);
	g_test_add_func("/poison/no-region", memory_of_no_region);
	return g_test_run();
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* The pool: what is bad is given to nobody, and every byte is still accounted for. */
#include <errno.h>

#include "backend/backend.h"
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
static struct placement *pool(void)
{
	g_autoptr(GArray) regions = g_array_new(FALSE, FALSE, sizeof(struct memory_region));
	const struct memory_region both[] = { { START, SIZE / 2, 0 }, { START + SIZE / 2, SIZE / 2, 1 } };
	struct placement *placement;

	g_array_append_vals(regions, both, G_N_ELEMENTS(both));
	placement = placement_new(regions, 1, NULL);
	placement_need_zeroing(placement);
	return placement;
}

/* Returns how much of it was news. */
static uint64_t poison(struct placement *placement, uint64_t start, uint64_t length)
{
	g_autoptr(GArray) added = new_runs();
	uint64_t bytes = 0;

	placement_poison(placement, (struct extent){ start, length }, added);
	for (guint i = 0; i < added->len; i++)
		bytes += g_array_index(added, struct extent, i).length;
	return bytes;
}

static int take(struct placement *placement, uint64_t length, uint64_t unit, GArray *runs)
{
	struct allocator_request request = {
		.length = length, .unit = unit, .hint = ALLOCATOR_NO_HINT, .regions = ALLOCATOR_ANY_REGION
	};

	return placement_alloc(placement, NULL, &request, runs);
}

static void give_back(struct placement *placement, const GArray *runs)
{
	placement_free(placement, (const struct extent *)runs->data, runs->len);
}

static void assert_usage(struct placement *placement, uint64_t free, uint64_t poisoned, uint64_t poisoned_used)
{
	struct placement_usage usage;

	placement_get_usage(placement, &usage);
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
	struct placement *placement = pool();
	g_autoptr(GArray) runs = new_runs();
	g_autoptr(GArray) believed = new_runs();

	placement_believe(placement, (struct extent){ START, M2 }, believed);
	g_assert_cmpuint(poison(placement, START + K4, K4), ==, K4);
	g_assert_cmpuint(poison(placement, START + K4, 2 * K4), ==, K4);
	assert_usage(placement, SIZE - 2 * K4, 2 * K4, 0);
	g_assert_cmpint(take(placement, SIZE, M2, runs), ==, -ENOSPC);
	g_assert_cmpint(take(placement, SIZE - M2, M2, runs), ==, 0);
	/* What is around it serves in smaller pieces. */
	g_assert_cmpint(take(placement, M2 - 2 * K4, K4, runs), ==, 0);
	g_assert_false(has(runs, START + K4));
	g_assert_false(has(runs, START + 2 * K4));
	g_assert_cmpint(take(placement, K4, K4, runs), ==, -ENOSPC);
	give_back(placement, runs);
	assert_usage(placement, SIZE - 2 * K4, 2 * K4, 0);
	placement_destroy(placement);
}

static void memory_of_a_file_leaves_it_when_it_is_given_back(void)
{
	struct placement *placement = pool();
	GArray *runs = new_runs();
	g_autoptr(GArray) others = new_runs();

	g_assert_cmpint(take(placement, SIZE / 2, M2, runs), ==, 0);
	g_assert_cmpuint(runs->len, ==, 1);

	uint64_t bad = g_array_index(runs, struct extent, 0).start + M2 + 5 * K4;

	g_assert_cmpuint(poison(placement, bad, K4), ==, K4);
	assert_usage(placement, SIZE / 2, 0, K4);
	placement_retire(placement, 7, runs);
	assert_usage(placement, SIZE / 2, 0, K4);
	placement_idle(placement, 7);
	assert_usage(placement, SIZE - K4, K4, 0);
	g_assert_cmpint(take(placement, SIZE - K4, K4, others), ==, 0);
	g_assert_false(has(others, bad));
	placement_free_unused(placement, (const struct extent *)others->data, others->len);
	assert_usage(placement, SIZE - K4, K4, 0);
	placement_destroy(placement);
}

/* The record says that a file has it, and that it is bad, in whatever order. */
static void memory_on_record(void)
{
	struct placement *placement = pool();
	const struct extent file = { START, M2 }, left_over = { START + SIZE / 2 - M2, 2 * M2 };

	poison(placement, START + K4, K4);
	poison(placement, left_over.start + M2, K4);
	g_assert_true(placement_claim(placement, file));
	g_assert_false(placement_claim(placement, file));
	placement_adopt(placement, 9, left_over);
	assert_usage(placement, SIZE - 3 * M2, 0, 2 * K4);
	placement_idle(placement, 9);
	placement_free(placement, &file, 1);
	assert_usage(placement, SIZE - 2 * K4, 2 * K4, 0);
	placement_destroy(placement);
}

static void promises_are_kept_as_far_as_memory_goes(void)
{
	struct placement *placement = pool();
	struct allocator_request request = {
		.length = M2, .unit = M2, .hint = ALLOCATOR_NO_HINT, .regions = ALLOCATOR_ANY_REGION
	};
	g_autoptr(GArray) runs = new_runs();

	g_assert_cmpint(placement_promise(placement, SIZE), ==, 0);
	g_assert_cmpint(placement_alloc_promised(placement, NULL, -1, &request, runs), ==, 0);
	poison(placement, g_array_index(runs, struct extent, 0).start, K4);
	placement_free_promised(placement, (const struct extent *)runs->data, runs->len);
	assert_usage(placement, SIZE - K4, K4, 0);
	g_array_set_size(runs, 0);
	for (uint64_t left = SIZE - M2; left > 0; left -= M2)
		g_assert_cmpint(placement_alloc_promised(placement, NULL, -1, &request, runs), ==, 0);
	g_assert_cmpint(placement_alloc_promised(placement, NULL, -1, &request, runs), ==, -ENOSPC);
	placement_destroy(placement);
}

static void nothing_hurry(void *data)
{
	(void)data;
}

static void memory_that_is_being_zeroed(void)
{
	struct placement *placement = pool();
	struct placement_piece piece = {
		.regions = ALLOCATOR_ANY_REGION, .max_bytes = M2, .hurry = nothing_hurry, .runs = new_runs()
	};

	g_assert_true(placement_begin_zeroing(placement, &piece, false));
	poison(placement, g_array_index(piece.runs, struct extent, 0).start, K4);
	assert_usage(placement, SIZE - K4, K4, 0);
	placement_end_zeroing(placement, &piece, true);
	assert_usage(placement, SIZE - K4, K4, 0);
	g_array_unref(piece.runs);
	placement_destroy(placement);
}

static void memory_of_no_region(void)
{
	struct placement *placement = pool();
	g_autoptr(GArray) listed = new_runs();

	g_assert_cmpuint(poison(placement, START - 2 * K4, 2 * K4), ==, 0);
	g_assert_cmpuint(poison(placement, START - K4, 2 * K4), ==, K4);
	g_assert_cmpuint(poison(placement, START + SIZE / 2 - K4, 2 * K4), ==, 2 * K4);
	g_assert_cmpuint(poison(placement, START + SIZE - K4, M2), ==, K4);
	assert_usage(placement, SIZE - 4 * K4, 4 * K4, 0);
	placement_list_poisoned(placement, (struct extent){ START, SIZE }, listed);
	g_assert_true(has(listed, START) && has(listed, START + SIZE / 2) && !has(listed, START + K4));
	placement_destroy(placement);
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

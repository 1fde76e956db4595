// SPDX-License-Identifier: GPL-2.0-or-later
/* The pool: regions of different kinds, and who asks for memory of one gets no other. */
#include <errno.h>

#include "base/page_order.h"
#include "pool/pool.h"

#define START (UINT64_C(4) << 30)
#define G1    DMEMFS_PAGE_1G

/* One of each kind, of 2 GiB; on node 1 another raw one. */
static struct pool *new_pool(void)
{
	const struct memory_region given[] = {
		{ START, 2 * G1, 0, PAGE_ORDER_NONE },
		{ START + 2 * G1, 2 * G1, 0, PAGE_ORDER_1G },
		{ START + 4 * G1, 2 * G1, 1, PAGE_ORDER_2M },
		{ START + 6 * G1, 2 * G1, 1, PAGE_ORDER_NONE },
	};
	g_autoptr(GArray) regions = g_array_new(FALSE, FALSE, sizeof(struct memory_region));

	g_array_append_vals(regions, given, G_N_ELEMENTS(given));
	return pool_new(regions, 0, NULL);
}

static int take(struct pool *pool, unsigned order, const char *nodes, uint64_t length, bool promised, GArray *runs)
{
	g_autoptr(numa_policy_t) policy = nodes ? numa_policy_parse(nodes, strlen(nodes)) : NULL;
	const struct allocator_request request = {
		.length = length,
		.unit = DMEMFS_PAGE_2M,
		.hint = ALLOCATOR_NO_HINT,
		.regions = pool_regions_of(pool, order),
	};

	return promised ? pool_alloc_promised(pool, policy, NODE_UNKNOWN, &request, true, runs)
	                : pool_alloc(pool, policy, &request, runs);
}

static void assert_kind(const struct pool *pool, const GArray *runs, unsigned order)
{
	for (guint i = 0; i < runs->len; i++)
		g_assert_cmpuint(pool_order_at(pool, g_array_index(runs, struct extent, i).start), ==, order);
}

static void a_kind_is_served_by_its_regions_only(void)
{
	static const unsigned orders[] = { PAGE_ORDER_NONE, PAGE_ORDER_2M, PAGE_ORDER_1G };
	static const uint64_t sizes[] = { 4 * G1, 2 * G1, 2 * G1 };
	struct pool *pool = new_pool();

	for (size_t i = 0; i < G_N_ELEMENTS(orders); i++) {
		uint64_t regions = pool_regions_of(pool, orders[i]);
		g_autoptr(GArray) runs = extents_new();

		g_assert_cmpuint(pool_available(pool, NULL, regions, G1), ==, sizes[i]);
		g_assert_cmpint(take(pool, orders[i], NULL, sizes[i] + DMEMFS_PAGE_2M, false, runs), ==, -ENOSPC);
		g_assert_cmpint(take(pool, orders[i], NULL, sizes[i], false, runs), ==, 0);
		assert_kind(pool, runs, orders[i]);
		g_assert_cmpuint(pool_available(pool, NULL, regions, G1), ==, 0);
	}
	g_assert_cmpuint(pool_largest_order(pool), ==, PAGE_ORDER_1G);
	pool_destroy(pool);
}

static void nodes_and_kinds_go_together(void)
{
	struct pool *pool = new_pool();
	g_autoptr(GArray) runs = extents_new();

	g_assert_cmpint(take(pool, PAGE_ORDER_2M, "0", G1, false, runs), ==, -ENOSPC);
	g_assert_cmpint(take(pool, PAGE_ORDER_NONE, "0", 3 * G1, false, runs), ==, -ENOSPC);
	g_assert_cmpint(take(pool, PAGE_ORDER_1G, "prefer:1", 2 * G1, false, runs), ==, 0);
	assert_kind(pool, runs, PAGE_ORDER_1G);
	g_array_set_size(runs, 0);
	g_assert_cmpint(take(pool, PAGE_ORDER_2M, "0,1", 2 * G1, false, runs), ==, 0);
	assert_kind(pool, runs, PAGE_ORDER_2M);
	g_array_set_size(runs, 0);
	g_assert_cmpint(take(pool, PAGE_ORDER_NONE, "prefer:1", 3 * G1, false, runs), ==, 0);
	assert_kind(pool, runs, PAGE_ORDER_NONE);
	pool_destroy(pool);
}

/* Or a file that was promised memory of one kind would find that another one is all that is left. */
static void promises_are_of_a_kind(void)
{
	struct pool *pool = new_pool();
	uint64_t raw = pool_regions_of(pool, PAGE_ORDER_NONE), paged = pool_regions_of(pool, PAGE_ORDER_1G);
	g_autoptr(GArray) runs = extents_new();
	struct pool_usage usage;

	g_assert_cmpint(pool_promise(pool, paged, 2 * G1, true), ==, 0);
	g_assert_cmpint(pool_promise(pool, paged, DMEMFS_PAGE_4K, true), ==, -ENOSPC);
	g_assert_cmpint(pool_promise(pool, raw, 4 * G1, true), ==, 0);
	pool_forgo(pool, raw, G1);
	pool_get_usage(pool, &usage);
	g_assert_cmpuint(usage.promised, ==, 5 * G1);
	g_assert_cmpint(take(pool, PAGE_ORDER_1G, NULL, G1, false, runs), ==, -ENOSPC);
	g_assert_cmpint(take(pool, PAGE_ORDER_1G, NULL, 2 * G1, true, runs), ==, 0);
	pool_free_promised(pool, (const struct extent *)runs->data, runs->len);
	g_assert_cmpint(pool_promise(pool, paged, DMEMFS_PAGE_4K, true), ==, -ENOSPC);
	pool_forgo(pool, paged, 2 * G1);
	pool_forgo(pool, raw, 3 * G1);
	pool_get_usage(pool, &usage);
	g_assert_cmpuint(usage.promised, ==, 0);
	pool_destroy(pool);
}

static void a_kind_that_no_region_has_is_a_shortage(void)
{
	g_autoptr(GArray) regions = g_array_new(FALSE, FALSE, sizeof(struct memory_region));
	const struct memory_region region = { START, G1, 0, PAGE_ORDER_2M };
	g_autoptr(GArray) runs = extents_new();
	struct pool *pool;

	g_array_append_val(regions, region);
	pool = pool_new(regions, 0, NULL);
	g_assert_cmphex(pool_regions_of(pool, PAGE_ORDER_1G), ==, 0);
	g_assert_cmpint(take(pool, PAGE_ORDER_1G, NULL, G1, false, runs), ==, -ENOSPC);
	g_assert_cmpint(pool_promise(pool, pool_regions_of(pool, PAGE_ORDER_1G), G1, true), ==, -ENOSPC);
	g_assert_cmpuint(pool_largest_order(pool), ==, PAGE_ORDER_2M);
	pool_destroy(pool);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/pool/kinds/only", a_kind_is_served_by_its_regions_only);
	g_test_add_func("/pool/kinds/nodes", nodes_and_kinds_go_together);
	g_test_add_func("/pool/kinds/promises", promises_are_of_a_kind);
	g_test_add_func("/pool/kinds/none", a_kind_that_no_region_has_is_a_shortage);
	return g_test_run();
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* NUMA policies: as text, as requests to the allocator, and libnuma kept quiet. */
#include <errno.h>
#include <numa.h>
#include <string.h>
#include <unistd.h>

#include "base/current_request.h"
#include "pool/numa_host.h"
#include "pool/numa_policy_alloc.h"
#include "unit/pool/allocator_check.h"

#define GIB (UINT64_C(1) << 30)

static struct numa_policy *parse(const char *text)
{
	return numa_policy_parse(text, strlen(text));
}

static void policies_are_text(void)
{
	static const char *const right[] = { "0", "1023", "0,1", "5,3,4", "prefer:2", "local" };
	static const char *const wrong[] = { "",   "x",  "1024",       "0,",      ",",      "0,0",  " 0",
		                             "0 ", "+1", "prefer:0,1", "prefer:", "locale", "0\n\n" };

	for (size_t i = 0; i < G_N_ELEMENTS(right); i++) {
		g_autofree char *line = g_strconcat(right[i], "\n", NULL);
		g_autoptr(numa_policy_t) policy = parse(right[i]), same = parse(line);
		g_autofree char *text = numa_policy_format(policy);

		g_assert_cmpstr(text, ==, right[i]);
		g_assert_cmpmem(policy, sizeof(*policy), same, sizeof(*same));
	}
	for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++)
		g_assert_null(parse(wrong[i]));
	g_assert_null(numa_policy_parse("0\0", 2));
}

struct pool {
	allocator_t *allocator;
	struct node_map map;
	GArray *out;
};

/* Node 1 below node 0, and a region of no known node above; a chunk each. */
static void set_up(struct pool *pool, gconstpointer data)
{
	(void)data;
	pool->allocator = allocator_new();
	pool->map = (struct node_map){ 3, { 1, 0, NODE_UNKNOWN } };
	pool->out = g_array_new(FALSE, FALSE, sizeof(struct extent));
	for (uint64_t i = 0; i < 3; i++)
		g_assert_cmpint(allocator_add_region(pool->allocator, (4 + i) * GIB, GIB), ==, (int)i);
}

static void tear_down(struct pool *pool, gconstpointer data)
{
	g_autofree char *reason = NULL;

	(void)data;
	g_assert_true(allocator_check(pool->allocator, &reason));
	allocator_destroy(pool->allocator);
	g_array_unref(pool->out);
}

static int take(struct pool *pool, const char *text, int local, uint64_t offset, uint64_t length)
{
	g_autoptr(numa_policy_t) policy = parse(text);
	const struct allocator_request request = {
		.length = length,
		.unit = DMEMFS_PAGE_4K,
		.file_offset = offset,
		.hint = ALLOCATOR_NO_HINT,
		.regions = ALLOCATOR_ANY_REGION,
	};

	g_array_set_size(pool->out, 0);
	return numa_policy_alloc(pool->allocator, &pool->map, policy, local, &request, pool->out);
}

static void expect_run(const struct pool *pool, guint index, uint64_t gib, uint64_t length)
{
	const struct extent *run = &g_array_index(pool->out, struct extent, index);

	g_assert_cmpuint(index, <, pool->out->len);
	g_assert_cmpuint(run->start / GIB, ==, gib);
	g_assert_cmpuint(run->length, ==, length);
}

/* A file that begins in the middle of a turn: all whole turns are where a large page can map them. */
static void turns_keep_their_alignment(struct pool *pool, gconstpointer data)
{
	const uint64_t begin = DMEMFS_PAGE_2M + 3 * DMEMFS_PAGE_4K;

	(void)data;
	g_assert_cmpint(take(pool, "0,1", NODE_UNKNOWN, begin, 5 * DMEMFS_PAGE_2M), ==, 0);
	expect_run(pool, 0, 4, DMEMFS_PAGE_2M - 3 * DMEMFS_PAGE_4K);
	for (guint i = 1; i < 5; i++) {
		expect_run(pool, i, i % 2 ? 5 : 4, DMEMFS_PAGE_2M);
		g_assert_cmpuint(g_array_index(pool->out, struct extent, i).start % DMEMFS_PAGE_2M, ==, 0);
	}
	expect_run(pool, 5, 5, 3 * DMEMFS_PAGE_4K);
}

static void shortage_takes_nothing(struct pool *pool, gconstpointer data)
{
	(void)data;
	g_assert_cmpint(take(pool, "1", NODE_UNKNOWN, 0, GIB + DMEMFS_PAGE_4K), ==, -ENOSPC);
	g_assert_cmpint(take(pool, "0,1", NODE_UNKNOWN, 0, 2 * GIB + DMEMFS_PAGE_4K), ==, -ENOSPC);
	g_assert_cmpint(take(pool, "7", NODE_UNKNOWN, 0, DMEMFS_PAGE_4K), ==, -ENOSPC);
	g_assert_cmpint(take(pool, "prefer:0", NODE_UNKNOWN, 0, 3 * GIB + DMEMFS_PAGE_4K), ==, -ENOSPC);
	g_assert_cmpuint(pool->out->len, ==, 0);
	g_assert_cmpuint(allocator_available(pool->allocator, DMEMFS_PAGE_4K, ALLOCATOR_ANY_REGION), ==, 3 * GIB);
}

static void preferences_fall_back(struct pool *pool, gconstpointer data)
{
	(void)data;
	g_assert_cmpint(take(pool, "local", 0, 0, DMEMFS_PAGE_2M), ==, 0);
	expect_run(pool, 0, 5, DMEMFS_PAGE_2M);
	g_assert_cmpint(take(pool, "local", NODE_UNKNOWN, 0, DMEMFS_PAGE_2M), ==, 0);
	expect_run(pool, 0, 4, DMEMFS_PAGE_2M);
	g_assert_cmpint(take(pool, "prefer:9", NODE_UNKNOWN, 0, DMEMFS_PAGE_2M), ==, 0);
	expect_run(pool, 0, 4, DMEMFS_PAGE_2M);
	g_assert_cmpint(take(pool, "prefer:0", NODE_UNKNOWN, 0, 2 * GIB), ==, 0);
	expect_run(pool, 0, 5, GIB - DMEMFS_PAGE_2M);
}

static void libnuma_is_quiet(void)
{
	if (g_test_subprocess()) {
		char where[] = "where";

		numa_error(where);
		numa_warn(1, where);
		numa_node_of_cpu(1 << 20);
		return;
	}
	g_test_trap_subprocess(NULL, 0, 0);
	g_test_trap_assert_passed();
	g_test_trap_assert_stderr("");
}

static void caller_has_a_node(void)
{
	const struct current_request own = { .caller = getpid() }, gone = { .caller = 1 << 30 }, none = { .caller = 0 };
	int node;

	current_request_set(&gone);
	g_assert_cmpint(numa_host_caller_node(), ==, NODE_UNKNOWN);
	current_request_set(&own);
	node = numa_host_caller_node();
	g_assert_cmpint(node, >=, numa_available() < 0 ? NODE_UNKNOWN : 0);
	g_assert_cmpint(node, <=, NODE_NUMBER_MAX);
	current_request_set(&none);
	g_assert_cmpint(numa_host_caller_node(), ==, NODE_UNKNOWN);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/numa_policy/policy", policies_are_text);
	g_test_add("/numa_policy/alloc/turns", struct pool, NULL, set_up, turns_keep_their_alignment, tear_down);
	g_test_add("/numa_policy/alloc/shortage", struct pool, NULL, set_up, shortage_takes_nothing, tear_down);
	g_test_add("/numa_policy/alloc/preference", struct pool, NULL, set_up, preferences_fall_back, tear_down);
	g_test_add_func("/numa_policy/host/quiet", libnuma_is_quiet);
	g_test_add_func("/numa_policy/host/caller", caller_has_a_node);
	return g_test_run();
}

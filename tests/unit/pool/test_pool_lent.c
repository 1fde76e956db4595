// SPDX-License-Identifier: GPL-2.0-or-later
/* The pool: memory that is lent, and requests that wait until it is taken back. A thread of the test is the lender. */
#include <errno.h>

#include "base/current_request.h"
#include "base/page_order.h"
#include "pool/pool.h"
#include "pool/pool_clean.h"
#include "pool/pool_lent.h"

#define GIB   DMEMFS_PAGE_1G
#define START (4 * GIB)
/* How many requests can wait at a time. */
#define WAITING_MOST 4

/* Nothing is lent by itself. */
static const struct lend_rules rules = { .on = true, .idle = G_MAXINT64 / 2 };

/* Two nodes of three gigabytes each. */
static struct pool *new_dirty_pool(void)
{
	g_autoptr(GArray) regions = g_array_new(FALSE, FALSE, sizeof(struct memory_region));
	const struct memory_region both[] = { { START, 3 * GIB, 0, PAGE_ORDER_NONE },
		                              { START + 3 * GIB, 3 * GIB, 1, PAGE_ORDER_NONE } };
	struct pool *pool;

	g_array_append_vals(regions, both, G_N_ELEMENTS(both));
	pool = pool_new(regions, WAITING_MOST, NULL);
	pool_need_zeroing(pool);
	pool_set_lend_unit(pool, GIB);
	return pool;
}

/* All of it is zero. */
static struct pool *new_pool(void)
{
	struct pool *pool = new_dirty_pool();
	g_autoptr(GArray) believed = extents_new();

	pool_believe(pool, (struct extent){ START, 6 * GIB }, believed);
	return pool;
}

static struct extent unit(guint index)
{
	return (struct extent){ START + index * GIB, GIB };
}

static int take_from(struct pool *pool, const char *nodes, uint64_t bytes)
{
	g_autoptr(numa_policy_t) policy = nodes ? numa_policy_parse(nodes, strlen(nodes)) : NULL;
	const struct allocator_request request = {
		.length = bytes, .unit = DMEMFS_PAGE_2M, .hint = ALLOCATOR_NO_HINT, .regions = ALLOCATOR_ANY_REGION
	};
	g_autoptr(GArray) runs = extents_new();

	return pool_alloc(pool, policy, &request, runs);
}

static void assert_usage(struct pool *pool, guint free, guint lent)
{
	struct pool_usage usage;

	pool_get_usage(pool, &usage);
	g_assert_cmpuint(usage.free, ==, free * GIB);
	g_assert_cmpuint(usage.lent, ==, lent * GIB);
	g_assert_cmpuint(usage.free + usage.allocated + usage.poisoned + usage.lent, ==, usage.capacity);
}

static void only_what_is_wholly_free_is_lent(void)
{
	struct pool *pool = new_pool();
	g_autoptr(GArray) bad = extents_new();

	g_assert_cmpint(take_from(pool, "0", DMEMFS_PAGE_2M), ==, 0);
	pool_poison(pool, (struct extent){ START + 2 * GIB, DMEMFS_PAGE_4K }, bad);
	/* A small file gets memory at the end of the region. */
	g_assert_true(pool_lend_begin(pool, unit(0)));
	g_assert_false(pool_lend_begin(pool, unit(0)));
	g_assert_false(pool_lend_begin(pool, unit(2)));
	g_assert_false(pool_lend_begin(pool, (struct extent){ START + 3 * GIB, 2 * GIB }));
	g_assert_true(pool_lend_begin(pool, unit(3)));
	pool_destroy(pool);
}

static void the_lent_is_counted_and_available(void)
{
	struct pool *pool = new_pool();

	g_assert_true(pool_lend_begin(pool, unit(5)));
	g_assert_true(pool_lend_begin(pool, unit(1)));
	assert_usage(pool, 4, 2);
	g_assert_cmpuint(pool_available(pool, NULL, ALLOCATOR_ANY_REGION, DMEMFS_PAGE_4K), ==, 6 * GIB);
	g_assert_cmpuint(pool_available(pool, NULL, 2, GIB), ==, 3 * GIB);
	pool_take_back(pool, unit(5));
	pool_take_back(pool, unit(1));
	assert_usage(pool, 6, 0);
	pool_destroy(pool);
}

/* The promises on record are kept, also those that lent memory must come back for. */
static void what_is_promised_is_not_available(void)
{
	struct pool *pool = new_pool();

	for (guint i = 0; i < 4; i++)
		g_assert_true(pool_lend_begin(pool, unit(i)));
	pool_restore_promise(pool, ALLOCATOR_ANY_REGION, 5 * GIB);
	g_assert_cmpuint(pool_available(pool, NULL, ALLOCATOR_ANY_REGION, DMEMFS_PAGE_4K), ==, GIB);
	pool_restore_promise(pool, ALLOCATOR_ANY_REGION, 2 * GIB);
	g_assert_cmpuint(pool_available(pool, NULL, ALLOCATOR_ANY_REGION, DMEMFS_PAGE_4K), ==, 0);
	pool_destroy(pool);
}

static uint64_t clean_bytes(struct pool *pool)
{
	struct pool_usage usage;

	pool_get_usage(pool, &usage);
	return usage.clean;
}

static void what_comes_back_is_dirty(void)
{
	struct pool *pool = new_pool();

	g_assert_cmpuint(clean_bytes(pool), ==, 6 * GIB);
	g_assert_true(pool_lend_begin(pool, unit(5)));
	g_assert_true(pool_lend_begin(pool, unit(1)));
	g_assert_cmpuint(clean_bytes(pool), ==, 4 * GIB);
	pool_take_back(pool, unit(5));
	pool_lend_undo(pool, unit(1), -ENOMEM);
	assert_usage(pool, 6, 0);
	g_assert_cmpuint(clean_bytes(pool), ==, 4 * GIB);
	pool_destroy(pool);
}

static void hurry(void *data)
{
	(void)data;
}

/* The host's memory must not contain what a guest had in its memory. */
static void only_what_was_zeroed_is_lent(void)
{
	struct pool *pool = new_dirty_pool();
	struct pool_piece piece = { .regions = 1, .max_bytes = GIB, .hurry = hurry, .runs = extents_new() };

	g_assert_false(pool_lend_begin(pool, unit(0)));
	g_assert_true(pool_begin_zeroing(pool, &piece, false));
	g_assert_false(pool_lend_begin(pool, unit(0)));
	pool_end_zeroing(pool, &piece, true);
	g_assert_true(pool_lend_begin(pool, unit(0)));
	pool_take_back(pool, unit(0));
	g_assert_false(pool_lend_begin(pool, unit(0)));
	g_array_unref(piece.runs);
	pool_destroy(pool);
}

/* Also what went bad while it was lent. */
static void what_went_bad_does_not_come_back(void)
{
	struct pool *pool = new_pool();
	g_autoptr(GArray) bad = extents_new();
	struct pool_usage usage;

	pool_poison(pool, (struct extent){ START, DMEMFS_PAGE_4K }, bad);
	g_assert_true(pool_adopt_lent(pool, unit(0)));
	pool_poison(pool, (struct extent){ START + DMEMFS_PAGE_2M, DMEMFS_PAGE_4K }, bad);
	pool_get_usage(pool, &usage);
	g_assert_cmpuint(usage.poisoned_used, ==, 2 * DMEMFS_PAGE_4K);
	pool_take_back(pool, unit(0));
	pool_get_usage(pool, &usage);
	g_assert_cmpuint(usage.poisoned, ==, 2 * DMEMFS_PAGE_4K);
	g_assert_cmpuint(usage.free, ==, 6 * GIB - 2 * DMEMFS_PAGE_4K);
	pool_destroy(pool);
}

static void an_earlier_daemon_s_is_adopted(void)
{
	struct pool *pool = new_pool();
	g_autoptr(GArray) lent = NULL;

	g_assert_true(pool_claim(pool, (struct extent){ START + GIB, DMEMFS_PAGE_2M }));
	g_assert_true(pool_adopt_lent(pool, unit(5)));
	g_assert_false(pool_adopt_lent(pool, unit(1)));
	g_assert_true(pool_adopt_lent(pool, (struct extent){ 100 * GIB, GIB }));
	lent = pool_list_lent(pool);
	g_assert_cmpuint(lent->len, ==, 1);
	g_assert_cmphex(g_array_index(lent, struct lend_unit, 0).extent.start, ==, unit(5).start);
	pool_destroy(pool);
}

struct lender {
	struct pool *pool;
	GThread *thread;
	guint pinned;       /* mask of units that cannot be taken back */
	guint tried, taken; /* masks of units; the thread's until it has ended */
	gint end;           /* atomic */
};

static gpointer take_what_is_recalled(gpointer data)
{
	struct lender *lender = data;
	struct extent next;

	while (!g_atomic_int_get(&lender->end)) {
		if (pool_next_lending(lender->pool, &rules, &next) != LEND_TAKE)
			continue;

		guint bit = 1U << (next.start - START) / GIB;

		g_assert_cmpuint(lender->tried & bit, ==, 0);
		lender->tried |= bit;
		pool_take_begin(lender->pool, next);
		if (lender->pinned & bit) {
			pool_take_failed(lender->pool, next, -EBUSY);
			continue;
		}
		lender->taken |= bit;
		pool_take_back(lender->pool, next);
	}
	return NULL;
}

/* All six units are lent. */
static struct lender *lender_new(guint pinned)
{
	struct lender *lender = g_new0(struct lender, 1);

	lender->pool = new_pool();
	lender->pinned = pinned;
	for (guint i = 0; i < 6; i++)
		g_assert_true(pool_lend_begin(lender->pool, unit(i)));
	pool_open_lending(lender->pool, 60 * G_TIME_SPAN_SECOND);
	lender->thread = g_thread_new("lender", take_what_is_recalled, lender);
	return lender;
}

/* Asserts which units were tried. */
static void lender_end(struct lender *lender, guint tried)
{
	g_atomic_int_set(&lender->end, TRUE);
	pool_close_lending(lender->pool);
	g_thread_join(lender->thread);
	g_assert_cmphex(lender->tried, ==, tried);
	g_assert_cmphex(lender->taken, ==, tried & ~lender->pinned);
	pool_destroy(lender->pool);
	g_free(lender);
}

static void a_request_gets_what_it_lacks(void)
{
	struct lender *lender = lender_new(0);

	g_assert_cmpint(take_from(lender->pool, NULL, 2 * GIB), ==, 0);
	g_assert_cmpint(take_from(lender->pool, NULL, GIB), ==, 0);
	assert_usage(lender->pool, 0, 3);
	lender_end(lender, 0x7);
}

static void a_request_gets_it_from_its_nodes(void)
{
	struct lender *lender = lender_new(0);

	g_assert_cmpint(take_from(lender->pool, "1", GIB), ==, 0);
	lender_end(lender, 0x8);
}

static void what_is_pinned_is_passed_over(void)
{
	struct lender *lender = lender_new(0x5);

	g_assert_cmpint(take_from(lender->pool, NULL, 2 * GIB), ==, 0);
	lender_end(lender, 0xf);
}

static void a_request_fails_when_all_is_pinned(void)
{
	struct lender *lender = lender_new(0x7);
	struct pool_lending lending;

	g_assert_cmpint(take_from(lender->pool, "0", GIB), ==, -ENOSPC);
	assert_usage(lender->pool, 0, 6);
	pool_get_lending(lender->pool, &lending);
	g_assert_cmpuint(lending.failed[POOL_TAKE_PINNED], ==, 3);
	g_assert_cmpuint(lending.refused, ==, 3 * GIB);
	lender_end(lender, 0x7);
}

static void a_request_that_cannot_be_served_takes_nothing_back(void)
{
	struct lender *lender = lender_new(0);

	g_assert_cmpint(take_from(lender->pool, NULL, 6 * GIB + DMEMFS_PAGE_2M), ==, -ENOSPC);
	g_assert_cmpint(take_from(lender->pool, "0", 4 * GIB), ==, -ENOSPC);
	lender_end(lender, 0);
}

static void promises_are_covered_by_what_is_not_lent(void)
{
	struct lender *lender = lender_new(0);

	g_assert_cmpint(pool_promise(lender->pool, 1, 3 * GIB, true), ==, 0);
	g_assert_cmpint(pool_promise(lender->pool, 1, DMEMFS_PAGE_2M, true), ==, -ENOSPC);
	lender_end(lender, 0x7);
}

static bool always(void *data)
{
	(void)data;
	return true;
}

/* A lender that does nothing. */
static struct pool *new_lent_pool(gint64 patience)
{
	struct pool *pool = new_pool();

	for (guint i = 0; i < 6; i++)
		g_assert_true(pool_lend_begin(pool, unit(i)));
	pool_open_lending(pool, patience);
	return pool;
}

static void patience_ends(void)
{
	struct pool *pool = new_lent_pool(2500 * G_TIME_SPAN_MILLISECOND);
	const struct current_request request = { .unique = 1 }, none = { 0 };
	gint64 start = g_get_monotonic_time();
	_Atomic unsigned waits = 0;

	current_request_set(&request);
	current_request_count_waits(&waits);
	g_assert_cmpint(take_from(pool, NULL, GIB), ==, -ENOSPC);
	current_request_set(&none);
	g_assert_cmpint(g_get_monotonic_time() - start, >=, 2500 * G_TIME_SPAN_MILLISECOND);
	/* Who looks for hangs sees at least each second that it waits. */
	g_assert_cmpuint(waits, >=, 2);
	pool_destroy(pool);
}

static void a_request_that_is_interrupted_does_not_wait(void)
{
	const struct current_request request = { .unique = 1 }, none = { 0 };
	struct pool *pool = new_lent_pool(G_TIME_SPAN_HOUR);

	current_request_set(&request);
	current_request_allow_interrupt(always, NULL);
	g_assert_cmpint(take_from(pool, NULL, GIB), ==, -EINTR);
	current_request_set(&none);
	pool_destroy(pool);
}

static gpointer close_lending(gpointer pool)
{
	g_usleep(10 * G_TIME_SPAN_MILLISECOND);
	pool_close_lending(pool);
	return NULL;
}

static void requests_are_left_to_the_next_daemon(void)
{
	struct pool *pool = new_lent_pool(G_TIME_SPAN_HOUR);
	GThread *thread = g_thread_new("close", close_lending, pool);

	g_assert_cmpint(take_from(pool, NULL, GIB), ==, -ERESTART);
	g_thread_join(thread);
	g_assert_cmpint(take_from(pool, NULL, GIB), ==, -ERESTART);
	g_assert_cmpint(pool_promise(pool, ALLOCATOR_ANY_REGION, GIB, true), ==, -ERESTART);
	/* The next daemon could not serve this one either. */
	g_assert_cmpint(take_from(pool, NULL, 7 * GIB), ==, -ENOSPC);
	pool_destroy(pool);
}

struct waiter {
	struct pool *pool;
	_Atomic unsigned waits;
};

static gpointer wait_as_a_request(gpointer data)
{
	struct waiter *waiter = data;
	const struct current_request request = { .unique = 1 };

	current_request_set(&request);
	current_request_count_waits(&waiter->waits);
	g_assert_cmpint(take_from(waiter->pool, NULL, GIB), ==, -ERESTART);
	return NULL;
}

/* As many requests wait as may. One more has no memory at once, but a fault waits. */
static void a_fault_waits_however_many_requests_do(void)
{
	struct waiter waiter = { new_lent_pool(G_TIME_SPAN_HOUR), 0 };
	const struct current_request request = { .unique = 2 }, none = { 0 };
	GThread *threads[WAITING_MOST], *closer;
	struct pool_wait wait = { 0 };

	for (guint i = 0; i < G_N_ELEMENTS(threads); i++) {
		threads[i] = g_thread_new("request", wait_as_a_request, &waiter);
		while (waiter.waits <= i)
			g_usleep(1000);
	}
	current_request_set(&request);
	g_assert_cmpint(take_from(waiter.pool, NULL, GIB), ==, -ENOSPC);
	current_request_set(&none);

	g_assert_cmpint(pool_await(waiter.pool, ALLOCATOR_ANY_REGION, GIB, &wait), ==, 0);
	closer = g_thread_new("close", close_lending, waiter.pool);
	g_thread_join(closer);
	for (guint i = 0; i < G_N_ELEMENTS(threads); i++)
		g_thread_join(threads[i]);
	g_assert_cmpint(pool_await(waiter.pool, ALLOCATOR_ANY_REGION, GIB, &wait), ==, -ERESTART);
	pool_destroy(waiter.pool);
}

/* Their time counts together. */
static void a_request_waits_in_steps(void)
{
	gint64 start = g_get_monotonic_time(), patience = 400 * G_TIME_SPAN_MILLISECOND;
	struct pool *pool = new_lent_pool(patience);
	struct pool_wait wait = { 0 };
	unsigned steps = 0;

	while (pool_await(pool, ALLOCATOR_ANY_REGION, GIB, &wait) == 0)
		steps++;
	g_assert_cmpint(pool_await(pool, ALLOCATOR_ANY_REGION, GIB, &wait), ==, -ENOSPC);
	g_assert_cmpuint(steps, >, 1);
	g_assert_cmpint(g_get_monotonic_time() - start, >=, patience);
	pool_destroy(pool);
}

/* It hears in one of its steps that no unit comes back. */
static void a_request_is_refused_in_steps(void)
{
	struct lender *lender = lender_new(0x3f);
	struct pool_wait wait = { 0 };
	unsigned steps = 0;

	while (pool_await(lender->pool, ALLOCATOR_ANY_REGION, GIB, &wait) == 0)
		g_assert_cmpuint(steps++, <, 1000);
	g_assert_cmpint(pool_await(lender->pool, ALLOCATOR_ANY_REGION, GIB, &wait), ==, -ENOSPC);
	lender_end(lender, 0x3f);
}

/* Memory in it was freed a moment ago, so it is not idle. */
static void what_is_freed_is_lent_later(void)
{
	const struct lend_rules soon = { .on = true, .idle = G_TIME_SPAN_HOUR };
	const struct lend_rules at_once = { .on = true };
	struct pool *pool = new_pool();
	struct extent next = { 0 };

	pool_open_lending(pool, 0);
	g_assert_cmpint(pool_next_lending(pool, &soon, &next), ==, LEND_REST);
	g_assert_cmpint(pool_next_lending(pool, &at_once, &next), ==, LEND_UNIT);
	g_assert_cmphex(next.start, ==, unit(5).start);
	g_assert_cmpint(take_from(pool, "1", DMEMFS_PAGE_2M), ==, 0);
	g_assert_cmpint(pool_next_lending(pool, &at_once, &next), ==, LEND_UNIT);
	g_assert_cmphex(next.start, <, unit(5).start);
	pool_destroy(pool);
}

/* It is in no trouble, and is not taken back without need. */
static void what_could_not_be_lent_before_is_lent(void)
{
	const struct lend_rules at_once = { .on = true };
	struct pool *pool = new_pool();
	g_autoptr(GArray) believed = extents_new();
	struct pool_lending lending;
	struct extent next;

	pool_open_lending(pool, 0);
	for (guint i = 0; i < 6; i++)
		g_assert_true(pool_lend_begin(pool, unit(i)));
	pool_lend_undo(pool, unit(5), -ENOMEM);
	pool_believe(pool, unit(5), believed);
	g_assert_true(pool_lend_begin(pool, unit(5)));
	pool_get_lending(pool, &lending);
	g_assert_cmpuint(lending.refused, ==, 0);
	g_assert_cmpint(pool_next_lending(pool, &at_once, &next), ==, LEND_REST);
	pool_destroy(pool);
}

static void what_is_promised_is_not_lent(void)
{
	const struct lend_rules at_once = { .on = true };
	struct pool *pool = new_pool();
	struct extent next;

	pool_open_lending(pool, 0);
	g_assert_cmpint(pool_next_lending(pool, &at_once, &next), ==, LEND_UNIT);
	/* It is lent from now on, not only when the lender begins with it. */
	g_assert_cmpint(pool_promise(pool, ALLOCATOR_ANY_REGION, 6 * GIB, true), ==, -ENOSPC);
	assert_usage(pool, 5, 1);
	g_assert_cmpint(pool_promise(pool, ALLOCATOR_ANY_REGION, 5 * GIB, true), ==, 0);
	g_assert_cmpint(pool_next_lending(pool, &at_once, &next), ==, LEND_REST);
	pool_destroy(pool);
}

static gpointer take_a_unit(gpointer pool)
{
	return GINT_TO_POINTER(take_from(pool, NULL, GIB));
}

/* With lend-idle=0 it seems idle at once. */
static void what_came_back_for_a_request_is_not_lent(void)
{
	const struct lend_rules at_once = { .on = true };
	struct pool *pool = new_lent_pool(G_TIME_SPAN_HOUR);
	GThread *thread = g_thread_new("request", take_a_unit, pool);
	struct extent next;

	while (pool_next_lending(pool, &at_once, &next) != LEND_TAKE)
		;
	pool_take_begin(pool, next);
	pool_take_back(pool, next);
	g_assert_cmpint(pool_next_lending(pool, &at_once, &next), ==, LEND_REST);
	g_assert_cmpint(GPOINTER_TO_INT(g_thread_join(thread)), ==, 0);
	pool_destroy(pool);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/pool-lent/free", only_what_is_wholly_free_is_lent);
	g_test_add_func("/pool-lent/counted", the_lent_is_counted_and_available);
	g_test_add_func("/pool-lent/counted/promised", what_is_promised_is_not_available);
	g_test_add_func("/pool-lent/dirty", what_comes_back_is_dirty);
	g_test_add_func("/pool-lent/zeroing", only_what_was_zeroed_is_lent);
	g_test_add_func("/pool-lent/poison", what_went_bad_does_not_come_back);
	g_test_add_func("/pool-lent/adopted", an_earlier_daemon_s_is_adopted);
	g_test_add_func("/pool-lent/recall", a_request_gets_what_it_lacks);
	g_test_add_func("/pool-lent/node", a_request_gets_it_from_its_nodes);
	g_test_add_func("/pool-lent/pinned", what_is_pinned_is_passed_over);
	g_test_add_func("/pool-lent/all-pinned", a_request_fails_when_all_is_pinned);
	g_test_add_func("/pool-lent/too-large", a_request_that_cannot_be_served_takes_nothing_back);
	g_test_add_func("/pool-lent/promise", promises_are_covered_by_what_is_not_lent);
	g_test_add_func("/pool-lent/patience", patience_ends);
	g_test_add_func("/pool-lent/interrupted", a_request_that_is_interrupted_does_not_wait);
	g_test_add_func("/pool-lent/closed", requests_are_left_to_the_next_daemon);
	g_test_add_func("/pool-lent/fault", a_fault_waits_however_many_requests_do);
	g_test_add_func("/pool-lent/steps", a_request_waits_in_steps);
	g_test_add_func("/pool-lent/steps-refused", a_request_is_refused_in_steps);
	g_test_add_func("/pool-lent/idle", what_is_freed_is_lent_later);
	g_test_add_func("/pool-lent/second-try", what_could_not_be_lent_before_is_lent);
	g_test_add_func("/pool-lent/promised", what_is_promised_is_not_lent);
	g_test_add_func("/pool-lent/wanted", what_came_back_for_a_request_is_not_lent);
	return g_test_run();
}

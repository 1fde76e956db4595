// SPDX-License-Identifier: GPL-2.0-or-later
/* The lender: what it lends, what it takes back, and what it leaves to the next daemon. */
#include <errno.h>

#include "file/zeroer.h"
#include "lending/lender.h"
#include "pool/pool_clean.h"
#include "pool/pool_lent.h"
#include "unit/backend/fake_backend.h"

#define START (UINT64_C(4) << 30)
#define M2    DMEMFS_PAGE_2M
#define UNIT  (4 * M2)
#define UNITS 8

static const struct lend_rules all_but_two = { .on = true, .reserve = 2 * UNIT };
static const struct lend_rules off = { .on = false };

static void record_all_as_clean(struct fake *fake)
{
	g_autoptr(GArray) believed = extents_new();
	const struct extent all = { START, UNITS * UNIT };

	store_begin(fake->storage.store);
	store_put_clean(fake->storage.store, all);
	g_assert_cmpint(store_commit(fake->storage.store), ==, 0);
	pool_believe(fake->storage.pool, all, believed);
}

static struct fake *new_fake(void)
{
	struct fake *fake = fake_new(UNITS * UNIT, M2);

	fake_allow_lending(fake, UNIT);
	record_all_as_clean(fake);
	return fake;
}

static struct extent unit(guint index)
{
	return (struct extent){ START + index * UNIT, UNIT };
}

static uint64_t lent_units(struct fake *fake)
{
	struct pool_usage usage;

	pool_get_usage(fake->storage.pool, &usage);
	return usage.lent / UNIT;
}

static void wait_until_lent(struct fake *fake, uint64_t units)
{
	for (int i = 0; i < 2000 && lent_units(fake) != units; i++)
		g_usleep(5000);
	g_assert_cmpuint(lent_units(fake), ==, units);
}

static void wait_until_tried(struct fake *fake, int lends)
{
	int done = 0;

	for (int i = 0; i < 2000 && done < lends; i++) {
		g_usleep(5000);
		g_mutex_lock(&fake->lending);
		done = fake->lends;
		g_mutex_unlock(&fake->lending);
	}
}

static int take(struct fake *fake, uint64_t bytes, GArray *runs)
{
	const struct allocator_request request = {
		.length = bytes, .unit = M2, .hint = ALLOCATOR_NO_HINT, .regions = ALLOCATOR_ANY_REGION
	};

	return pool_alloc(fake->storage.pool, NULL, &request, runs);
}

static void give_back(struct fake *fake, GArray *runs)
{
	pool_free(fake->storage.pool, (const struct extent *)runs->data, runs->len);
}

/* The backend asserts that nothing of what is lent is on record as clean. */
static void idle_memory_is_lent_but_for_the_reserve(void)
{
	struct fake *fake = new_fake();
	g_autoptr(GArray) clean = extents_new();
	struct lender *lender;

	lender = lender_start(&fake->storage, &all_but_two, 10);
	wait_until_lent(fake, UNITS - 2);
	lender_stop(lender, false);
	g_assert_cmpuint(lent_units(fake), ==, UNITS - 2);
	g_assert_cmphex(g_array_index(fake->lent, struct extent, 0).start, ==, unit(UNITS - 1).start);
	g_assert_cmpint(store_list_clean(fake->storage.store, clean), ==, 0);
	g_assert_cmpuint(clean->len, ==, 1);
	g_assert_cmpuint(g_array_index(clean, struct extent, 0).length, ==, 2 * UNIT);
	lender = lender_start(&fake->storage, &off, 10);
	lender_stop(lender, true);
	fake_destroy(fake);
}

static void a_file_gets_what_was_lent(void)
{
	struct fake *fake = new_fake();
	g_autoptr(GArray) runs = extents_new();
	struct lender *lender = lender_start(&fake->storage, &all_but_two, 10);

	wait_until_lent(fake, UNITS - 2);
	/* The lowest one of what is lent does not come. */
	g_mutex_lock(&fake->lending);
	g_array_append_vals(fake->stuck, (struct extent[]){ unit(2) }, 1);
	g_mutex_unlock(&fake->lending);
	g_assert_cmpint(take(fake, (UNITS - 1) * UNIT, runs), ==, 0);
	g_assert_cmpint(take(fake, UNIT, runs), ==, -ENOSPC);
	g_assert_cmpuint(lent_units(fake), ==, 1);
	g_mutex_lock(&fake->lending);
	g_array_set_size(fake->stuck, 0);
	g_mutex_unlock(&fake->lending);
	lender_stop(lender, true);
	g_assert_cmpuint(lent_units(fake), ==, 0);
	give_back(fake, runs);
	fake_destroy(fake);
}

/* What is stuck is left to the next daemon, which takes it back also with lend=off. */
static void the_next_daemon_takes_back_what_is_left(void)
{
	struct fake *fake = new_fake();
	g_autoptr(GArray) left = extents_new();
	struct lender *lender = lender_start(&fake->storage, &all_but_two, 10);
	int lends;

	wait_until_lent(fake, UNITS - 2);
	g_mutex_lock(&fake->lending);
	g_array_append_vals(fake->stuck, (struct extent[]){ unit(5), unit(7) }, 2);
	g_mutex_unlock(&fake->lending);
	lender_stop(lender, true);
	g_assert_cmpuint(lent_units(fake), ==, 2);
	fake_restart(fake);
	fake_allow_lending(fake, UNIT);
	fake->storage.ops->list_lent(fake->storage.backend, left);
	g_assert_cmpuint(left->len, ==, 2);
	for (guint i = 0; i < left->len; i++)
		g_assert_true(pool_adopt_lent(fake->storage.pool, g_array_index(left, struct extent, i)));
	/* With lend=on the next daemon does first what may be left of lending it. */
	lends = fake->lends;
	lender = lender_start(&fake->storage, &(struct lend_rules){ .on = true, .reserve = 6 * UNIT }, 10);
	wait_until_tried(fake, lends + 2);
	lender_stop(lender, false);
	g_assert_cmpint(fake->lends, ==, lends + 2);
	g_array_set_size(fake->stuck, 0);
	lender = lender_start(&fake->storage, &off, 3600);
	wait_until_lent(fake, 0);
	lender_stop(lender, false);
	fake_destroy(fake);
}

/* On a host that is busy, the kernel needs seconds to empty a unit, however short requests wait. */
static void the_kernel_gets_enough_time(void)
{
	struct fake *fake = new_fake();
	struct lender *lender = lender_start(&fake->storage, &all_but_two, 1);

	wait_until_lent(fake, UNITS - 2);
	lender_stop(lender, true);
	g_assert_cmpint(fake->takes, ==, UNITS - 2);
	g_assert_cmpuint(fake->take_ms, >=, 3000);
	fake_destroy(fake);
}

/* The unit is free again, and neither it nor another is tried at once. */
static void what_cannot_be_lent_stays_free(void)
{
	struct fake *fake = new_fake();
	struct lender *lender;
	struct pool_usage usage;
	gint64 start = g_get_monotonic_time();

	fake->lend_error = -ENOMEM;
	lender = lender_start(&fake->storage, &all_but_two, 10);
	wait_until_tried(fake, 2);
	g_assert_cmpint(g_get_monotonic_time() - start, >=, 2 * G_TIME_SPAN_SECOND);
	lender_stop(lender, true);
	g_assert_cmpint(fake->lends, ==, 2);
	pool_get_usage(fake->storage.pool, &usage);
	g_assert_cmpuint(usage.free, ==, usage.capacity);
	fake_destroy(fake);
}

/* The kernel made its memory blocks after the lender had given up: the unit is of no use to the host, and comes back. */
static void what_is_lent_in_part_is_taken_back(void)
{
	struct fake *fake = new_fake();
	struct lender *lender;

	fake->lend_error = -EINPROGRESS;
	lender = lender_start(&fake->storage, &(struct lend_rules){ .on = true, .reserve = (UNITS - 1) * UNIT }, 10);
	wait_until_lent(fake, 1);
	g_mutex_lock(&fake->lending);
	fake->lend_error = -ENOMEM; /* of the attempts after it */
	g_mutex_unlock(&fake->lending);
	wait_until_lent(fake, 0);
	lender_stop(lender, true);
	fake_destroy(fake);
}

static void set_lend_error(struct fake *fake, int err)
{
	g_mutex_lock(&fake->lending);
	fake->lend_error = err;
	g_mutex_unlock(&fake->lending);
}

/* What could not be lent at first is lent without a trace of that: the pause after the next failure is short again. */
static void a_success_ends_the_pauses(void)
{
	struct fake *fake = new_fake();
	g_autoptr(GArray) believed = extents_new();
	g_autoptr(GArray) lent = NULL;
	struct lender *lender;

	set_lend_error(fake, -ENOMEM);
	lender = lender_start(&fake->storage, &all_but_two, 10);
	wait_until_tried(fake, 1);
	wait_until_lent(fake, 0);
	set_lend_error(fake, 0);
	/* It was zeroed again. */
	pool_believe(fake->storage.pool, unit(UNITS - 1), believed);
	wait_until_lent(fake, UNITS - 2);
	lender_stop(lender, false);
	lent = pool_list_lent(fake->storage.pool);
	g_assert_cmphex(g_array_index(lent, struct lend_unit, lent->len - 1).extent.start, ==, unit(UNITS - 1).start);
	for (guint i = 0; i < lent->len; i++)
		g_assert_cmpint(g_array_index(lent, struct lend_unit, i).pause, ==, 0);
	lender = lender_start(&fake->storage, &off, 10);
	lender_stop(lender, true);
	fake_destroy(fake);
}

static void without_units_there_is_no_lender(void)
{
	struct fake *fake = fake_new(UNITS * UNIT, M2);

	fake_allow_lending(fake, 0);
	g_assert_null(lender_start(&fake->storage, &off, 10));
	fake_allow_lending(fake, UNIT);
	g_assert_null(lender_start(&fake->storage, &off, 10));
	fake_destroy(fake);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/lender/reserve", idle_memory_is_lent_but_for_the_reserve);
	g_test_add_func("/lender/taken-back", a_file_gets_what_was_lent);
	g_test_add_func("/lender/next-daemon", the_next_daemon_takes_back_what_is_left);
	g_test_add_func("/lender/time", the_kernel_gets_enough_time);
	g_test_add_func("/lender/refused", what_cannot_be_lent_stays_free);
	g_test_add_func("/lender/in-part", what_is_lent_in_part_is_taken_back);
	g_test_add_func("/lender/success", a_success_ends_the_pauses);
	g_test_add_func("/lender/none", without_units_there_is_no_lender);
	return g_test_run();
}

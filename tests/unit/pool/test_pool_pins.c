// SPDX-License-Identifier: GPL-2.0-or-later
/* The pool: what a device still holds is nobody's, and every byte is still accounted for. */
#include <errno.h>
#include <string.h>

#include "base/page_order.h"
#include "pool/pool.h"
#include "pool/pool_clean.h"
#include "pool/pool_pins.h"

#define START (UINT64_C(4) << 30)
#define M2    DMEMFS_PAGE_2M
#define SIZE  (UINT64_C(8) * M2)

static const struct pool_user vm1 = { .ino = 7, .pid = 1234, .name = "vm1" };

static struct pool *new_pool(void)
{
	g_autoptr(GArray) regions = g_array_new(FALSE, FALSE, sizeof(struct memory_region));
	const struct memory_region region = { START, SIZE, 0, PAGE_ORDER_2M };
	struct pool *pool;

	g_array_append_val(regions, region);
	pool = pool_new(regions, 1, NULL);
	pool_need_zeroing(pool);
	return pool;
}

static GArray *take(struct pool *pool, uint64_t length)
{
	const struct allocator_request request = {
		.length = length, .unit = M2, .hint = ALLOCATOR_NO_HINT, .regions = pool_regions_of(pool, PAGE_ORDER_2M)
	};
	GArray *runs = extents_new();

	g_assert_cmpint(pool_alloc(pool, NULL, &request, runs), ==, 0);
	return runs;
}

static void assert_usage(struct pool *pool, uint64_t free, uint64_t allocated, uint64_t pending, uint64_t pinned)
{
	struct pool_usage usage;

	pool_get_usage(pool, &usage);
	g_assert_cmpuint(usage.free, ==, free);
	g_assert_cmpuint(usage.allocated, ==, allocated);
	g_assert_cmpuint(usage.pending, ==, pending);
	g_assert_cmpuint(usage.pinned, ==, pinned);
	g_assert_cmpuint(usage.free, ==, usage.clean + usage.dirty + usage.zeroing);
	g_assert_cmpuint(free + allocated + pending + pinned + usage.poisoned, ==, usage.capacity);
}

static void pin_pending(struct pool *pool, uint64_t id, struct extent run)
{
	g_autoptr(GArray) runs = extents_new();

	g_array_append_val(runs, run);
	pool_pin_pending(pool, id, g_get_real_time(), runs);
}

static void pinned_memory_is_given_to_nobody(void)
{
	struct pool *pool = new_pool();
	g_autoptr(GArray) runs = take(pool, 4 * M2);
	g_autoptr(GArray) rest = NULL;
	const struct extent run = g_array_index(runs, struct extent, 0);

	g_assert_cmpuint(run.length, ==, 4 * M2);
	pool_pin_used(pool, (struct extent){ run.start, 3 * M2 }, g_get_real_time(), &vm1);
	pool_free(pool, &(struct extent){ run.start + 3 * M2, M2 }, 1);
	assert_usage(pool, 5 * M2, 0, 0, 3 * M2);
	rest = take(pool, 5 * M2);
	g_assert_cmpuint(pool_available(pool, NULL, ALLOCATOR_ANY_REGION, M2), ==, 0);
	assert_usage(pool, 0, 5 * M2, 0, 3 * M2);
	pool_free(pool, (const struct extent *)rest->data, rest->len);
	pool_unpin(pool, run, false);
	assert_usage(pool, SIZE, 0, 0, 0);
	pool_destroy(pool);
}

/* A device may let go of some of it. */
static void parts_come_back(void)
{
	struct pool *pool = new_pool();
	g_autoptr(GArray) runs = take(pool, 5 * M2);
	const uint64_t start = g_array_index(runs, struct extent, 0).start;
	g_autoptr(GArray) pins = NULL;
	const struct pool_pin *pin;

	pool_pin_used(pool, (struct extent){ start, 5 * M2 }, g_get_real_time(), &vm1);
	pool_unpin(pool, (struct extent){ start + M2, M2 }, false);
	pool_unpin(pool, (struct extent){ start + 4 * M2, 2 * M2 }, false); /* and what is free already */
	assert_usage(pool, 5 * M2, 0, 0, 3 * M2);
	pins = pool_get_pins(pool);
	g_assert_cmpuint(pins->len, ==, 2);
	pin = &g_array_index(pins, struct pool_pin, 0);
	g_assert_cmphex(pin[0].extent.start, ==, start);
	g_assert_cmpuint(pin[0].extent.length, ==, M2);
	g_assert_cmphex(pin[1].extent.start, ==, start + 2 * M2);
	g_assert_cmpuint(pin[1].extent.length, ==, 2 * M2);
	for (int i = 0; i < 2; i++) {
		g_assert_cmpuint(pin[i].last.ino, ==, 7);
		g_assert_cmpint(pin[i].last.pid, ==, 1234);
		g_assert_cmpstr(pin[i].last.name, ==, "vm1");
		g_assert_cmpint(pin[i].since, <=, g_get_real_time());
		g_assert_cmpint(pin[i].since, >, g_get_real_time() - G_TIME_SPAN_MINUTE);
	}
	pool_unpin(pool, (struct extent){ START, SIZE }, false);
	assert_usage(pool, SIZE, 0, 0, 0);
	pool_destroy(pool);
}

static void memory_of_removed_files_is_pinned_out_of_what_is_pending(void)
{
	struct pool *pool = new_pool();
	g_autoptr(GArray) pending = extents_new();
	g_autoptr(GArray) pins = NULL;
	GArray *runs = take(pool, 4 * M2);
	const uint64_t start = g_array_index(runs, struct extent, 0).start;
	struct pool_user last;

	pool_set_last_user(pool, 7, &vm1);
	pool_retire(pool, 7, runs);
	pool_list_pending(pool, 7, pending, &last);
	g_assert_cmpuint(pending->len, ==, 1);
	g_assert_cmpstr(last.name, ==, "vm1");
	pin_pending(pool, 7, (struct extent){ start + M2, M2 });
	assert_usage(pool, 4 * M2, 0, 3 * M2, M2);
	pool_idle(pool, 7);
	assert_usage(pool, 7 * M2, 0, 0, M2);
	pins = pool_get_pins(pool);
	g_assert_cmpstr(g_array_index(pins, struct pool_pin, 0).last.name, ==, "vm1");
	pool_list_pending(pool, 7, pending, &last);
	g_assert_cmpuint(pending->len, ==, 1);
	g_assert_cmpuint(last.ino, ==, 7);
	g_assert_cmpint(last.pid, ==, 0);
	pool_unpin(pool, (struct extent){ start, 4 * M2 }, false);
	assert_usage(pool, SIZE, 0, 0, 0);
	pool_destroy(pool);
}

/* Its record is deleted after it became pinned; memory that is on record belongs to nobody else. */
static void memory_of_a_removed_file_stays_pending_until_its_record_is_deleted(void)
{
	struct pool *pool = new_pool();
	GArray *runs = take(pool, 3 * M2);
	const uint64_t start = g_array_index(runs, struct extent, 0).start;

	/* The file had given this up before it was removed. */
	pool_pin_used(pool, (struct extent){ start + 2 * M2, M2 }, g_get_real_time(), &vm1);
	g_array_index(runs, struct extent, 0).length = 2 * M2;
	pool_retire(pool, 7, runs);
	pin_pending(pool, 7, (struct extent){ start + M2, M2 });
	assert_usage(pool, 5 * M2, 0, M2, 2 * M2);
	pool_unpin(pool, (struct extent){ start + M2, 2 * M2 }, false);
	assert_usage(pool, 6 * M2, 0, 2 * M2, 0);
	g_assert_cmpuint(pool_remaining_bytes(pool, 7), ==, 2 * M2);
	/* A device may hold it again meanwhile; now the record goes first. */
	pin_pending(pool, 7, (struct extent){ start, M2 });
	pool_idle(pool, 7);
	assert_usage(pool, 7 * M2, 0, 0, M2);
	g_assert_cmpuint(pool_remaining_bytes(pool, 7), ==, M2);
	pool_unpin(pool, (struct extent){ start, M2 }, false);
	assert_usage(pool, SIZE, 0, 0, 0);
	g_assert_cmpuint(pool_remaining_bytes(pool, 7), ==, 0);
	pool_destroy(pool);
}

/* The runs of the file and those that are held are cut at different places, and the file's are in any order. */
static void many_runs_are_pinned_at_once(void)
{
	static const struct extent held[] = { { START + M2, M2 }, { START + 3 * M2, 2 * M2 }, { START + 7 * M2, M2 } };
	struct pool *pool = new_pool();
	g_autoptr(GArray) all = take(pool, SIZE);
	g_autoptr(GArray) runs = extents_new();
	g_autoptr(GArray) pinned = extents_new();
	GArray *pending = extents_new();

	for (unsigned i = 2; i-- > 0;) {
		const struct extent half = { START + i * SIZE / 2, SIZE / 2 };

		g_array_append_val(pending, half);
	}
	g_array_append_vals(runs, held, G_N_ELEMENTS(held));
	pool_retire(pool, 7, pending);
	pool_pin_pending(pool, 7, g_get_real_time(), runs);
	assert_usage(pool, 0, 0, 4 * M2, 4 * M2);
	pool_list_pinned(pool, (struct extent){ START + 4 * M2, SIZE }, pinned);
	g_assert_cmpuint(pinned->len, ==, 2);
	g_assert_cmphex(g_array_index(pinned, struct extent, 0).start, ==, START + 4 * M2);
	g_assert_cmpuint(g_array_index(pinned, struct extent, 0).length, ==, M2);
	g_assert_cmphex(g_array_index(pinned, struct extent, 1).start, ==, START + 7 * M2);
	pool_pin_pending(pool, 7, g_get_real_time(), runs); /* they are not pending any more */
	assert_usage(pool, 0, 0, 4 * M2, 4 * M2);
	pool_idle(pool, 7);
	assert_usage(pool, 4 * M2, 0, 0, 4 * M2);
	pool_unpin(pool, (struct extent){ START, SIZE }, false);
	assert_usage(pool, SIZE, 0, 0, 0);
	pool_destroy(pool);
}

static void at_the_start_only_free_memory_is_pinned(void)
{
	struct pool *pool = new_pool();

	g_assert_true(pool_claim(pool, (struct extent){ START + M2, M2 }));
	pool_pin_free(pool, &(struct pool_pin){ .extent = { START, 3 * M2 } });
	pool_pin_free(pool, &(struct pool_pin){ .extent = { START, 3 * M2 } }); /* known */
	assert_usage(pool, 5 * M2, M2, 0, 2 * M2);
	g_assert_false(pool_claim(pool, (struct extent){ START, M2 }));
	pool_unpin(pool, (struct extent){ START, SIZE }, false);
	assert_usage(pool, 7 * M2, M2, 0, 0);
	pool_destroy(pool);
}

static void an_unknown_owner_is_found_later(void)
{
	struct pool *pool = new_pool();
	g_autoptr(GArray) pins = NULL;

	pool_pin_free(pool, &(struct pool_pin){ .extent = { START, 3 * M2 }, .since = 5 });
	pool_pin_free(pool, &(struct pool_pin){ .extent = { START + 3 * M2, M2 }, .since = 6, .last = vm1 });
	pool_own_pins(pool, (struct extent){ START + M2, 4 * M2 }, 9);
	pins = pool_get_pins(pool);
	g_assert_cmpuint(pins->len, ==, 3);
	for (guint i = 0; i < pins->len; i++) {
		const struct pool_pin *pin = &g_array_index(pins, struct pool_pin, i);

		g_assert_cmpuint(pin->last.ino, ==, ((const uint64_t[]){ 0, 9, vm1.ino })[i]);
		g_assert_cmpint(pin->since, ==, i < 2 ? 5 : 6);
	}
	g_assert_cmpuint(pool_pinned_bytes(pool, 9), ==, 2 * M2);
	g_assert_cmpuint(pool_pinned_bytes(pool, vm1.ino), ==, M2);
	assert_usage(pool, 4 * M2, 0, 0, 4 * M2);
	pool_unpin(pool, (struct extent){ START, SIZE }, false);
	g_assert_cmpuint(pool_pinned_bytes(pool, 9), ==, 0);
	pool_destroy(pool);
}

/* At the start; the record of the removed file is deleted later. */
static void memory_on_record_stays_pending(void)
{
	struct pool *pool = new_pool();
	GArray *rest = extents_new();
	const struct extent third = { START + 2 * M2, M2 };

	pool_pin_free(pool, &(struct pool_pin){ .extent = { START, M2 }, .last = vm1 });
	pool_pin_free(pool, &(struct pool_pin){ .extent = { START + M2, M2 } });
	pool_own_pins(pool, (struct extent){ START, 3 * M2 }, vm1.ino);
	g_assert_cmpuint(pool_pinned_bytes(pool, vm1.ino), ==, 2 * M2);
	g_assert_true(pool_claim(pool, third));
	g_assert_cmpuint(pool_unpin(pool, (struct extent){ START, SIZE }, true), ==, 0);
	assert_usage(pool, 5 * M2, M2, 2 * M2, 0);
	g_array_append_val(rest, third);
	pool_retire(pool, vm1.ino, rest);
	assert_usage(pool, 5 * M2, 0, 3 * M2, 0);
	pool_idle(pool, vm1.ino);
	assert_usage(pool, SIZE, 0, 0, 0);
	pool_destroy(pool);
}

static void memory_that_goes_bad_meanwhile_does_not_come_back(void)
{
	struct pool *pool = new_pool();
	g_autoptr(GArray) runs = take(pool, 2 * M2);
	g_autoptr(GArray) added = extents_new();
	const struct extent run = g_array_index(runs, struct extent, 0);
	struct pool_usage usage;

	pool_pin_used(pool, run, g_get_real_time(), &vm1);
	pool_poison(pool, (struct extent){ run.start, DMEMFS_PAGE_4K }, added);
	pool_get_usage(pool, &usage);
	g_assert_cmpuint(usage.poisoned_used, ==, DMEMFS_PAGE_4K);
	assert_usage(pool, 6 * M2, 0, 0, 2 * M2);
	pool_unpin(pool, run, false);
	pool_get_usage(pool, &usage);
	g_assert_cmpuint(usage.poisoned, ==, DMEMFS_PAGE_4K);
	assert_usage(pool, SIZE - DMEMFS_PAGE_4K, 0, 0, 0);
	pool_destroy(pool);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/pool/pins/nobody", pinned_memory_is_given_to_nobody);
	g_test_add_func("/pool/pins/parts", parts_come_back);
	g_test_add_func("/pool/pins/pending", memory_of_removed_files_is_pinned_out_of_what_is_pending);
	g_test_add_func("/pool/pins/record", memory_of_a_removed_file_stays_pending_until_its_record_is_deleted);
	g_test_add_func("/pool/pins/runs", many_runs_are_pinned_at_once);
	g_test_add_func("/pool/pins/start", at_the_start_only_free_memory_is_pinned);
	g_test_add_func("/pool/pins/unknown-owner", an_unknown_owner_is_found_later);
	g_test_add_func("/pool/pins/on-record", memory_on_record_stays_pending);
	g_test_add_func("/pool/pins/poison", memory_that_goes_bad_meanwhile_does_not_come_back);
	return g_test_run();
}

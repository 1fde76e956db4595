// SPDX-License-Identifier: GPL-2.0-or-later
/* Memory that a device holds when its file lets it go: who gets it, when it comes back, what the next daemon finds. */
#include <errno.h>
#include <linux/falloc.h>
#include <stdio.h>

#include "base/page_order.h"
#include "file/pins.h"
#include "unit/backend/fake_backend.h"

#define UNIT  DMEMFS_PAGE_2M
#define UNITS 8

static struct pool_usage usage_of(struct fake *fake)
{
	struct pool_usage usage;

	pool_get_usage(fake->storage.pool, &usage);
	return usage;
}

static struct fake *new_fake(void)
{
	return fake_new_paged(UNITS * UNIT, UNIT, PAGE_ORDER_2M);
}

/* The memory of all of the file, which is one run. */
static struct extent memory_of(struct file *file)
{
	g_autofree char *text = file_describe_extents(file);
	uint64_t offset;
	struct extent run;

	g_assert_cmpint(sscanf(text, "%" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT, &offset,
	                       &run.start, &run.length),
	                ==, 3);
	g_assert_cmpuint(run.length, ==, file_allocated(file));
	return run;
}

/* As the daemon does each second, from @from for so long; returns how often the backend was asked. */
static unsigned poll(struct fake *fake, struct pins_poll *poll, gint64 *now, unsigned seconds)
{
	unsigned before = fake->asked;

	for (unsigned i = 0; i < seconds; i++, *now += G_TIME_SPAN_SECOND)
		pins_poll(&fake->storage, poll, *now);
	return fake->asked - before;
}

static void what_a_device_holds_waits_until_it_lets_go(void)
{
	struct fake *fake = new_fake();
	struct file *file = file_new(&fake->storage, 2), *other = file_new(&fake->storage, 3);
	struct pins_poll state = { 0 };
	gint64 now = 1;
	struct extent run;

	g_assert_cmpint(file_truncate(file, 4 * UNIT), ==, 0);
	run = memory_of(file);
	fake_pin(fake, (struct extent){ run.start + UNIT, UNIT });
	g_assert_cmpint(file_truncate(file, 0), ==, 0);
	g_assert_cmpuint(usage_of(fake).pinned, ==, UNIT);
	g_assert_cmpuint(fake_free_bytes(fake), ==, (UNITS - 1) * UNIT);
	/* The fake would notice if it was cleaned or given. */
	g_assert_cmpint(file_truncate(other, UNITS * UNIT), ==, -ENOSPC);
	g_assert_cmpint(file_truncate(other, (UNITS - 1) * UNIT), ==, 0);
	poll(fake, &state, &now, 10);
	g_assert_cmpuint(usage_of(fake).pinned, ==, UNIT);
	fake_unpin(fake);
	poll(fake, &state, &now, 60);
	g_assert_cmpuint(usage_of(fake).pinned, ==, 0);
	g_assert_cmpint(file_truncate(other, UNITS * UNIT), ==, 0);
	file_destroy(other);
	file_destroy(file);
	fake_destroy(fake);
}

static void it_is_asked_for_less_and_less_often(void)
{
	struct fake *fake = new_fake();
	struct file *file = file_new(&fake->storage, 2);
	struct pins_poll state = { 0 };
	gint64 now = 1;
	struct extent run;

	g_assert_cmpuint(poll(fake, &state, &now, 100), ==, 0);
	g_assert_cmpint(file_truncate(file, 4 * UNIT), ==, 0);
	run = memory_of(file);
	fake_pin(fake, run);
	g_assert_cmpint(file_truncate(file, UNIT), ==, 0);
	g_assert_cmpuint(poll(fake, &state, &now, 16), ==, 4); /* after 1, 3, 7 and 15 s */
	g_assert_cmpuint(poll(fake, &state, &now, 600), <=, 11);
	/* More of it is news. */
	g_assert_cmpint(file_truncate(file, 0), ==, 0);
	g_assert_cmpuint(poll(fake, &state, &now, 3), >=, 1);
	fake_unpin(fake);
	poll(fake, &state, &now, 61);
	g_assert_cmpuint(usage_of(fake).pinned, ==, 0);
	g_assert_cmpuint(poll(fake, &state, &now, 600), ==, 0);
	file_destroy(file);
	fake_destroy(fake);
}

/* Files give up held memory each second: what was held first must not wait until that ends. */
static void more_of_it_does_not_delay_the_poll(void)
{
	struct fake *fake = new_fake();
	struct file *file = file_new(&fake->storage, 2);
	struct pins_poll state = { 0 };
	gint64 now = 1;

	g_assert_cmpint(file_truncate(file, UNITS * UNIT), ==, 0);
	fake_pin(fake, memory_of(file));
	for (unsigned left = UNITS; left-- > 0;) {
		unsigned before = fake->asked;

		g_assert_cmpint(file_truncate(file, left * UNIT), ==, 0);
		fake->asked = before;
		poll(fake, &state, &now, 1);
		if (left == UNITS - 2)
			g_assert_cmpuint(fake->asked, ==, before + 1);
	}
	g_assert_cmpuint(usage_of(fake).pinned, ==, UNITS * UNIT);
	fake_unpin(fake);
	poll(fake, &state, &now, 3);
	g_assert_cmpuint(usage_of(fake).pinned, ==, 0);
	file_destroy(file);
	fake_destroy(fake);
}

static void memory_of_a_removed_file_is_looked_at_when_it_is_idle(void)
{
	struct fake *fake = new_fake();
	struct file *file = file_new(&fake->storage, 2);
	struct pins_poll state = { 0 };
	g_autoptr(GArray) pins = NULL;
	gint64 now = 1;

	g_assert_cmpint(file_truncate(file, 2 * UNIT), ==, 0);
	fake_pin(fake, memory_of(file));
	fake->hold = true;
	file_note_name(file, "vm1");
	file_destroy(file);
	g_assert_cmpuint(usage_of(fake).pinned, ==, 0);
	g_assert_cmpuint(usage_of(fake).pending, ==, 2 * UNIT);
	fake_release_held(fake);
	g_assert_cmpuint(usage_of(fake).pinned, ==, 2 * UNIT);
	g_assert_cmpuint(usage_of(fake).pending, ==, 0);
	pins = pool_get_pins(fake->storage.pool);
	g_assert_cmpuint(pins->len, ==, 1);
	g_assert_cmpuint(g_array_index(pins, struct pool_pin, 0).last.ino, ==, 2);
	g_assert_cmpstr(g_array_index(pins, struct pool_pin, 0).last.name, ==, "vm1");
	fake_unpin(fake);
	poll(fake, &state, &now, 3);
	g_assert_cmpuint(usage_of(fake).free, ==, UNITS * UNIT);
	fake_destroy(fake);
}

/* The file that struct pins_poll has as its data. */
static void tell_file(const struct unpinned *memory, void *data)
{
	file_unpinned(data, memory);
}

static void tell_storage(const struct unpinned *memory, void *data)
{
	storage_unpinned(data, memory);
}

static void what_is_pinned_is_not_promised_again(void)
{
	struct fake *fake = new_fake();
	struct file *file = file_new(&fake->storage, 2);
	struct pins_poll state = { .unpinned = tell_file, .data = file };
	struct backend_fault fault = { .id = 2, .length = UNIT, .node = -1 };
	gint64 now = 1;

	file_restore_alloc(file, true, false);
	g_assert_cmpint(file_truncate(file, 4 * UNIT), ==, 0);
	g_assert_cmpint(file_allocate(file, 0, 0, 4 * UNIT), ==, 0);
	g_assert_cmpuint(fake_promised_bytes(fake), ==, 0);
	fake_pin(fake, (struct extent){ memory_of(file).start, UNIT });
	g_assert_cmpint(file_allocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 2 * UNIT), ==, 0);
	g_assert_cmpuint(usage_of(fake).pinned, ==, UNIT);
	g_assert_cmpuint(fake_promised_bytes(fake), ==, UNIT);
	g_assert_cmpuint(file_charged(file), ==, 4 * UNIT);
	/* By punching and pinning in turn, a process would get all memory there is. */
	g_assert_cmpint(file_allocate(file, 0, 0, 2 * UNIT), ==, -ENOSPC);
	g_assert_cmpint(file_demand_fault(file, &fault, &(struct pool_wait){ 0 }), ==, 0);
	fault.offset = UNIT;
	g_assert_cmpint(file_demand_fault(file, &fault, &(struct pool_wait){ 0 }), ==, -ENOSPC);
	g_assert_cmpuint(fake_promised_bytes(fake), ==, 0);
	fake_unpin(fake);
	poll(fake, &state, &now, 3);
	g_assert_cmpuint(usage_of(fake).pinned, ==, 0);
	g_assert_cmpuint(fake_promised_bytes(fake), ==, UNIT);
	g_assert_cmpint(file_demand_fault(file, &fault, &(struct pool_wait){ 0 }), ==, 0);
	g_assert_cmpint(file_truncate(file, 0), ==, 0);
	file_destroy(file);
	fake_destroy(fake);
}

struct race {
	struct file *file, *other;
};

/* Another file asks for memory after the device let go, and before the file was told. */
static void tell_late(const struct unpinned *memory, void *data)
{
	const struct race *race = data;

	g_assert_cmpint(file_truncate(race->other, 5 * UNIT), ==, -ENOSPC);
	file_unpinned(race->file, memory);
	g_assert_cmpint(file_truncate(race->other, 5 * UNIT), ==, -ENOSPC);
}

static void what_comes_back_is_promised_at_once(void)
{
	struct fake *fake = new_fake();
	struct race race = { file_new(&fake->storage, 2), file_new(&fake->storage, 3) };
	struct pins_poll state = { .unpinned = tell_late, .data = &race };
	struct backend_fault fault = { .id = 2, .length = UNIT, .node = -1 };
	gint64 now = 1;

	file_restore_alloc(race.file, true, false);
	g_assert_cmpint(file_truncate(race.file, 4 * UNIT), ==, 0);
	g_assert_cmpint(file_allocate(race.file, 0, 0, 4 * UNIT), ==, 0);
	fake_pin(fake, (struct extent){ memory_of(race.file).start, UNIT });
	g_assert_cmpint(file_allocate(race.file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, UNIT), ==, 0);
	g_assert_cmpint(file_truncate(race.other, 4 * UNIT), ==, 0);
	g_assert_cmpuint(fake_free_bytes(fake), ==, 0);
	fake_unpin(fake);
	poll(fake, &state, &now, 3);
	g_assert_cmpuint(usage_of(fake).pinned, ==, 0);
	g_assert_cmpuint(fake_promised_bytes(fake), ==, UNIT);
	g_assert_cmpint(file_demand_fault(race.file, &fault, &(struct pool_wait){ 0 }), ==, 0);
	/* A file with eager allocation, or without a size, needs no promise. */
	fake_pin(fake, memory_of(race.other));
	g_assert_cmpint(file_truncate(race.other, 0), ==, 0);
	fake_unpin(fake);
	state = (struct pins_poll){ .unpinned = tell_file, .data = race.other };
	poll(fake, &state, &now, 3);
	g_assert_cmpuint(fake_promised_bytes(fake), ==, 0);
	file_destroy(race.file);
	file_destroy(race.other);
	fake_destroy(fake);
}

static uint64_t used(const struct fake *fake)
{
	struct quota_usage usage;

	quota_get_usage(fake->storage.quotas, quotas_root(fake->storage.quotas), &usage);
	return usage.used.of[QUOTA_BYTES];
}

static void what_is_pinned_counts_in_the_quota(void)
{
	struct fake *fake = new_fake();
	struct file *file = file_new(&fake->storage, 2);
	struct pins_poll state = { .unpinned = tell_file, .data = file };
	struct quota *root = quotas_root(fake->storage.quotas);
	gint64 now = 1;

	quota_set_limit(fake->storage.quotas, root, QUOTA_BYTES, 4 * UNIT);
	quota_assign(fake->storage.quotas, file_account(file), root, 0);
	g_assert_cmpint(file_truncate(file, 4 * UNIT), ==, 0);
	fake_pin(fake, (struct extent){ memory_of(file).start + UNIT, 3 * UNIT });
	g_assert_cmpint(file_truncate(file, UNIT), ==, 0);
	g_assert_cmpuint(file_charged(file), ==, 4 * UNIT);
	g_assert_cmpuint(used(fake), ==, 4 * UNIT);
	g_assert_cmpint(file_truncate(file, 2 * UNIT), ==, -EDQUOT);
	fake_unpin(fake);
	poll(fake, &state, &now, 3);
	g_assert_cmpuint(used(fake), ==, UNIT);
	g_assert_cmpint(file_truncate(file, 4 * UNIT), ==, 0);
	/* Also when the file is gone, until the device lets go. */
	state = (struct pins_poll){ .unpinned = tell_storage, .data = &fake->storage };
	fake_pin(fake, (struct extent){ memory_of(file).start, UNIT });
	g_assert_cmpint(file_truncate(file, 2 * UNIT), ==, 0);
	file_destroy(file);
	g_assert_cmpint(store_flush(fake->storage.store), ==, 0);
	g_assert_cmpuint(used(fake), ==, UNIT);
	fake_unpin(fake);
	poll(fake, &state, &now, 3);
	g_assert_cmpuint(used(fake), ==, 0);
	fake_destroy(fake);
}

/* The device lets go of what an earlier shrink gave up, while a process still maps the rest of the removed file. */
static void what_is_mapped_counts_after_the_device_lets_go(void)
{
	struct fake *fake = new_fake();
	struct file *file = file_new(&fake->storage, 2), *other = file_new(&fake->storage, 3);
	struct pins_poll state = { .unpinned = tell_storage, .data = &fake->storage };
	struct quota *root = quotas_root(fake->storage.quotas);
	gint64 now = 1;

	quota_set_limit(fake->storage.quotas, root, QUOTA_BYTES, 4 * UNIT);
	quota_assign(fake->storage.quotas, file_account(file), root, 0);
	quota_assign(fake->storage.quotas, file_account(other), root, 0);
	g_assert_cmpint(file_truncate(file, 4 * UNIT), ==, 0);
	fake_pin(fake, (struct extent){ memory_of(file).start + 3 * UNIT, UNIT });
	g_assert_cmpint(file_truncate(file, 3 * UNIT), ==, 0);
	fake->hold = true;
	file_destroy(file);
	g_assert_cmpuint(used(fake), ==, 4 * UNIT);
	fake_unpin(fake);
	poll(fake, &state, &now, 3);
	g_assert_cmpuint(usage_of(fake).pinned, ==, 0);
	g_assert_cmpuint(usage_of(fake).pending, ==, 3 * UNIT);
	g_assert_cmpuint(used(fake), ==, 3 * UNIT);
	g_assert_cmpint(file_truncate(other, 2 * UNIT), ==, -EDQUOT);
	fake->hold = false;
	fake_release_held(fake);
	g_assert_cmpuint(used(fake), ==, 0);
	g_assert_cmpint(file_truncate(other, 4 * UNIT), ==, 0);
	file_destroy(other);
	g_assert_cmpint(store_flush(fake->storage.store), ==, 0);
	fake_destroy(fake);
}

/* The same, with demand allocation: the file itself lives on while it is mapped. */
static void what_may_be_touched_counts_after_the_device_lets_go(void)
{
	struct fake *fake = new_fake();
	struct file *file = file_new(&fake->storage, 2);
	struct pins_poll state = { .unpinned = tell_storage, .data = &fake->storage };
	struct quota *root = quotas_root(fake->storage.quotas);
	gint64 now = 1;

	quota_assign(fake->storage.quotas, file_account(file), root, 0);
	file_restore_alloc(file, true, false);
	g_assert_cmpint(file_truncate(file, 4 * UNIT), ==, 0);
	g_assert_cmpint(file_allocate(file, 0, 0, 4 * UNIT), ==, 0);
	fake_pin(fake, (struct extent){ memory_of(file).start, UNIT });
	g_assert_cmpint(file_allocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, UNIT), ==, 0);
	fake->hold = true;
	file_destroy(file);
	fake_unpin(fake);
	poll(fake, &state, &now, 3);
	g_assert_cmpuint(usage_of(fake).pinned, ==, 0);
	g_assert_cmpuint(used(fake), ==, 4 * UNIT);
	g_assert_cmpuint(fake_promised_bytes(fake), ==, UNIT);
	fake_release_held(fake);
	g_assert_cmpuint(used(fake), ==, 0);
	fake_destroy(fake);
}

/* The device held more than the file, which has a hole and is mapped, may touch. */
static void what_is_held_counts_until_the_device_lets_go(void)
{
	struct fake *fake = new_fake();
	struct file *file = file_new(&fake->storage, 2);
	struct pins_poll state = { .unpinned = tell_storage, .data = &fake->storage };
	gint64 now = 1;

	quota_assign(fake->storage.quotas, file_account(file), quotas_root(fake->storage.quotas), 0);
	file_restore_alloc(file, true, false);
	g_assert_cmpint(file_truncate(file, 4 * UNIT), ==, 0);
	g_assert_cmpint(file_allocate(file, 0, 0, 4 * UNIT), ==, 0);
	fake_pin(fake, (struct extent){ memory_of(file).start + UNIT, 3 * UNIT });
	g_assert_cmpint(file_truncate(file, UNIT), ==, 0);
	fake->hold = true;
	file_destroy(file);
	g_assert_cmpuint(used(fake), ==, 4 * UNIT);
	fake_unpin(fake);
	poll(fake, &state, &now, 3);
	g_assert_cmpuint(used(fake), ==, UNIT);
	fake_release_held(fake);
	g_assert_cmpuint(used(fake), ==, 0);
	fake_destroy(fake);
}

/* With demand allocation, the file may not touch as much as devices hold: it is not charged for both. */
static void a_file_that_grows_is_charged_once(void)
{
	struct fake *fake = new_fake();
	struct file *file = file_new(&fake->storage, 2);
	struct pins_poll state = { .unpinned = tell_file, .data = file };
	gint64 now = 1;

	quota_assign(fake->storage.quotas, file_account(file), quotas_root(fake->storage.quotas), 0);
	file_restore_alloc(file, true, false);
	g_assert_cmpint(file_truncate(file, 4 * UNIT), ==, 0);
	g_assert_cmpint(file_allocate(file, 0, 0, 4 * UNIT), ==, 0);
	fake_pin(fake, (struct extent){ memory_of(file).start, 2 * UNIT });
	g_assert_cmpint(file_truncate(file, 0), ==, 0);
	g_assert_cmpuint(used(fake), ==, 2 * UNIT);
	/* Nor is it refused for both, by the quota or by the pool. */
	quota_set_limit(fake->storage.quotas, quotas_root(fake->storage.quotas), QUOTA_BYTES, UNITS * UNIT);
	g_assert_cmpint(file_truncate(file, (UNITS + 1) * UNIT), ==, -EDQUOT);
	g_assert_cmpint(file_truncate(file, UNITS * UNIT), ==, 0);
	g_assert_cmpuint(used(fake), ==, UNITS * UNIT);
	g_assert_cmpuint(fake_promised_bytes(fake), ==, (UNITS - 2) * UNIT);
	g_assert_cmpint(file_truncate(file, 0), ==, 0);
	g_assert_cmpint(file_truncate(file, 4 * UNIT), ==, 0);
	g_assert_cmpuint(used(fake), ==, 4 * UNIT);
	g_assert_cmpuint(fake_promised_bytes(fake), ==, 2 * UNIT);
	fake_unpin(fake);
	poll(fake, &state, &now, 3);
	g_assert_cmpuint(used(fake), ==, 4 * UNIT);
	g_assert_cmpuint(fake_promised_bytes(fake), ==, 4 * UNIT);
	g_assert_cmpint(file_truncate(file, 0), ==, 0);
	file_destroy(file);
	fake_destroy(fake);
}

static void the_next_daemon_finds_it(void)
{
	struct fake *fake = new_fake();
	struct file *file = file_new(&fake->storage, 2);
	struct pins_poll state = { 0 };
	gint64 now = 1;

	g_assert_cmpint(file_truncate(file, 3 * UNIT), ==, 0);
	fake_pin(fake, memory_of(file));
	g_assert_cmpint(file_truncate(file, 0), ==, 0);
	file_destroy(file);
	g_assert_cmpint(store_flush(fake->storage.store), ==, 0);
	fake_restart(fake);
	g_assert_cmpuint(usage_of(fake).pinned, ==, 0);
	pins_load(&fake->storage);
	pins_load(&fake->storage);
	g_assert_cmpuint(usage_of(fake).pinned, ==, 3 * UNIT);
	file = file_new(&fake->storage, 3);
	g_assert_cmpint(file_truncate(file, (UNITS - 3) * UNIT), ==, 0);
	g_assert_cmpint(file_truncate(file, (UNITS - 2) * UNIT), ==, -ENOSPC);
	fake_unpin(fake);
	poll(fake, &state, &now, 3);
	g_assert_cmpint(file_truncate(file, UNITS * UNIT), ==, 0);
	file_destroy(file);
	fake_destroy(fake);
}

struct told {
	unsigned times;
	uint64_t bytes;
};

static void count_told(const struct unpinned *memory, void *data)
{
	struct told *told = data;

	g_assert_cmpuint(memory->ino, ==, 2);
	told->times++;
	told->bytes += memory->bytes;
}

/*
 * Page by page, as of a guest of half a TiB with devices that used every other page. Work that grows with the square of the
 * number of pins would take minutes, in which the daemon does nothing else.
 */
static void many_pins_end_at_once(void)
{
	enum { PAGES = 1 << 17 };
	struct fake *fake = new_fake();
	struct told told = { 0 };
	struct pins_poll state = { .unpinned = count_told, .data = &told };
	const struct memory_region region = { UINT64_C(1) << 42, 2 * PAGES * UNIT, 0, PAGE_ORDER_2M };
	const struct pool_user user = { .ino = 2 };
	g_autoptr(GArray) regions = g_array_new(FALSE, FALSE, sizeof(region));
	struct storage storage = fake->storage;
	gint64 now = 1, begun = g_get_monotonic_time();

	g_array_append_val(regions, region);
	storage.pool = pool_new(regions, 1, NULL);
	for (guint i = 0; i < PAGES; i++) {
		/* Not by address. */
		const struct extent page = { region.start + (i * 5 % PAGES) * 2 * UNIT, UNIT };

		g_assert_true(pool_claim(storage.pool, page));
		pool_pin_used(storage.pool, page, g_get_real_time(), &user);
	}
	g_assert_cmpuint(pool_remaining_bytes(storage.pool, 2), ==, PAGES * UNIT);
	pins_poll(&storage, &state, now);
	pins_poll(&storage, &state, now + PINS_DELAY_FIRST);
	g_assert_cmpuint(told.times, ==, 1);
	g_assert_cmpuint(told.bytes, ==, PAGES * UNIT);
	g_assert_cmpuint(pool_remaining_bytes(storage.pool, 2), ==, 0);
	g_assert_cmpint(g_get_monotonic_time() - begun, <, 20 * G_TIME_SPAN_SECOND);
	pool_destroy(storage.pool);
	fake_destroy(fake);
}

/* A device holds memory of a region that is not in the configuration any more, so that it is not in the pool either. */
static void former_regions_are_released_when_they_can_be(void)
{
	struct fake *fake = new_fake();
	struct pins_poll state = { 0 };
	gint64 now = 1;

	fake->former = 2;
	fake_pin(fake, (struct extent){ UINT64_C(1) << 40, UNIT });
	poll(fake, &state, &now, 120);
	g_assert_cmpuint(usage_of(fake).pinned, ==, 0);
	g_assert_cmpuint(usage_of(fake).pinned_former, ==, UNIT);
	g_assert_cmpuint(fake->former, ==, 2);
	fake_unpin(fake);
	poll(fake, &state, &now, 61);
	g_assert_cmpuint(fake->former, ==, 0);
	g_assert_cmpuint(usage_of(fake).pinned_former, ==, 0);
	fake->former = 1; /* is not asked for again */
	poll(fake, &state, &now, 121);
	g_assert_cmpuint(fake->former, ==, 1);
	fake_destroy(fake);
}

static void raw_memory_is_never_asked_about(void)
{
	struct fake *fake = fake_new(UNITS * UNIT, UNIT);
	struct file *file = file_new(&fake->storage, 2);

	g_assert_cmpint(file_truncate(file, 3 * UNIT), ==, 0);
	g_assert_cmpint(file_truncate(file, UNIT), ==, 0);
	pins_load(&fake->storage);
	file_destroy(file);
	g_assert_cmpint(store_flush(fake->storage.store), ==, 0);
	g_assert_cmpuint(fake->asked, ==, 0);
	fake_destroy(fake);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_log_set_always_fatal(G_LOG_FATAL_MASK);
	g_test_add_func("/pins/wait", what_a_device_holds_waits_until_it_lets_go);
	g_test_add_func("/pins/back-off", it_is_asked_for_less_and_less_often);
	g_test_add_func("/pins/back-off/more", more_of_it_does_not_delay_the_poll);
	g_test_add_func("/pins/removed", memory_of_a_removed_file_is_looked_at_when_it_is_idle);
	g_test_add_func("/pins/promise", what_is_pinned_is_not_promised_again);
	g_test_add_func("/pins/promise/race", what_comes_back_is_promised_at_once);
	g_test_add_func("/pins/quota", what_is_pinned_counts_in_the_quota);
	g_test_add_func("/pins/quota/mapped", what_is_mapped_counts_after_the_device_lets_go);
	g_test_add_func("/pins/quota/demand", what_may_be_touched_counts_after_the_device_lets_go);
	g_test_add_func("/pins/quota/shrunk", what_is_held_counts_until_the_device_lets_go);
	g_test_add_func("/pins/quota/grows", a_file_that_grows_is_charged_once);
	g_test_add_func("/pins/restart", the_next_daemon_finds_it);
	g_test_add_func("/pins/many", many_pins_end_at_once);
	g_test_add_func("/pins/former", former_regions_are_released_when_they_can_be);
	g_test_add_func("/pins/raw", raw_memory_is_never_asked_about);
	return g_test_run();
}

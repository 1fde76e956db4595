// SPDX-License-Identifier: GPL-2.0-or-later
/* A daemon starts while a device holds memory that a file gave up before. */
#include <errno.h>
#include <glib/gstdio.h>
#include <stdio.h>

#include "base/page_order.h"
#include "file/pins.h"
#include "unit/namespace/world.h"

#define ROOT  STORE_ROOT_INO
#define UNIT  DMEMFS_PAGE_2M
#define UNITS 8

static struct pool_usage usage_of(struct world *world)
{
	struct pool_usage usage;

	pool_get_usage(world->fake->storage.pool, &usage);
	return usage;
}

/* Makes a file of four units that has no name, but that the kernel knows. Returns its memory, which is one run. */
static struct extent make_removed(struct world *world)
{
	g_autofree char *text = NULL;
	struct file *file;
	struct stat attr;
	struct extent run;
	uint64_t offset;

	g_assert_cmpint(namespace_make(world->ns, ROOT, "vm", S_IFREG | 0600, NULL, world_caller, &attr), ==, 0);
	g_assert_cmpint(namespace_get_file(world->ns, attr.st_ino, &file), ==, 0);
	g_assert_cmpint(file_truncate(file, 4 * UNIT), ==, 0);
	text = file_describe_extents(file);
	namespace_put_file(world->ns, attr.st_ino);
	g_assert_cmpint(sscanf(text, "%" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT, &offset,
	                       &run.start, &run.length),
	                ==, 3);
	g_assert_cmpuint(run.length, ==, 4 * UNIT);
	g_assert_cmpint(namespace_unlink(world->ns, ROOT, "vm"), ==, 0);
	return run;
}

/*
 * Starts the next daemon while a device holds @held, relative to the memory of the removed file, whose object is gone, but whose record
 * is not.
 */
static void start_with(struct extent held)
{
	struct world world = { .fake = fake_new_paged(UNITS * UNIT, UNIT, PAGE_ORDER_2M) };
	struct pins_poll poll = { 0 };
	struct extent found;

	world_start(&world);
	found = make_removed(&world);
	held.start += found.start;
	namespace_destroy(world.ns, false);
	fake_restart(world.fake);
	fake_pin(world.fake, held);
	world_start(&world);
	g_assert_cmpint(store_flush(world.fake->storage.store), ==, 0);
	g_assert_cmpuint(usage_of(&world).pinned, ==, held.length);
	g_assert_cmpuint(usage_of(&world).free, ==, UNITS * UNIT - held.length);
	fake_unpin(world.fake);
	pins_poll(&world.fake->storage, &poll, 1);
	pins_poll(&world.fake->storage, &poll, 1 + PINS_DELAY_LAST);
	g_assert_cmpuint(usage_of(&world).free, ==, UNITS * UNIT);
	namespace_destroy(world.ns, true);
	fake_destroy(world.fake);
}

static void the_rest_of_the_file_is_freed(void)
{
	start_with((struct extent){ UNIT, UNIT });
}

static void all_of_the_file_is_held(void)
{
	start_with((struct extent){ 0, 4 * UNIT });
}

struct tenant {
	struct world world;
	char *fail_commits;
	uint64_t dir, ino;
	struct extent memory;
	gint64 begun;
};

/* One commit succeeds for each character of @successes, and all after them fail; NULL: none fails. */
static void fail_commits(const struct tenant *tenant, const char *successes)
{
	g_unlink(tenant->fail_commits);
	if (successes)
		g_assert_true(g_file_set_contents(tenant->fail_commits, successes, -1, NULL));
}

static struct file *file_of(struct tenant *tenant)
{
	struct file *file;

	g_assert_cmpint(namespace_get_file(tenant->world.ns, tenant->ino, &file), ==, 0);
	return file;
}

static int resize(struct tenant *tenant, uint64_t size)
{
	int err = file_truncate(file_of(tenant), size);

	namespace_put_file(tenant->world.ns, tenant->ino);
	return err;
}

/* A directory with a limit of six units, and in it a file "vm" of four; a device holds @held of its memory. */
static void tenant_set_up(struct tenant *tenant, gconstpointer held)
{
	struct extent part = *(const struct extent *)held;
	g_autofree char *text = NULL;
	uint64_t offset;

	tenant->world.fake = fake_new_paged(UNITS * UNIT, UNIT, PAGE_ORDER_2M);
	tenant->fail_commits = g_build_filename(tenant->world.fake->state_dir, "fail-commits", NULL);
	g_setenv("DMEMFS_FAIL_COMMITS", tenant->fail_commits, TRUE);
	tenant->begun = g_get_real_time();
	world_start(&tenant->world);
	tenant->dir = world_make(&tenant->world, ROOT, "tenant", S_IFDIR | 0755);
	g_assert_cmpint(namespace_set_limit(tenant->world.ns, tenant->dir, QUOTA_BYTES, 6 * UNIT, 0), ==, 0);
	tenant->ino = world_make(&tenant->world, tenant->dir, "vm", S_IFREG | 0600);
	g_assert_cmpint(resize(tenant, 4 * UNIT), ==, 0);
	text = file_describe_extents(file_of(tenant));
	namespace_put_file(tenant->world.ns, tenant->ino);
	g_assert_cmpint(sscanf(text, "%" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT, &offset,
	                       &tenant->memory.start, &tenant->memory.length),
	                ==, 3);
	g_assert_cmpuint(tenant->memory.length, ==, 4 * UNIT);
	part.start += tenant->memory.start;
	fake_pin(tenant->world.fake, part);
}

static uint64_t used(struct tenant *tenant)
{
	struct quota_usage usage;

	g_assert_cmpint(namespace_get_quota(tenant->world.ns, tenant->dir, &usage), ==, 0);
	return usage.used.of[QUOTA_BYTES];
}

static void tell(const struct unpinned *memory, void *data)
{
	struct world *world = data;
	struct file *file;

	if (namespace_get_file(world->ns, memory->ino, &file) == 0) {
		file_unpinned(file, memory);
		namespace_put_file(world->ns, memory->ino);
	} else {
		storage_unpinned(&world->fake->storage, memory);
	}
}

static void let_go(struct tenant *tenant)
{
	struct pins_poll poll = { .unpinned = tell, .data = &tenant->world };

	fake_unpin(tenant->world.fake);
	pins_poll(&tenant->world.fake->storage, &poll, 1);
	pins_poll(&tenant->world.fake->storage, &poll, 1 + PINS_DELAY_LAST);
	g_assert_cmpuint(usage_of(&tenant->world).pinned, ==, 0);
}

static void tenant_tear_down(struct tenant *tenant, gconstpointer held)
{
	g_autoptr(GArray) rows = store_held_new();
	g_autofree char *drift = NULL;

	(void)held;
	let_go(tenant);
	drift = namespace_check_quotas(tenant->world.ns);
	g_assert_cmpstr(drift, ==, NULL);
	namespace_unlink(tenant->world.ns, tenant->dir, "vm");
	g_assert_cmpint(store_flush(tenant->world.fake->storage.store), ==, 0);
	g_assert_cmpuint(used(tenant), ==, 0);
	/* What was held is forgotten at the latest at the next start. */
	world_restart(&tenant->world);
	g_assert_cmpint(store_list_held(tenant->world.fake->storage.store, rows), ==, 0);
	g_assert_cmpuint(rows->len, ==, 0);
	namespace_destroy(tenant->world.ns, true);
	fake_destroy(tenant->world.fake);
	g_free(tenant->fail_commits);
}

/* The only pin, which @name had. */
static void assert_pin(struct tenant *tenant, uint64_t units, const char *name)
{
	g_autoptr(GArray) pins = pool_get_pins(tenant->world.fake->storage.pool);
	g_autofree char *drift = namespace_check_quotas(tenant->world.ns);
	const struct pool_pin *pin = &g_array_index(pins, struct pool_pin, 0);

	g_assert_cmpuint(pins->len, ==, 1);
	g_assert_cmpuint(pin->extent.length, ==, units * UNIT);
	g_assert_cmpuint(pin->last.ino, ==, tenant->ino);
	g_assert_cmpstr(pin->last.name, ==, name);
	g_assert_cmpint(pin->since, >=, tenant->begun);
	g_assert_cmpstr(drift, ==, NULL);
}

/* Since when the only pin is there. */
static int64_t pinned_since(struct tenant *tenant)
{
	g_autoptr(GArray) pins = pool_get_pins(tenant->world.fake->storage.pool);

	g_assert_cmpuint(pins->len, ==, 1);
	return g_array_index(pins, struct pool_pin, 0).since;
}

/* Two starts later the age counts from the time when the file gave the memory up. */
static void restart_twice(struct tenant *tenant)
{
	g_autofree char *drift = namespace_check_quotas(tenant->world.ns);
	int64_t since = pinned_since(tenant);

	g_assert_cmpstr(drift, ==, NULL);
	g_usleep(1000);
	world_restart(&tenant->world);
	world_restart(&tenant->world);
	g_assert_cmpint(pinned_since(tenant), ==, since);
}

static void what_a_file_gave_up_counts_for_it(struct tenant *tenant, gconstpointer held)
{
	(void)held;
	g_assert_cmpint(resize(tenant, 0), ==, 0);
	restart_twice(tenant);
	assert_pin(tenant, 2, "");
	g_assert_cmpuint(used(tenant), ==, 2 * UNIT);
	g_assert_cmpint(resize(tenant, 5 * UNIT), ==, -EDQUOT);
	g_assert_cmpint(resize(tenant, 4 * UNIT), ==, 0);
}

static void what_a_removed_file_had_counts_in_its_quota(struct tenant *tenant, gconstpointer held)
{
	(void)held;
	g_assert_cmpint(namespace_unlink(tenant->world.ns, tenant->dir, "vm"), ==, 0);
	restart_twice(tenant);
	assert_pin(tenant, 2, "vm");
	g_assert_cmpuint(used(tenant), ==, 2 * UNIT);
}

/* It gave the memory up before it was removed. */
static void name_and_quota_follow_the_removal(struct tenant *tenant, gconstpointer held)
{
	(void)held;
	g_assert_cmpint(resize(tenant, 0), ==, 0);
	g_assert_cmpint(namespace_unlink(tenant->world.ns, tenant->dir, "vm"), ==, 0);
	restart_twice(tenant);
	assert_pin(tenant, 2, "vm");
	g_assert_cmpuint(used(tenant), ==, 2 * UNIT);
}

/* No later daemon lets the file touch as much other memory instead. */
static void demand_allocation_stays_limited(struct tenant *tenant, gconstpointer held)
{
	struct file *file = file_of(tenant);

	(void)held;
	g_assert_cmpint(file_truncate(file, 0), ==, 0);
	g_assert_cmpint(file_set_demand(file, true), ==, 0);
	g_assert_cmpint(file_truncate(file, 4 * UNIT), ==, 0);
	namespace_put_file(tenant->world.ns, tenant->ino);
	restart_twice(tenant);
	assert_pin(tenant, 2, "");
	file = file_of(tenant);
	g_assert_cmpint(file_allocate(file, 0, 0, 3 * UNIT), ==, -ENOSPC);
	g_assert_cmpint(file_allocate(file, 0, 0, 2 * UNIT), ==, 0);
	namespace_put_file(tenant->world.ns, tenant->ino);
	g_assert_cmpuint(used(tenant), ==, 4 * UNIT);
}

/* The device lets go, another file gets the memory, and the device holds it again. */
static void the_last_owner_counts(struct tenant *tenant, gconstpointer held)
{
	struct extent pinned = g_array_index(tenant->world.fake->pinned, struct extent, 0);

	(void)held;
	g_assert_cmpint(namespace_unlink(tenant->world.ns, tenant->dir, "vm"), ==, 0);
	let_go(tenant);
	tenant->ino = world_make(&tenant->world, ROOT, "other", S_IFREG | 0600);
	g_assert_cmpint(resize(tenant, UNITS * UNIT), ==, 0);
	fake_pin(tenant->world.fake, pinned);
	g_assert_cmpint(resize(tenant, 0), ==, 0);
	restart_twice(tenant);
	assert_pin(tenant, 2, "");
	g_assert_cmpuint(used(tenant), ==, 0);
	let_go(tenant);
	g_assert_cmpint(namespace_unlink(tenant->world.ns, ROOT, "other"), ==, 0);
}

/* The region left the configuration: it is no part of the pool, and its owner and age are known all the same. */
static void held_memory_of_a_former_region(struct tenant *tenant, gconstpointer held)
{
	const struct storage *storage = &tenant->world.fake->storage;
	const struct extent far = { UINT64_C(1) << 40, 2 * UNIT }, farther = { UINT64_C(1) << 41, UNIT };
	const struct store_held row = {
		.extent = { far.start - UNIT, 2 * UNIT }, .since = 5, .ino = 77, .name = (char *)"gone"
	};
	struct pins_poll poll = { 0 };

	(void)held;
	tenant->world.fake->former = 1;
	fake_unpin(tenant->world.fake);
	store_begin(storage->store);
	store_put_held(storage->store, &row);
	g_assert_cmpint(store_commit(storage->store), ==, 0);
	fake_pin(tenant->world.fake, far);
	fake_pin(tenant->world.fake, farther);
	for (int i = 0; i < 3; i++) {
		g_autoptr(GArray) pins = pins_list(storage);
		const struct pool_pin *pin = (const struct pool_pin *)pins->data;

		g_assert_cmpuint(usage_of(&tenant->world).pinned_former, ==, i ? 3 * UNIT : 0);
		g_assert_cmpuint(pins->len, ==, i ? 3 : 0);
		if (i) {
			g_assert_cmpuint(pin[0].extent.start, ==, far.start);
			g_assert_cmpuint(pin[0].last.ino, ==, 77);
			g_assert_cmpstr(pin[0].last.name, ==, "gone");
			g_assert_cmpint(pin[0].since, ==, 5);
			g_assert_cmpuint(pin[1].last.ino | pin[2].last.ino, ==, 0);
			g_assert_cmpint(pin[2].since, >=, tenant->begun);
			g_assert_cmpuint(pins_oldest(storage), >, 1000);
		}
		world_restart(&tenant->world);
		pins_poll(storage, &poll, 1);
	}
	/* No new file gets the number of the owner. */
	g_assert_cmpuint(world_make(&tenant->world, ROOT, "new", S_IFREG | 0600), >, 77);
	g_assert_cmpint(namespace_unlink(tenant->world.ns, ROOT, "new"), ==, 0);
	fake_unpin(tenant->world.fake);
	pins_poll(storage, &poll, 1 + PINS_DELAY_LAST);
	g_assert_cmpuint(usage_of(&tenant->world).pinned_former, ==, 0);
	g_assert_cmpuint(pins_oldest(storage), ==, 0);
}

#ifndef NDEBUG
/* The state directory is full: the file keeps its memory, so that nothing of it is pinned. */
static void a_shrink_that_fails_pins_nothing(struct tenant *tenant, gconstpointer held)
{
	(void)held;
	fail_commits(tenant, "");
	g_assert_cmpint(resize(tenant, 0), ==, -ENOSPC);
	g_assert_cmpuint(usage_of(&tenant->world).pinned, ==, 0);
	fail_commits(tenant, NULL);
	g_assert_cmpint(resize(tenant, 0), ==, 0);
	restart_twice(tenant);
	assert_pin(tenant, 2, "");
}

/* The daemon ends before it could delete the record of the file: the next one finds the memory held, and the file on record. */
static void an_owner_that_is_on_record_is_known(struct tenant *tenant, gconstpointer held)
{
	struct world *world = &tenant->world;

	(void)held;
	fail_commits(tenant, ".");
	g_assert_cmpint(namespace_unlink(world->ns, tenant->dir, "vm"), ==, 0);
	g_assert_cmpuint(usage_of(world).pinned, ==, 2 * UNIT);
	namespace_destroy(world->ns, true);
	store_close(world->fake->storage.store);
	fail_commits(tenant, NULL);
	world->fake->storage.store = store_open(world->fake->state_dir, 0, 0, NULL);
	fake_restart(world->fake);
	world_start(world);
	g_assert_cmpint(store_flush(world->fake->storage.store), ==, 0);
	assert_pin(tenant, 2, "");
	g_assert_cmpuint(used(tenant), ==, 2 * UNIT);
	restart_twice(tenant);
	assert_pin(tenant, 2, "");
	g_assert_cmpuint(used(tenant), ==, 2 * UNIT);
}

#endif

static void add(const char *path, void (*test)(struct tenant *tenant, gconstpointer held))
{
	static const struct extent two_units = { UNIT, 2 * UNIT };

	g_test_add(path, struct tenant, &two_units, tenant_set_up, test, tenant_tear_down);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_log_set_always_fatal(G_LOG_FATAL_MASK);
	g_test_add_func("/held-memory/some", the_rest_of_the_file_is_freed);
	g_test_add_func("/held-memory/all", all_of_the_file_is_held);
	add("/held-memory/shrunk", what_a_file_gave_up_counts_for_it);
	add("/held-memory/removed", what_a_removed_file_had_counts_in_its_quota);
	add("/held-memory/shrunk-and-removed", name_and_quota_follow_the_removal);
	add("/held-memory/demand", demand_allocation_stays_limited);
	add("/held-memory/former", held_memory_of_a_former_region);
	add("/held-memory/last-owner", the_last_owner_counts);
#ifndef NDEBUG
	add("/held-memory/shrink-fails", a_shrink_that_fails_pins_nothing);
	add("/held-memory/removal-fails", an_owner_that_is_on_record_is_known);
#endif
	return g_test_run();
}

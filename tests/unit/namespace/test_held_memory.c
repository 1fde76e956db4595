// SPDX-License-Identifier: GPL-2.0-or-later
/* A daemon starts while a device holds memory of a removed file, whose object is gone, but whose record is not. */
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

/* Starts the next daemon while a device holds @held, relative to the memory of the removed file. */
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
	pins_load(&world.fake->storage);
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

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_log_set_always_fatal(G_LOG_FATAL_MASK);
	g_test_add_func("/held-memory/some", the_rest_of_the_file_is_freed);
	g_test_add_func("/held-memory/all", all_of_the_file_is_held);
	return g_test_run();
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* For each change: when its commit fails, memory and record are as before, and the change works once there is room. */
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <glib/gstdio.h>
#include <stdio.h>

#include "base/page_order.h"
#include "file/pins.h"
#include "unit/namespace/world.h"

#define ROOT STORE_ROOT_INO

/* The tree that the changes are made on: a quota, files with and without memory, links. */
struct grove {
	uint64_t limited, outside, file, small, linked, empty;
};

static uint64_t make_file(struct world *world, uint64_t parent, const char *name, uint64_t size)
{
	uint64_t ino = world_make(world, parent, name, S_IFREG | 0644);
	struct file *file;

	g_assert_cmpint(namespace_get_file(world->ns, ino, &file), ==, 0);
	g_assert_cmpint(file_truncate(file, size), ==, 0);
	namespace_put_file(world->ns, ino);
	return ino;
}

static void plant(struct world *world, struct grove *grove)
{
	struct stat attr;

	grove->limited = world_make(world, ROOT, "limited", S_IFDIR | 0755);
	grove->outside = world_make(world, ROOT, "outside", S_IFDIR | 0755);
	g_assert_cmpint(namespace_set_limit(world->ns, grove->limited, QUOTA_FILES, 20, 0), ==, 0);
	grove->file = make_file(world, grove->limited, "file", 3 * DMEMFS_PAGE_2M);
	grove->small = make_file(world, grove->outside, "small", 10);
	grove->linked = world_make(world, grove->limited, "linked", S_IFREG | 0644);
	g_assert_cmpint(namespace_link(world->ns, grove->linked, grove->limited, "again", &attr), ==, 0);
	namespace_forget(world->ns, grove->linked, 1);
	grove->empty = world_make(world, grove->limited, "empty", S_IFDIR | 0755);
	g_assert_cmpint(namespace_setxattr(world->ns, grove->small, "user.a", "1", 1, 0), ==, 0);
}

static int try_make(struct namespace *ns, const struct grove *grove, mode_t mode)
{
	struct stat attr;
	int err = namespace_make(ns, grove->limited, "new", mode, "target", world_caller, &attr);

	if (!err)
		namespace_forget(ns, attr.st_ino, 1);
	return err;
}

static int make_a_file(struct namespace *ns, const struct grove *grove)
{
	return try_make(ns, grove, S_IFREG | 0644);
}

static int make_a_directory(struct namespace *ns, const struct grove *grove)
{
	return try_make(ns, grove, S_IFDIR | 0755);
}

static int make_a_symlink(struct namespace *ns, const struct grove *grove)
{
	return try_make(ns, grove, S_IFLNK | 0777);
}

static int add_a_link(struct namespace *ns, const struct grove *grove)
{
	struct stat attr;
	int err = namespace_link(ns, grove->linked, grove->limited, "new", &attr);

	if (!err)
		namespace_forget(ns, grove->linked, 1);
	return err;
}

static int remove_a_file(struct namespace *ns, const struct grove *grove)
{
	return namespace_unlink(ns, grove->limited, "file");
}

static int remove_a_link(struct namespace *ns, const struct grove *grove)
{
	return namespace_unlink(ns, grove->limited, "again");
}

static int remove_a_directory(struct namespace *ns, const struct grove *grove)
{
	return namespace_rmdir(ns, grove->limited, "empty");
}

static int move_out(struct namespace *ns, const struct grove *grove)
{
	return namespace_rename(ns, grove->limited, "file", grove->outside, "new", 0);
}

static int replace(struct namespace *ns, const struct grove *grove)
{
	return namespace_rename(ns, grove->outside, "small", grove->limited, "file", 0);
}

static int exchange(struct namespace *ns, const struct grove *grove)
{
	return namespace_rename(ns, grove->outside, "small", grove->limited, "file", RENAME_EXCHANGE);
}

static int change_mode(struct namespace *ns, const struct grove *grove)
{
	struct stat attr = { .st_mode = 0600 };

	return namespace_setattr(ns, grove->file, FUSE_SET_ATTR_MODE, &attr);
}

static int add_an_xattr(struct namespace *ns, const struct grove *grove)
{
	return namespace_setxattr(ns, grove->file, "user.b", "2", 1, 0);
}

static int change_an_xattr(struct namespace *ns, const struct grove *grove)
{
	return namespace_setxattr(ns, grove->small, "user.a", "longer", 6, 0);
}

static int remove_an_xattr(struct namespace *ns, const struct grove *grove)
{
	return namespace_removexattr(ns, grove->small, "user.a");
}

static int limit_another(struct namespace *ns, const struct grove *grove)
{
	return namespace_set_limit(ns, grove->outside, QUOTA_BYTES, DMEMFS_PAGE_1G, 0);
}

static int lift_the_limit(struct namespace *ns, const struct grove *grove)
{
	return namespace_set_limit(ns, grove->limited, QUOTA_FILES, QUOTA_UNLIMITED, 0);
}

static int set_a_page_size(struct namespace *ns, const struct grove *grove)
{
	return namespace_set_page_size(ns, grove->limited, 0, DMEMFS_PAGE_2M, 0);
}

static int set_demand(struct namespace *ns, const struct grove *grove)
{
	return namespace_set_alloc(ns, grove->linked, 0, "demand", 0);
}

static int set_demand_below(struct namespace *ns, const struct grove *grove)
{
	return namespace_set_alloc(ns, grove->outside, 0, "demand", 0);
}

static int resize(struct namespace *ns, uint64_t ino, uint64_t size)
{
	struct file *file;
	int err;

	g_assert_cmpint(namespace_get_file(ns, ino, &file), ==, 0);
	err = file_truncate(file, size);
	namespace_put_file(ns, ino);
	return err;
}

static int grow(struct namespace *ns, const struct grove *grove)
{
	return resize(ns, grove->file, 5 * DMEMFS_PAGE_2M);
}

static int grow_within_the_memory(struct namespace *ns, const struct grove *grove)
{
	return resize(ns, grove->small, 1000);
}

static int shrink(struct namespace *ns, const struct grove *grove)
{
	return resize(ns, grove->file, 1);
}

static int allocate_past_the_end(struct namespace *ns, const struct grove *grove)
{
	struct file *file;
	int err;

	g_assert_cmpint(namespace_get_file(ns, grove->small, &file), ==, 0);
	err = file_allocate(file, FALLOC_FL_KEEP_SIZE, 0, 3 * DMEMFS_PAGE_2M);
	namespace_put_file(ns, grove->small);
	return err;
}

static int (*const changes[])(struct namespace *ns, const struct grove *grove) = {
	make_a_file,
	make_a_directory,
	make_a_symlink,
	add_a_link,
	remove_a_file,
	remove_a_link,
	remove_a_directory,
	move_out,
	replace,
	exchange,
	change_mode,
	add_an_xattr,
	change_an_xattr,
	remove_an_xattr,
	limit_another,
	lift_the_limit,
	set_a_page_size,
	set_demand,
	set_demand_below,
	grow,
	grow_within_the_memory,
	shrink,
	allocate_past_the_end,
};

/* Lets @commits commits succeed and fails all after them; -1: no commit fails. */
static void fail_commits_after(const char *path, int commits)
{
	g_autofree char *text = g_strnfill((gsize)MAX(commits, 0), '.');

	g_unlink(path);
	if (commits >= 0)
		g_assert_true(g_file_set_contents(path, text, commits, NULL));
}

/* A change whose commit fails leaves memory, record and counts as they were, and works once there is room. */
static void test_commits_that_fail(struct world *world, gconstpointer data)
{
	int (*change)(struct namespace * ns, const struct grove *grove) =
		*(int (*const *)(struct namespace *, const struct grove *))data;
	g_autofree char *path = g_build_filename(world->fake->state_dir, "fail-commits", NULL);
	g_autofree char *before = NULL, *refused = NULL;
	struct grove grove;
	int commits = 0, err;

	g_setenv("DMEMFS_FAIL_COMMITS", path, TRUE);
	plant(world, &grove);
	before = world_description(world);
	fail_commits_after(path, 0);
	g_assert_cmpint(change(world->ns, &grove), ==, -ENOSPC);
	refused = world_description(world);
	g_assert_cmpstr(refused, ==, before);
	fail_commits_after(path, -1);
	world_make(world, ROOT, "other", S_IFREG | 0644);
	/* A change with several commits may be done in part; memory and record must then agree. */
	do {
		g_autofree char *then = NULL, *next = NULL;

		fail_commits_after(path, -1);
		namespace_flush(world->ns); /* removed files that wait for a transaction */
		then = world_description(world);
		world_restart(world);
		next = world_description(world);
		g_assert_cmpstr(next, ==, then);
		fail_commits_after(path, commits++);
		err = change(world->ns, &grove);
		g_assert_cmpint(commits, <, 10);
	} while (err == -ENOSPC);
	g_assert_cmpint(err, ==, 0);
	fail_commits_after(path, -1);
	namespace_flush(world->ns);
}

static struct pool_usage usage_of(struct fake *fake)
{
	struct pool_usage usage;

	pool_get_usage(fake->storage.pool, &usage);
	return usage;
}

/* A device held memory of a removed file, and lets go before the record of the file could be deleted. */
static void memory_on_record_is_not_free(void)
{
	const uint64_t unit = DMEMFS_PAGE_2M;
	struct fake *fake = fake_new_paged(8 * unit, unit, PAGE_ORDER_2M);
	g_autofree char *path = g_build_filename(fake->state_dir, "fail-commits", NULL);
	struct file *file = file_new(&fake->storage, 2);
	struct pins_poll poll = { 0 };

	g_setenv("DMEMFS_FAIL_COMMITS", path, TRUE);
	g_assert_cmpint(file_truncate(file, 2 * unit), ==, 0);
	fake_pin(fake, (struct extent){ UINT64_C(4) << 30, 2 * unit });
	fail_commits_after(path, 0);
	file_destroy(file);
	g_assert_cmpuint(usage_of(fake).pinned, ==, 2 * unit);
	fake_unpin(fake);
	pins_poll(&fake->storage, &poll, 1);
	pins_poll(&fake->storage, &poll, 1 + PINS_DELAY_LAST);
	g_assert_cmpuint(usage_of(fake).pinned, ==, 0);
	g_assert_cmpuint(usage_of(fake).free, ==, 6 * unit);
	g_assert_cmpuint(usage_of(fake).pending, ==, 2 * unit);
	fail_commits_after(path, -1);
	g_assert_cmpint(store_flush(fake->storage.store), ==, 0);
	g_assert_cmpuint(usage_of(fake).free, ==, 8 * unit);
	fake_destroy(fake);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	for (size_t i = 0; i < G_N_ELEMENTS(changes); i++) {
		g_autofree char *path = g_strdup_printf("/commits-that-fail/%zu", i);

		g_test_add(path, struct world, &changes[i], world_set_up, test_commits_that_fail, world_tear_down);
	}
	g_test_add_func("/commits-that-fail/pinned", memory_on_record_is_not_free);
	return g_test_run();
}

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Users can make trees of any shape. For each shape, start and stop take time linear in the number of inodes, and
 * other users' requests do not become slower.
 */
#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "namespace/namespace_quota.h"
#include "unit/namespace/world.h"

#define ROOT STORE_ROOT_INO
/* The depth of the chain: a walk to the root for each of its directories would cost some fifty times the rest. */
#define COUNT 20000
/* The factor that is allowed between shapes; sanitizers make differences larger. */
#define SLACK 6

static void tear_down(struct world *world, gconstpointer data)
{
	(void)data;
	namespace_destroy(world->ns, true);
	fake_destroy(world->fake);
}

/* CPU time of this thread, in seconds. */
static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void link_to(struct world *world, uint64_t ino, uint64_t parent, const char *name)
{
	struct stat attr;

	g_assert_cmpint(namespace_link(world->ns, ino, parent, name, &attr), ==, 0);
	namespace_forget(world->ns, ino, 1);
}

/* Each of these functions returns the directory that was made last. */
static uint64_t chain(struct world *world, uint64_t top)
{
	for (unsigned i = 0; i < COUNT; i++)
		top = world_make(world, top, "d", S_IFDIR | 0755);
	return top;
}

static uint64_t one_directory(struct world *world, uint64_t top)
{
	uint64_t last = top;
	char name[16];

	for (unsigned i = 0; i < COUNT; i++) {
		snprintf(name, sizeof(name), "d%u", i);
		last = world_make(world, top, name, S_IFDIR | 0755);
	}
	return last;
}

static uint64_t links_to_one(struct world *world, uint64_t top)
{
	uint64_t file = world_make(world, top, "file", S_IFREG | 0644);
	char name[16];

	for (unsigned i = 1; i < COUNT; i++) {
		snprintf(name, sizeof(name), "l%u", i);
		link_to(world, file, top, name);
	}
	return top;
}

static uint64_t links_to_many(struct world *world, uint64_t top)
{
	char name[16];

	for (unsigned i = 0; i < COUNT / 2; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		uint64_t file = world_make(world, top, name, S_IFIFO | 0644);

		name[0] = 'l';
		link_to(world, file, top, name);
	}
	return top;
}

static void set_limit(struct world *world, uint64_t dir)
{
	g_assert_cmpint(namespace_set_limit(world->ns, dir, QUOTA_FILES, 10 * COUNT, 0), ==, 0);
}

static uint64_t used(struct world *world, uint64_t dir)
{
	struct quota_usage usage;

	g_assert_cmpint(namespace_get_quota(world->ns, dir, &usage), ==, 0);
	return usage.used.of[QUOTA_FILES];
}

/* Seconds that the next daemon takes to open and check the record, load and count it, and to count again at the end. */
static double restart(struct world *world)
{
	double before = now();

	world_restart(world);
	return now() - before;
}

/*
 * Seconds to set a limit around the shape; one more limit is set further down where a directory of the shape can have
 * one.
 */
static double cost_of_restart(uint64_t (*shape)(struct world *world, uint64_t top), uint64_t inodes)
{
	struct world world;
	double cost;

	world_set_up(&world, NULL);
	uint64_t top = world_make(&world, ROOT, "top", S_IFDIR | 0755);
	uint64_t last = shape(&world, top);

	set_limit(&world, top);
	set_limit(&world, last);
	g_assert_cmpuint(used(&world, top), ==, inodes);
	cost = restart(&world);
	g_assert_cmpuint(used(&world, top), ==, inodes);
	g_assert_null(namespace_check_quotas(world.ns));
	tear_down(&world, NULL);
	return cost;
}

static void starts_are_linear(void)
{
	double flat = cost_of_restart(one_directory, COUNT);

	g_assert_cmpfloat(cost_of_restart(chain, COUNT), <, SLACK * flat);
	g_assert_cmpfloat(cost_of_restart(links_to_one, 1), <, SLACK * flat);
	g_assert_cmpfloat(cost_of_restart(links_to_many, COUNT / 2), <, SLACK * flat);
}

static double cost_of_makes(struct world *world, uint64_t dir, unsigned round)
{
	double before = now();
	char name[16];

	for (unsigned i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "f%u.%u", round, i);
		world_make(world, dir, name, S_IFREG | 0644);
	}
	return now() - before;
}

static void a_create_costs_the_same_at_any_depth(struct world *world, gconstpointer data)
{
	uint64_t shallow = world_make(world, world_make(world, ROOT, "a", S_IFDIR | 0755), "b", S_IFDIR | 0755);
	uint64_t deep = chain(world, world_make(world, ROOT, "top", S_IFDIR | 0755));
	double least_shallow = G_MAXDOUBLE, least_deep = G_MAXDOUBLE;

	(void)data;
	for (unsigned round = 0; round < 5; round++) {
		double cost_shallow = cost_of_makes(world, shallow, round),
		       cost_deep = cost_of_makes(world, deep, round);

		least_shallow = MIN(least_shallow, cost_shallow);
		least_deep = MIN(least_deep, cost_deep);
	}
	g_assert_cmpfloat(least_deep, <, 2 * least_shallow);
}

/* Any user may ask for the counts, and all requests wait meanwhile; so they must cost O(1). */
static void figures_cost_the_same_whatever_there_is(struct world *world, gconstpointer data)
{
	struct namespace_counts counts;
	double cost = now();

	(void)data;
	one_directory(world, ROOT);
	cost = now() - cost;
	for (unsigned i = 0; i < COUNT; i++) {
		double before = now();

		namespace_get_counts(world->ns, &counts);
		g_assert_cmpuint(counts.inodes, ==, COUNT + 1);
		g_assert_cmpfloat(cost -= now() - before, >, 0);
	}
}

/* Directories that are made, moved or limited after the load know their tree, too. */
static void inodes_keep_the_tree_they_are_in(struct world *world, gconstpointer data)
{
	uint64_t outer = world_make(world, ROOT, "outer", S_IFDIR | 0755);
	uint64_t other = world_make(world, ROOT, "other", S_IFDIR | 0755);
	uint64_t dir = world_make(world, outer, "dir", S_IFDIR | 0755);
	uint64_t stays = world_make(world, outer, "stays", S_IFDIR | 0755), below;

	(void)data;
	set_limit(world, outer);
	world_make(world, stays, "1", S_IFIFO);
	g_assert_cmpuint(used(world, outer), ==, 3);
	set_limit(world, other);
	g_assert_cmpint(namespace_rename(world->ns, outer, "stays", other, "stays", 0), ==, -EXDEV);
	g_assert_cmpint(namespace_rename(world->ns, outer, "dir", other, "dir", 0), ==, 0);
	below = world_make(world, dir, "below", S_IFDIR | 0755);
	world_make(world, below, "1", S_IFIFO);
	world_make(world, below, "2", S_IFIFO);
	g_assert_cmpuint(used(world, outer), ==, 2);
	g_assert_cmpuint(used(world, other), ==, 4);
	set_limit(world, dir);
	world_make(world, below, "3", S_IFIFO);
	g_assert_cmpuint(used(world, dir), ==, 4);
	g_assert_cmpint(namespace_set_limit(world->ns, other, QUOTA_FILES, QUOTA_UNLIMITED, 0), ==, 0);
	g_assert_cmpint(namespace_set_limit(world->ns, dir, QUOTA_FILES, QUOTA_UNLIMITED, 0), ==, 0);
	world_make(world, below, "4", S_IFIFO);
	g_assert_null(namespace_check_quotas(world->ns));
}

/*
 * A record that no daemon writes: an inode has names in two trees. Only the limits between its names are not in
 * force.
 */
static void torn_trees_are_served(struct world *world, gconstpointer data)
{
	uint64_t around = world_make(world, ROOT, "around", S_IFDIR | 0755),
		 a = world_make(world, around, "a", S_IFDIR | 0755);
	uint64_t b = world_make(world, around, "b", S_IFDIR | 0755), c = world_make(world, around, "c", S_IFDIR | 0755);
	uint64_t file = world_make(world, a, "file", S_IFREG | 0644);
	struct store *store = world->fake->storage.store;
	struct quota_usage usage;

	(void)data;
	link_to(world, file, b, "link");
	set_limit(world, around);
	set_limit(world, c);
	world_make(world, c, "other", S_IFREG | 0644);
	store_begin(store);
	store_put_xattr(store, a, "dmemfs.quota.max_files", "9", 1);
	store_put_xattr(store, b, "dmemfs.quota.max_files", "9", 1);
	g_assert_cmpint(store_commit(store), ==, 0);
	restart(world);
	g_assert_cmpint(namespace_get_quota(world->ns, a, &usage), ==, -ENODATA);
	g_assert_cmpint(namespace_get_quota(world->ns, b, &usage), ==, -ENODATA);
	g_assert_cmpuint(used(world, around), ==, 5);
	g_assert_cmpuint(used(world, c), ==, 1);
	g_assert_null(namespace_check_quotas(world->ns));

	g_assert_cmpint(namespace_unlink(world->ns, b, "link"), ==, 0);
	g_assert_cmpint(namespace_set_limit(world->ns, b, QUOTA_FILES, 8, 0), ==, 0);
	restart(world);
	g_assert_cmpuint(used(world, a), ==, 1);
	g_assert_cmpuint(used(world, b), ==, 0);
	g_assert_cmpuint(used(world, around), ==, 5);
	g_assert_null(namespace_check_quotas(world->ns));
}

#define TEST(name, function) g_test_add("/tree-shapes/" name, struct world, NULL, world_set_up, function, tear_down)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/tree-shapes/starts-are-linear", starts_are_linear);
	TEST("figures", figures_cost_the_same_whatever_there_is);
	TEST("create-at-any-depth", a_create_costs_the_same_at_any_depth);
	TEST("inodes-keep-their-tree", inodes_keep_the_tree_they_are_in);
	TEST("torn-trees", torn_trees_are_served);
	return g_test_run();
}

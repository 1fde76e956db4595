// SPDX-License-Identifier: GPL-2.0-or-later
/* Quota trees: nested limits, moves between trees, waiting for room, and the check of all sums. */
#include <errno.h>
#include <string.h>

#include "quota/quota.h"
#include "quota/quota_limit.h"

#define MIB (UINT64_C(1) << 20)

struct world {
	struct quotas *quotas;
	struct quota *outer, *inner, *other; /* inner is in outer */
	struct quota_cargo nothing;
	GHashTable *own;
};

static struct quota_cargo empty_cargo(void)
{
	return (struct quota_cargo){ g_ptr_array_new(), g_ptr_array_new(), 0 };
}

static void clear_cargo(struct quota_cargo *cargo)
{
	g_ptr_array_unref(cargo->accounts);
	g_ptr_array_unref(cargo->trees);
}

static void set_up(struct world *world, gconstpointer data)
{
	(void)data;
	world->quotas = quotas_new(1);
	world->nothing = empty_cargo();
	world->own = g_hash_table_new_full(NULL, NULL, NULL, g_free);
	world->outer = quota_new(world->quotas, quotas_root(world->quotas), 10, &world->nothing);
	world->inner = quota_new(world->quotas, world->outer, 11, &world->nothing);
	world->other = quota_new(world->quotas, quotas_root(world->quotas), 20, &world->nothing);
	quota_set_limit(world->quotas, world->outer, QUOTA_BYTES, 8 * MIB);
	quota_set_limit(world->quotas, world->inner, QUOTA_BYTES, 6 * MIB);
	quota_set_limit(world->quotas, world->other, QUOTA_BYTES, 4 * MIB);
}

static void tear_down(struct world *world, gconstpointer data)
{
	(void)data;
	quotas_destroy(world->quotas);
	g_hash_table_unref(world->own);
	clear_cargo(&world->nothing);
}

/* Notes what is in the tree, but in no inner one, for quotas_check(). */
static void expect(struct world *world, struct quota *tree, uint64_t bytes, uint64_t files)
{
	struct quota_amount *amount = g_new(struct quota_amount, 1);

	*amount = (struct quota_amount){ { bytes, files } };
	g_hash_table_insert(world->own, tree, amount);
}

static void check(struct world *world)
{
	g_autofree char *reason = quotas_check(world->quotas, world->own);

	g_assert_cmpstr(reason, ==, NULL);
}

static uint64_t used(struct world *world, struct quota *tree)
{
	struct quota_usage usage;

	quota_get_usage(world->quotas, tree, &usage);
	return usage.used.of[QUOTA_BYTES];
}

static void limits_of_all_trees_around_hold(struct world *world, gconstpointer data)
{
	struct quota_account file = { 0 }, beside = { 0 };
	struct quota_usage usage;

	(void)data;
	quota_assign(world->quotas, &file, world->inner, 0);
	quota_assign(world->quotas, &beside, world->outer, 0);
	g_assert_cmpint(quota_charge(world->quotas, &beside, 5 * MIB), ==, 0);
	g_assert_cmpint(quota_charge(world->quotas, &file, 4 * MIB), ==, -EDQUOT);
	g_assert_cmpuint(quota_room(world->quotas, &file), ==, 3 * MIB);
	g_assert_cmpint(quota_charge(world->quotas, &file, 3 * MIB), ==, 0);
	g_assert_cmpint(quota_charge(world->quotas, &file, 1), ==, -EDQUOT);
	quota_get_usage(world->quotas, world->inner, &usage);
	g_assert_cmpuint(usage.size.of[QUOTA_BYTES], ==, 6 * MIB);
	g_assert_cmpuint(usage.room.of[QUOTA_BYTES], ==, 0);
	quota_settle(world->quotas, &beside, 4 * MIB);
	g_assert_cmpuint(quota_room(world->quotas, &file), ==, MIB);
	expect(world, world->inner, 3 * MIB, 0);
	expect(world, world->outer, 4 * MIB, 0);
	check(world);
}

static void absurd_sizes_are_refused_and_do_not_wrap(struct world *world, gconstpointer data)
{
	struct quota_account first = { 0 }, second = { 0 };
	const uint64_t absurd = UINT64_C(1) << 63;

	(void)data;
	quota_assign(world->quotas, &first, quotas_root(world->quotas), 0);
	quota_assign(world->quotas, &second, quotas_root(world->quotas), 0);
	g_assert_cmpint(quota_charge(world->quotas, &first, absurd), ==, 0);
	g_assert_cmpint(quota_charge(world->quotas, &second, absurd), ==, -ENOSPC);
	quota_settle(world->quotas, &first, 0);
	g_assert_cmpint(quota_charge(world->quotas, &second, absurd), ==, 0);
}

static void move_is_all_or_nothing(struct world *world, gconstpointer data)
{
	struct quota_account large = { 0 }, small = { 0 };
	struct quota_patience patience;

	(void)data;
	quota_assign(world->quotas, &large, world->inner, 5 * MIB);
	quota_assign(world->quotas, &small, world->other, 3 * MIB);
	g_assert_cmpint(quota_add_file(world->quotas, world->inner, false), ==, 0);
	g_assert_cmpint(quota_add_file(world->quotas, world->other, false), ==, 0);
	g_assert_cmpint(quota_move(world->quotas, &large, world->other, &small, false, &patience), ==, -EDQUOT);
	g_assert_false(quota_wait(world->quotas, &patience));
	quota_set_limit(world->quotas, world->other, QUOTA_BYTES, 5 * MIB);
	g_assert_cmpint(quota_move(world->quotas, &large, world->other, &small, false, &patience), ==, 0);
	g_assert_cmpuint(used(world, world->outer), ==, 3 * MIB);
	g_assert_cmpuint(used(world, world->other), ==, 5 * MIB);
	quota_set_limit(world->quotas, world->other, QUOTA_BYTES, MIB);
	g_assert_cmpint(quota_move(world->quotas, &large, world->inner, &small, false, NULL), ==, 0);
	expect(world, world->inner, 5 * MIB, 1);
	expect(world, world->other, 3 * MIB, 1);
	check(world);
}

/* Trees are in a new tree when a directory around them gets a limit. */
static void trees_go_into_a_new_one(struct world *world, gconstpointer data)
{
	struct quota_account file = { 0 };
	struct quota_cargo cargo = empty_cargo();
	struct quota *middle;
	g_autofree char *path = NULL;

	(void)data;
	quota_assign(world->quotas, &file, world->inner, 4 * MIB);
	g_ptr_array_add(cargo.trees, world->inner);
	middle = quota_new(world->quotas, world->outer, 12, &cargo);
	g_assert_cmpuint(used(world, world->outer), ==, 4 * MIB);
	g_assert_cmpuint(used(world, middle), ==, 4 * MIB);
	quota_set_limit(world->quotas, middle, QUOTA_BYTES, 4 * MIB);
	g_assert_cmpint(quota_charge(world->quotas, &file, 1), ==, -EDQUOT);
	path = quota_path(world->quotas, world->inner);
	g_assert_cmpstr(path, ==, "11 12 10");
	expect(world, world->inner, 4 * MIB, 0);
	check(world);
	clear_cargo(&cargo);
}

static void dissolved_tree_stands_for_the_one_around(struct world *world, gconstpointer data)
{
	struct quota_account file = { 0 }, removed = { 0 };

	(void)data;
	quota_assign(world->quotas, &file, world->inner, 4 * MIB);
	quota_assign(world->quotas, &removed, world->inner, MIB);
	quota_retire(world->quotas, 77, &removed);
	quota_dissolve(world->quotas, world->inner);
	g_assert_true(quota_tree_of(world->quotas, &file) == world->outer);
	g_assert_cmpint(quota_charge(world->quotas, &file, 3 * MIB), ==, 0);
	expect(world, world->outer, 7 * MIB, 0);
	check(world);
	quota_dissolve(world->quotas, world->outer);
	g_assert_true(quota_tree_of(world->quotas, &file) == quotas_root(world->quotas));
	quota_idle(world->quotas, 77, 0);
	g_hash_table_remove_all(world->own);
	expect(world, quotas_root(world->quotas), 7 * MIB, 0);
	check(world);
	quota_assign(world->quotas, &file, NULL, 0);
	g_assert_cmpuint(used(world, quotas_root(world->quotas)), ==, 0);
}

static void what_devices_hold_of_a_removed_file_counts(struct world *world, gconstpointer data)
{
	struct quota_account removed = { 0 };

	(void)data;
	quota_assign(world->quotas, &removed, world->other, 4 * MIB);
	quota_retire(world->quotas, 77, &removed);
	quota_idle(world->quotas, 77, 3 * MIB);
	g_assert_cmpuint(used(world, world->other), ==, 3 * MIB);
	quota_idle(world->quotas, 77, 3 * MIB);
	quota_idle(world->quotas, 77, MIB);
	g_assert_cmpuint(used(world, world->other), ==, MIB);
	check(world);
	quota_idle(world->quotas, 77, 0);
	quota_idle(world->quotas, 77, MIB);
	g_assert_cmpuint(used(world, world->other), ==, 0);
	check(world);
}

static gpointer give_back_soon(gpointer data)
{
	struct world *world = data;

	g_usleep(50 * 1000);
	quota_idle(world->quotas, 77, 0);
	return NULL;
}

static void charge_waits_for_what_was_removed(struct world *world, gconstpointer data)
{
	struct quota_account removed = { 0 }, file = { 0 };
	gint64 start = g_get_monotonic_time();

	(void)data;
	quota_assign(world->quotas, &removed, world->other, 4 * MIB);
	quota_assign(world->quotas, &file, world->other, 0);
	g_assert_cmpint(quota_charge(world->quotas, &file, MIB), ==, -EDQUOT);
	g_assert_cmpint(g_get_monotonic_time() - start, <, 40 * 1000);
	quota_expect(world->quotas, &removed);
	quota_retire(world->quotas, 77, &removed);

	GThread *thread = g_thread_new("idle", give_back_soon, world);

	g_assert_cmpint(quota_charge(world->quotas, &file, 4 * MIB), ==, 0);
	g_assert_cmpint(quota_charge(world->quotas, &file, 5 * MIB), ==, -EDQUOT);
	g_thread_join(thread);
	expect(world, world->other, 4 * MIB, 0);
	check(world);
}

static void drift_is_found(struct world *world, gconstpointer data)
{
	struct quota_account file = { 0 };
	g_autofree char *reason = NULL;

	(void)data;
	quota_assign(world->quotas, &file, world->inner, 4 * MIB);
	expect(world, world->inner, 3 * MIB, 0);
	reason = quotas_check(world->quotas, world->own);
	g_assert_nonnull(strstr(reason, "4194304 bytes counted, 3145728 there"));
}

static void limits_are_text(void)
{
	uint64_t max;

	g_assert_true(quota_limit_parse(QUOTA_BYTES, "64G", 3, &max));
	g_assert_cmpuint(max, ==, UINT64_C(64) << 30);
	g_assert_true(quota_limit_parse(QUOTA_FILES, "1000\n", 5, &max));
	g_assert_cmpuint(max, ==, 1000);
	for (int i = 0; i < QUOTA_RESOURCES; i++) {
		g_assert_false(quota_limit_parse(i, "", 0, &max));
		g_assert_false(quota_limit_parse(i, "0", 1, &max));
		g_assert_false(quota_limit_parse(i, "1\0", 2, &max));
		g_assert_false(quota_limit_parse(i, "-1", 2, &max));
	}
	g_assert_false(quota_limit_parse(QUOTA_FILES, "1K", 2, &max));
}

int main(int argc, char **argv)
{
	static const struct {
		const char *path;
		void (*run)(struct world *world, gconstpointer data);
	} tests[] = {
		{ "/quota/nested", limits_of_all_trees_around_hold },
		{ "/quota/absurd", absurd_sizes_are_refused_and_do_not_wrap },
		{ "/quota/move", move_is_all_or_nothing },
		{ "/quota/new/trees", trees_go_into_a_new_one },
		{ "/quota/dissolve", dissolved_tree_stands_for_the_one_around },
		{ "/quota/held", what_devices_hold_of_a_removed_file_counts },
		{ "/quota/wait", charge_waits_for_what_was_removed },
		{ "/quota/check", drift_is_found },
	};

	g_test_init(&argc, &argv, NULL);
	for (size_t i = 0; i < G_N_ELEMENTS(tests); i++)
		g_test_add(tests[i].path, struct world, NULL, set_up, tests[i].run, tear_down);
	g_test_add_func("/quota/limit", limits_are_text);
	return g_test_run();
}

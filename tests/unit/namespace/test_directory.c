// SPDX-License-Identifier: GPL-2.0-or-later
/* The entries of a directory: lookups find names, and cookies stay stable while entries are added and removed. */
#include <glib.h>

#include "namespace/directory.h"
#include "store/store.h"

static void make(struct directory *dir, const char *prefix, unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++) {
		g_autofree char *name = g_strdup_printf("%s%u", prefix, i);

		directory_insert(dir, name, 100 + i);
	}
}

static void finds_what_was_inserted(void)
{
	struct directory *dir = directory_new();

	g_assert_null(directory_lookup(dir, "a"));
	directory_insert(dir, "a", 7);
	directory_insert(dir, "b", 8);
	g_assert_cmpuint(directory_lookup(dir, "a")->ino, ==, 7);
	g_assert_cmpuint(directory_lookup(dir, "b")->ino, ==, 8);
	g_assert_cmpuint(directory_count(dir), ==, 2);
	directory_remove(dir, directory_lookup(dir, "a"));
	g_assert_null(directory_lookup(dir, "a"));
	g_assert_cmpuint(directory_count(dir), ==, 1);
	directory_destroy(dir);
}

static void long_and_similar_names_are_distinct(void)
{
	struct directory *dir = directory_new();
	g_autofree char *first = g_strnfill(255, 'x');
	g_autofree char *second = g_strnfill(255, 'x');

	second[254] = 'y';
	directory_insert(dir, first, 1);
	directory_insert(dir, second, 2);
	directory_insert(dir, "\xff\xfe not UTF-8", 3);
	g_assert_cmpuint(directory_lookup(dir, first)->ino, ==, 1);
	g_assert_cmpuint(directory_lookup(dir, second)->ino, ==, 2);
	g_assert_cmpuint(directory_lookup(dir, "\xff\xfe not UTF-8")->ino, ==, 3);
	directory_destroy(dir);
}

static void scan_is_in_order_of_cookies(void)
{
	struct directory *dir = directory_new();
	struct directory_entry *entry;
	uint64_t cookie = UINT64_MAX;
	unsigned left = 1000;

	make(dir, "n", 0, 1000);
	while ((entry = directory_before(dir, cookie))) {
		left--;
		g_assert_cmpuint(entry->cookie, <, cookie);
		g_assert_cmpuint(entry->cookie, >=, STORE_COOKIE_FIRST);
		g_assert_cmpuint(entry->ino, ==, 100 + left);
		cookie = entry->cookie;
	}
	g_assert_cmpuint(left, ==, 0);
	g_assert_null(directory_before(dir, 0));
	directory_destroy(dir);
}

/*
 * Removals pack the array and insertions extend it during a scan: the scan returns old entries once and new ones
 * never.
 */
static void scan_survives_change(void)
{
	struct directory *dir = directory_new();
	struct directory_entry *entry;
	uint64_t cookie = UINT64_MAX;
	unsigned stable_seen = 0, steps = 0;

	make(dir, "stable", 0, 500);
	make(dir, "victim", 0, 2000);
	make(dir, "stable", 500, 1000);
	while ((entry = directory_before(dir, cookie))) {
		cookie = entry->cookie;
		stable_seen += g_str_has_prefix(entry->name, "stable");
		g_assert_false(g_str_has_prefix(entry->name, "newcomer"));
		if (steps < 2000) {
			g_autofree char *victim = g_strdup_printf("victim%u", steps);
			g_autofree char *newcomer = g_strdup_printf("newcomer%u", steps);

			if (directory_lookup(dir, victim))
				directory_remove(dir, directory_lookup(dir, victim));
			directory_insert(dir, newcomer, 1);
		}
		steps++;
	}
	g_assert_cmpuint(stable_seen, ==, 1000);
	directory_destroy(dir);
}

static void a_name_that_returns_gets_a_new_cookie(void)
{
	struct directory *dir = directory_new();
	uint64_t first = directory_insert(dir, "a", 1)->cookie;

	directory_remove(dir, directory_lookup(dir, "a"));
	g_assert_cmpuint(directory_insert(dir, "a", 1)->cookie, >, first);
	directory_destroy(dir);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/directory/lookup", finds_what_was_inserted);
	g_test_add_func("/directory/names", long_and_similar_names_are_distinct);
	g_test_add_func("/directory/scan/order", scan_is_in_order_of_cookies);
	g_test_add_func("/directory/scan/change", scan_survives_change);
	g_test_add_func("/directory/cookie", a_name_that_returns_gets_a_new_cookie);
	return g_test_run();
}

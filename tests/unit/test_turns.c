// SPDX-License-Identifier: GPL-2.0-or-later
/* Users take turns at the threads. */
#include <glib.h>
#include <string.h>

#include "turns.h"

enum { ROOT = 0, ALICE = 1000, BOB = 1001, CAROL = 1002 };

static enum turn begin(struct turns *turns, uid_t uid, const char *request)
{
	return turns_begin(turns, uid, request, strlen(request) + 1);
}

static void assert_begins(struct turns *turns, uid_t uid, const char *request)
{
	g_assert_cmpint(begin(turns, uid, request), ==, TURN_NOW);
}

static void assert_waits(struct turns *turns, uid_t uid, const char *request)
{
	g_assert_cmpint(begin(turns, uid, request), ==, TURN_LATER);
}

/* @next NULL: nothing. */
static void assert_end(struct turns *turns, uid_t uid, uid_t next_uid, const char *next)
{
	g_autofree struct turns_request *request = turns_end(turns, uid);

	if (!next) {
		g_assert_null(request);
		return;
	}
	g_assert_nonnull(request);
	g_assert_cmpuint(request->uid, ==, next_uid);
	g_assert_cmpuint(request->size, ==, strlen(next) + 1);
	g_assert_cmpstr(request->data, ==, next);
}

static void test_one_user_has_half(void)
{
	struct turns *turns = turns_new(4);

	assert_begins(turns, ALICE, "a1");
	assert_begins(turns, ALICE, "a2");
	assert_waits(turns, ALICE, "a3");
	assert_waits(turns, ALICE, "a4");
	assert_begins(turns, BOB, "b1");
	assert_end(turns, BOB, 0, NULL); /* Alice has hers still */
	assert_end(turns, ALICE, ALICE, "a3");
	assert_end(turns, ALICE, ALICE, "a4");
	assert_end(turns, ALICE, 0, NULL);
	assert_end(turns, ALICE, 0, NULL);
	turns_destroy(turns);
}

static void test_a_thread_is_left_for_root(void)
{
	struct turns *turns = turns_new(4);

	assert_begins(turns, ALICE, "a1");
	assert_begins(turns, ALICE, "a2");
	assert_begins(turns, BOB, "b1");
	assert_waits(turns, BOB, "b2");
	assert_waits(turns, CAROL, "c1");
	for (int i = 0; i < 10; i++)
		assert_begins(turns, ROOT, "r");
	for (int i = 0; i < 10; i++)
		assert_end(turns, ROOT, 0, NULL);
	assert_end(turns, ALICE, BOB, "b2");
	assert_end(turns, BOB, CAROL, "c1");
	turns_destroy(turns); /* with three at work */
}

static void test_who_has_waited_longest_is_next(void)
{
	struct turns *turns = turns_new(2);

	assert_begins(turns, ALICE, "a1");
	assert_waits(turns, ALICE, "a2");
	assert_waits(turns, ALICE, "a3");
	assert_waits(turns, BOB, "b1");
	assert_waits(turns, BOB, "b2");
	assert_waits(turns, CAROL, "c1");
	assert_end(turns, ALICE, ALICE, "a2");
	assert_end(turns, ALICE, BOB, "b1");
	assert_end(turns, BOB, CAROL, "c1");
	assert_end(turns, CAROL, ALICE, "a3");
	assert_end(turns, ALICE, BOB, "b2");
	assert_end(turns, BOB, 0, NULL);
	turns_destroy(turns);
}

static void test_one_thread_serves_all(void)
{
	struct turns *turns = turns_new(1);

	assert_begins(turns, ALICE, "a1");
	assert_waits(turns, BOB, "b1");
	assert_end(turns, ALICE, BOB, "b1");
	assert_end(turns, BOB, 0, NULL);
	assert_begins(turns, CAROL, "c1");
	turns_destroy(turns);
}

static void test_what_waits_has_a_limit(void)
{
	struct turns *turns = turns_new(2);
	size_t size = 1024 * 1024;
	g_autofree char *large = g_malloc0(size);
	unsigned waiting = 0;

	assert_begins(turns, ALICE, "a1");
	while (turns_begin(turns, ALICE, large, size) == TURN_LATER)
		waiting++;
	g_assert_cmpuint(waiting, ==, TURNS_WAITING_MAX / size - 1);
	g_assert_cmpint(turns_begin(turns, ALICE, large, size), ==, TURN_REFUSED);
	assert_waits(turns, BOB, "b1"); /* it is hers alone */
	turns_destroy(turns);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/turns/one-user-has-half", test_one_user_has_half);
	g_test_add_func("/turns/a-thread-is-left-for-root", test_a_thread_is_left_for_root);
	g_test_add_func("/turns/who-has-waited-longest-is-next", test_who_has_waited_longest_is_next);
	g_test_add_func("/turns/one-thread-serves-all", test_one_thread_serves_all);
	g_test_add_func("/turns/what-waits-has-a-limit", test_what_waits_has_a_limit);
	return g_test_run();
}

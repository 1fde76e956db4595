// SPDX-License-Identifier: GPL-2.0-or-later
/* Which request the fair queue serves next. */
#include <glib.h>
#include <string.h>

#include "connection/fair_queue.h"

enum { ROOT = 0, ALICE = 1000, BOB = 1001, CAROL = 1002 };

static enum turn begin(struct fair_queue *queue, uid_t uid, const char *request)
{
	return fair_queue_begin(queue, uid, request, strlen(request) + 1);
}

static void assert_begins(struct fair_queue *queue, uid_t uid, const char *request)
{
	g_assert_cmpint(begin(queue, uid, request), ==, TURN_NOW);
}

static void assert_waits(struct fair_queue *queue, uid_t uid, const char *request)
{
	g_assert_cmpint(begin(queue, uid, request), ==, TURN_LATER);
}

/* @next NULL: no request is served next. */
static void assert_end(struct fair_queue *queue, uid_t uid, uid_t next_uid, const char *next)
{
	g_autofree struct fair_queue_request *request = fair_queue_end(queue, uid);

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
	struct fair_queue *queue = fair_queue_new(4);

	assert_begins(queue, ALICE, "a1");
	assert_begins(queue, ALICE, "a2");
	assert_waits(queue, ALICE, "a3");
	assert_waits(queue, ALICE, "a4");
	assert_begins(queue, BOB, "b1");
	assert_end(queue, BOB, 0, NULL); /* Alice has hers still */
	assert_end(queue, ALICE, ALICE, "a3");
	assert_end(queue, ALICE, ALICE, "a4");
	assert_end(queue, ALICE, 0, NULL);
	assert_end(queue, ALICE, 0, NULL);
	fair_queue_destroy(queue);
}

static void test_a_thread_is_left_for_root(void)
{
	struct fair_queue *queue = fair_queue_new(4);

	assert_begins(queue, ALICE, "a1");
	assert_begins(queue, ALICE, "a2");
	assert_begins(queue, BOB, "b1");
	assert_waits(queue, BOB, "b2");
	assert_waits(queue, CAROL, "c1");
	for (int i = 0; i < 10; i++)
		assert_begins(queue, ROOT, "r");
	for (int i = 0; i < 10; i++)
		assert_end(queue, ROOT, 0, NULL);
	assert_end(queue, ALICE, BOB, "b2");
	assert_end(queue, BOB, CAROL, "c1");
	fair_queue_destroy(queue); /* with three at work */
}

static void test_who_has_waited_longest_is_next(void)
{
	struct fair_queue *queue = fair_queue_new(2);

	assert_begins(queue, ALICE, "a1");
	assert_waits(queue, ALICE, "a2");
	assert_waits(queue, ALICE, "a3");
	assert_waits(queue, BOB, "b1");
	assert_waits(queue, BOB, "b2");
	assert_waits(queue, CAROL, "c1");
	assert_end(queue, ALICE, ALICE, "a2");
	assert_end(queue, ALICE, BOB, "b1");
	assert_end(queue, BOB, CAROL, "c1");
	assert_end(queue, CAROL, ALICE, "a3");
	assert_end(queue, ALICE, BOB, "b2");
	assert_end(queue, BOB, 0, NULL);
	fair_queue_destroy(queue);
}

static void test_one_thread_serves_all(void)
{
	struct fair_queue *queue = fair_queue_new(1);

	assert_begins(queue, ALICE, "a1");
	assert_waits(queue, BOB, "b1");
	assert_end(queue, ALICE, BOB, "b1");
	assert_end(queue, BOB, 0, NULL);
	assert_begins(queue, CAROL, "c1");
	fair_queue_destroy(queue);
}

#define LARGE ((size_t)128 * 1024)

/* How many requests of a user wait before one is refused. */
static unsigned fill(struct fair_queue *queue, uid_t uid)
{
	g_autofree char *large = g_malloc0(LARGE);
	unsigned waiting = 0;

	while (fair_queue_begin(queue, uid, large, LARGE) == TURN_LATER)
		waiting++;
	g_assert_cmpint(fair_queue_begin(queue, uid, large, LARGE), ==, TURN_REFUSED);
	return waiting;
}

/*
 * One user alone fills half of the memory for waiting requests; others still find room. Serving requests frees the
 * memory.
 */
static void test_what_waits_has_a_limit(void)
{
	struct fair_queue *queue = fair_queue_new(2);
	struct fair_queue_request *next;
	unsigned alone, second, served = 0;

	assert_begins(queue, ALICE, "a1");
	alone = fill(queue, ALICE);
	g_assert_cmpuint(alone, <=, FAIR_QUEUE_WAITING_MAX / 2 / LARGE);
	g_assert_cmpuint(alone, >=, FAIR_QUEUE_WAITING_MAX / 2 / LARGE - 2);
	second = fill(queue, BOB);
	g_assert_cmpuint(second, >=, alone / 2 - 2);
	assert_waits(queue, CAROL, "c1");
	assert_begins(queue, ROOT, "r");
	/* When all requests are served, there is as much room as before. */
	for (uid_t uid = ALICE; (next = fair_queue_end(queue, uid)); g_free(next)) {
		uid = next->uid;
		served++;
	}
	g_assert_cmpuint(served, ==, alone + second + 1);
	assert_begins(queue, ALICE, "a1");
	g_assert_cmpuint(fill(queue, ALICE), ==, alone);
	fair_queue_destroy(queue);
}

/* A thousand users together do not exceed the limit. */
static void test_the_limit_is_one_for_all(void)
{
	struct fair_queue *queue = fair_queue_new(2);
	size_t waiting = 0;

	assert_begins(queue, ALICE, "a1");
	for (uid_t uid = 10000; uid < 11000; uid++)
		waiting += fill(queue, uid);
	g_assert_cmpuint(waiting, >, FAIR_QUEUE_WAITING_MAX / LARGE * 9 / 10);
	g_assert_cmpuint(waiting * LARGE, <, FAIR_QUEUE_WAITING_MAX);
	assert_waits(queue, BOB, "b1"); /* what is small still finds room */
	assert_begins(queue, ROOT, "r");
	fair_queue_destroy(queue);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/fair_queue/one-user-has-half", test_one_user_has_half);
	g_test_add_func("/fair_queue/a-thread-is-left-for-root", test_a_thread_is_left_for_root);
	g_test_add_func("/fair_queue/who-has-waited-longest-is-next", test_who_has_waited_longest_is_next);
	g_test_add_func("/fair_queue/one-thread-serves-all", test_one_thread_serves_all);
	g_test_add_func("/fair_queue/what-waits-has-a-limit", test_what_waits_has_a_limit);
	g_test_add_func("/fair_queue/the-limit-is-one-for-all", test_the_limit_is_one_for_all);
	return g_test_run();
}

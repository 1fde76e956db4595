// SPDX-License-Identifier: GPL-2.0-or-later
/* When the next request is looked for, that it ends, and that it keeps its budget. */
#include <glib.h>
#include <unistd.h>

#include "busy_poll.h"

#define LIMIT (G_USEC_PER_SEC / 5) /* longer than a busy machine keeps a test waiting */

/* A connection on which nothing comes unless it is written to. */
struct fixture {
	int read_end;
	int write_end;
	struct busy_poll next;
};

static void set_up(struct fixture *fixture, gconstpointer unused)
{
	int ends[2];

	(void)unused;
	g_assert_cmpint(pipe(ends), ==, 0);
	*fixture = (struct fixture){ ends[0], ends[1], { .limit = LIMIT } };
}

static void tear_down(struct fixture *fixture, gconstpointer unused)
{
	(void)unused;
	close(fixture->read_end);
	close(fixture->write_end);
}

static void come(struct fixture *fixture)
{
	g_assert_cmpint(write(fixture->write_end, "r", 1), ==, 1);
}

/* One that comes so long after the answer to the last, is read, and is answered. How often it was looked for. */
static unsigned serve_after(struct fixture *fixture, int64_t pause)
{
	unsigned looks;
	char request;

	if (fixture->next.since != 0)
		fixture->next.since = g_get_monotonic_time() - pause;
	come(fixture);
	looks = busy_poll_wait(&fixture->next, fixture->read_end);
	g_assert_cmpint(read(fixture->read_end, &request, 1), ==, 1);
	busy_poll_came(&fixture->next, g_get_monotonic_time());
	busy_poll_answered(&fixture->next, g_get_monotonic_time());
	return looks;
}

static unsigned serve_many(struct fixture *fixture, unsigned count, int64_t pause)
{
	unsigned looks = 0;

	for (unsigned i = 0; i < count; i++)
		looks += serve_after(fixture, pause);
	return looks;
}

/* As soon as one may look. */
static void earn(struct fixture *fixture)
{
	while (fixture->next.credit < BUSY_POLL_PRICE)
		serve_after(fixture, 0);
}

static void one_after_many_quick_ones_is_looked_for(struct fixture *fixture, gconstpointer unused)
{
	(void)unused;
	/* Before the first nothing was answered. */
	g_assert_cmpuint(serve_many(fixture, 1 + BUSY_POLL_PRICE, 0), ==, 0);
	g_assert_cmpuint(serve_after(fixture, 0), ==, 1);
}

static void slow_ones_earn_nothing(struct fixture *fixture, gconstpointer unused)
{
	(void)unused;
	g_assert_cmpuint(serve_many(fixture, 10 * BUSY_POLL_PRICE, 10 * LIMIT), ==, 0);
}

static void what_slept_may_come_later(struct fixture *fixture, gconstpointer unused)
{
	(void)unused;
	g_assert_cmpuint(serve_many(fixture, 1 + BUSY_POLL_PRICE, 2 * LIMIT), ==, 0);
	g_assert_cmpint(fixture->next.credit, ==, BUSY_POLL_PRICE);
}

static void looking_ends_with_the_limit(struct fixture *fixture, gconstpointer unused)
{
	int64_t begin;

	(void)unused;
	earn(fixture);
	begin = g_get_monotonic_time();
	busy_poll_answered(&fixture->next, begin);
	g_assert_cmpuint(busy_poll_wait(&fixture->next, fixture->read_end), >, 0);
	g_assert_cmpint(g_get_monotonic_time(), >=, begin + LIMIT);
}

static void a_look_in_vain_costs_its_price(struct fixture *fixture, gconstpointer unused)
{
	(void)unused;
	earn(fixture);
	g_assert_cmpuint(serve_after(fixture, 10 * LIMIT), >, 0);
	g_assert_cmpuint(serve_many(fixture, BUSY_POLL_PRICE, 0), ==, 0);
	g_assert_cmpuint(serve_after(fixture, 0), ==, 1);
}

/* However long it went well before, a client that has become slow is looked for a few times only. */
static void the_budget_does_not_pile_up(struct fixture *fixture, gconstpointer unused)
{
	(void)unused;
	serve_many(fixture, 100 * BUSY_POLL_PRICE, 0);
	g_assert_cmpuint(serve_many(fixture, 100, 10 * LIMIT), <=, 2);
}

static void nothing_is_looked_for_while_others_read(struct fixture *fixture, gconstpointer unused)
{
	(void)unused;
	earn(fixture);
	/* It is not told that the request was answered. */
	busy_poll_came(&fixture->next, fixture->next.since);
	g_assert_cmpuint(busy_poll_wait(&fixture->next, fixture->read_end), ==, 0);
}

static void a_limit_of_nothing_is_never(struct fixture *fixture, gconstpointer unused)
{
	(void)unused;
	fixture->next.limit = 0;
	g_assert_cmpuint(serve_many(fixture, 10 * BUSY_POLL_PRICE, 0), ==, 0);
}

static void the_end_of_the_connection_ends_it(struct fixture *fixture, gconstpointer unused)
{
	(void)unused;
	fixture->next.limit = INT64_C(3600) * G_USEC_PER_SEC;
	earn(fixture);
	close(fixture->write_end);
	fixture->write_end = dup(fixture->read_end);
	g_assert_cmpuint(busy_poll_wait(&fixture->next, fixture->read_end), ==, 1);
}

static void add(const char *name, void (*test)(struct fixture *fixture, gconstpointer unused))
{
	g_test_add(name, struct fixture, NULL, set_up, test, tear_down);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	add("/busy-poll/quick", one_after_many_quick_ones_is_looked_for);
	add("/busy-poll/slow", slow_ones_earn_nothing);
	add("/busy-poll/slept", what_slept_may_come_later);
	add("/busy-poll/limit", looking_ends_with_the_limit);
	add("/busy-poll/price", a_look_in_vain_costs_its_price);
	add("/busy-poll/budget", the_budget_does_not_pile_up);
	add("/busy-poll/others", nothing_is_looked_for_while_others_read);
	add("/busy-poll/never", a_limit_of_nothing_is_never);
	add("/busy-poll/end", the_end_of_the_connection_ends_it);
	return g_test_run();
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* One thread reads, as long as one is enough, and leaders that get stuck are helped. */
#include <glib.h>
#include <time.h>

#include "leader.h"

#define THREADS 4
#define ROUNDS  20000

/* Threads that lead as those of the daemon do. */
struct team {
	struct leader *leader;
	GAsyncQueue *requests; /* what the next leader is to do */
	bool crowded;          /* requests are said to wait as long as some do, else never */
	int reading;           /* atomic: threads that read at the moment */
	int served;            /* atomic */
	int stuck;             /* atomic: those at a request that ends when @go is set */
	int go;                /* atomic */
};

enum request { SHORT = 1, LONG, STUCK, STUCK_LONG, END };

static void ask(struct team *team, enum request request)
{
	g_async_queue_push(team->requests, GINT_TO_POINTER(request));
}

static enum request read_request(struct team *team)
{
	enum request request;

	g_assert_true(g_atomic_int_add(&team->reading, 1) == 0 || team->crowded);
	request = (enum request)GPOINTER_TO_INT(g_async_queue_pop(team->requests));
	g_atomic_int_add(&team->reading, -1);
	return request;
}

static bool more(struct team *team)
{
	return team->crowded && g_async_queue_length(team->requests) > 0;
}

/* Does the thread read on? */
static bool serve(struct team *team, enum request request)
{
	bool hands_over = request == LONG || request == STUCK_LONG;

	if (hands_over)
		leader_hand_over(team->leader, true);
	else
		leader_serves(team->leader, more(team));
	if (request == STUCK || request == STUCK_LONG) {
		g_atomic_int_inc(&team->stuck);
		while (!g_atomic_int_get(&team->go))
			g_usleep(100);
	}
	g_atomic_int_inc(&team->served);
	return !hands_over && leader_goes_on(team->leader, more(team));
}

static gpointer work(gpointer data)
{
	struct team *team = data;

	while (leader_follow(team->leader)) {
		enum request request;

		do {
			request = read_request(team);
			if (request == END) {
				leader_end(team->leader);
				return NULL;
			}
		} while (serve(team, request));
	}
	return NULL;
}

static void wait_for(int *count, int wanted)
{
	gint64 until = g_get_monotonic_time() + 60 * G_USEC_PER_SEC;

	while (g_atomic_int_get(count) != wanted) {
		g_assert_cmpint(g_get_monotonic_time(), <, until);
		g_usleep(100);
	}
}

static void start(struct team *team, GThread *threads[THREADS], bool crowded)
{
	*team = (struct team){ .leader = leader_new(), .requests = g_async_queue_new(), .crowded = crowded };
	for (int i = 0; i < THREADS; i++)
		threads[i] = g_thread_new("worker", work, team);
}

static void end(struct team *team, GThread *threads[THREADS])
{
	/* One for each that may read. */
	for (int i = 0; i < THREADS; i++)
		ask(team, END);
	for (int i = 0; i < THREADS; i++)
		g_thread_join(threads[i]);
	g_async_queue_unref(team->requests);
	leader_free(team->leader);
}

static void one_reads_at_a_time(void)
{
	GThread *threads[THREADS];
	struct team team;

	start(&team, threads, false);
	for (int i = 0; i < ROUNDS; i++)
		ask(&team, i % 3 ? SHORT : LONG);
	wait_for(&team.served, ROUNDS);
	end(&team, threads);
}

static void long_requests_keep_nobody_waiting(void)
{
	GThread *threads[THREADS];
	struct team team;

	start(&team, threads, false);
	for (int i = 0; i < THREADS - 1; i++)
		ask(&team, STUCK_LONG);
	wait_for(&team.stuck, THREADS - 1);
	ask(&team, SHORT);
	wait_for(&team.served, 1);
	g_atomic_int_set(&team.go, true);
	wait_for(&team.served, THREADS);
	end(&team, threads);
}

/* Again and again: each of them finds the leader before it stuck, and the threads come back. */
static void a_stuck_leader_is_replaced(void)
{
	GThread *threads[THREADS];
	struct team team;

	start(&team, threads, false);
	for (int round = 0; round < 5; round++) {
		g_atomic_int_set(&team.go, false);
		g_atomic_int_set(&team.stuck, 0);
		g_atomic_int_set(&team.served, 0);
		for (int i = 0; i < THREADS - 1; i++)
			ask(&team, STUCK);
		wait_for(&team.stuck, THREADS - 1);
		ask(&team, SHORT);
		wait_for(&team.served, 1);
		g_atomic_int_set(&team.go, true);
		wait_for(&team.served, THREADS);
		/* The next round begins after the watch has gone to sleep, and without that. */
		g_usleep(round % 2 ? 0 : 10 * LEADER_PATIENCE);
	}
	end(&team, threads);
}

/* Whoever has read a request reads on when the others are at theirs, and hands over to somebody when it is a long one. */
static void others_that_are_stuck_are_no_help(void)
{
	GThread *threads[THREADS];
	struct team team;

	start(&team, threads, false);
	ask(&team, STUCK);
	wait_for(&team.stuck, 1);
	for (int i = 1; i <= 10; i++) {
		g_usleep(i % 2 ? 0 : 3 * LEADER_PATIENCE);
		ask(&team, i % 3 ? SHORT : LONG);
		wait_for(&team.served, i);
	}
	g_atomic_int_set(&team.go, true);
	wait_for(&team.served, 11);
	end(&team, threads);
}

/* No thread is bound to its place: one has all of these here. */
static void who_is_back_first_reads(void)
{
	struct leader *leader = leader_new();

	g_assert_true(leader_follow(leader));
	leader_serves(leader, false);
	g_assert_true(leader_follow(leader)); /* the first is at its request for too long */
	leader_serves(leader, false);
	g_assert_false(leader_others_read(leader));
	g_assert_true(leader_goes_on(leader, false));
	g_assert_true(leader_others_read(leader));
	g_assert_false(leader_goes_on(leader, false));
	leader_free(leader);
}

static gpointer follow(gpointer leader)
{
	return GINT_TO_POINTER(leader_follow(leader));
}

/* The leader is never at a request for long, but there are too many of them. */
static void help_comes_when_more_wait(void)
{
	struct leader *leader = leader_new();
	GThread *helper;
	gint64 until;
	bool helped;

	g_assert_true(leader_follow(leader));
	helper = g_thread_new("helper", follow, leader);
	until = g_get_monotonic_time() + 60 * G_USEC_PER_SEC;
	do {
		g_assert_cmpint(g_get_monotonic_time(), <, until);
		leader_serves(leader, true);
		helped = leader_others_read(leader);
		g_assert_true(leader_goes_on(leader, true));
	} while (!helped);
	leader_serves(leader, false);
	g_assert_false(leader_goes_on(leader, false));
	g_assert_true(GPOINTER_TO_INT(g_thread_join(helper)));
	leader_free(leader);
}

/* As many as there are, and no longer than they are needed. */
static void more_read_when_more_wait(void)
{
	GThread *threads[THREADS];
	struct team team;

	start(&team, threads, true);
	for (int round = 1; round <= 5; round++) {
		g_atomic_int_set(&team.go, false);
		g_atomic_int_set(&team.stuck, 0);
		g_atomic_int_set(&team.served, 0);
		for (int i = 0; i < 1000 + THREADS; i++)
			ask(&team, i < THREADS ? STUCK : SHORT);
		wait_for(&team.stuck, THREADS);
		g_atomic_int_set(&team.go, true);
		wait_for(&team.served, 1000 + THREADS);
		/* Each that reads still gets one, and sees that no others wait. */
		for (int i = 1; i < THREADS; i++) {
			ask(&team, SHORT);
			wait_for(&team.served, 1000 + THREADS + i);
		}
		wait_for(&team.reading, 1);
	}
	end(&team, threads);
}

static void end_finds_all(void)
{
	for (int round = 0; round < 50; round++) {
		GThread *threads[THREADS];
		struct team team;

		start(&team, threads, false);
		if (round % 2) {
			ask(&team, SHORT);
			wait_for(&team.served, 1);
		}
		end(&team, threads);
	}
}

/* Followers of a leader who is short of requests, or of none, take no time. */
static void followers_sleep(void)
{
	GThread *threads[THREADS];
	struct team team;
	clock_t before;

	start(&team, threads, false);
	ask(&team, SHORT);
	wait_for(&team.served, 1);
	before = clock();
	g_usleep(20 * LEADER_PATIENCE);
	g_assert_cmpint(clock() - before, <, CLOCKS_PER_SEC / 20);
	end(&team, threads);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/leader/one-reads-at-a-time", one_reads_at_a_time);
	g_test_add_func("/leader/long-requests-keep-nobody-waiting", long_requests_keep_nobody_waiting);
	g_test_add_func("/leader/a-stuck-leader-is-replaced", a_stuck_leader_is_replaced);
	g_test_add_func("/leader/others-that-are-stuck-are-no-help", others_that_are_stuck_are_no_help);
	g_test_add_func("/leader/who-is-back-first-reads", who_is_back_first_reads);
	g_test_add_func("/leader/help-comes-when-more-wait", help_comes_when_more_wait);
	g_test_add_func("/leader/more-read-when-more-wait", more_read_when_more_wait);
	g_test_add_func("/leader/end-finds-all", end_finds_all);
	g_test_add_func("/leader/followers-sleep", followers_sleep);
	return g_test_run();
}

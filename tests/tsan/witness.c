// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Two threads that count together: `witness race` for the sanitizer to report; `witness mutex`, `witness condition` and
 * `witness idle` not.
 */
#include <glib.h>
#include <stdbool.h>
#include <stdlib.h>

enum { ROUNDS = 200, PAUSE_US = 50 };

static GMutex lock;
static GCond turned;
static bool locks, takes_turns;
static unsigned count;

static void *count_up(void *parity)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		if (locks)
			g_mutex_lock(&lock);
		while (takes_turns && count % 2 != GPOINTER_TO_UINT(parity))
			g_cond_wait(&turned, &lock);
		count++;
		if (takes_turns)
			g_cond_broadcast(&turned);
		if (locks)
			g_mutex_unlock(&lock);
		g_usleep(PAUSE_US); /* that neither is done before the other begins */
	}
	return NULL;
}

/* In the main loop; the last of them ends it. */
static gboolean count_idle(gpointer loop)
{
	if (++count == 2 * ROUNDS)
		g_main_loop_quit(loop);
	return G_SOURCE_REMOVE;
}

static void *add_idle(void *loop)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		g_idle_add(count_idle, loop);
		g_usleep(i % 2 * PAUSE_US); /* the loop is now asleep, now at work */
	}
	return NULL;
}

static int witness_idle(void)
{
	GMainLoop *loop = g_main_loop_new(NULL, FALSE);
	GThread *threads[2];

	for (unsigned i = 0; i < 2; i++)
		threads[i] = g_thread_new("idle", add_idle, loop);
	g_main_loop_run(loop);
	for (unsigned i = 0; i < 2; i++)
		g_thread_join(threads[i]);
	g_main_loop_unref(loop);
	return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	GThread *threads[2];

	if (argc != 2)
		return EXIT_FAILURE;
	if (g_str_equal(argv[1], "idle"))
		return witness_idle();
	takes_turns = g_str_equal(argv[1], "condition");
	locks = takes_turns || g_str_equal(argv[1], "mutex");
	for (unsigned i = 0; i < 2; i++)
		threads[i] = g_thread_new("count", count_up, GUINT_TO_POINTER(i));
	for (unsigned i = 0; i < 2; i++)
		g_thread_join(threads[i]);
	return !locks || count == 2 * ROUNDS ? EXIT_SUCCESS : EXIT_FAILURE;
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* Two threads that count together: `witness race` for the sanitizer to report, `witness mutex` and `witness condition` not. */
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

int main(int argc, char **argv)
{
	GThread *threads[2];

	if (argc != 2)
		return EXIT_FAILURE;
	takes_turns = g_str_equal(argv[1], "condition");
	locks = takes_turns || g_str_equal(argv[1], "mutex");
	for (unsigned i = 0; i < 2; i++)
		threads[i] = g_thread_new("count", count_up, GUINT_TO_POINTER(i));
	for (unsigned i = 0; i < 2; i++)
		g_thread_join(threads[i]);
	return !locks || count == 2 * ROUNDS ? EXIT_SUCCESS : EXIT_FAILURE;
}

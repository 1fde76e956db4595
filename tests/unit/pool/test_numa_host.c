// SPDX-License-Identifier: GPL-2.0-or-later
/* libnuma, asked by many threads at once. */
#include "pool/numa_host.h"

#include <glib.h>

#define THREADS 16

static int waiting = THREADS;

static void *bind_at_once(void *unused)
{
	(void)unused;
	g_atomic_int_dec_and_test(&waiting);
	while (g_atomic_int_get(&waiting) > 0)
		g_thread_yield();
	numa_host_bind_thread(0);
	return NULL;
}

/* LeakSanitizer finds what one of them would have lost: libnuma makes its tables on the first question. */
static void test_many_threads_ask_at_once(void)
{
	GThread *threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		threads[i] = g_thread_new("asker", bind_at_once, NULL);
	for (int i = 0; i < THREADS; i++)
		g_thread_join(threads[i]);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/numa_host/many_threads_ask_at_once", test_many_threads_ask_at_once);
	return g_test_run();
}

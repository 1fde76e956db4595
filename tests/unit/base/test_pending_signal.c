// SPDX-License-Identifier: GPL-2.0-or-later
/* Which signals end a wait. The texts are as in /proc/PID/status: bit 0 is signal 1. */
#include <glib.h>
#include <inttypes.h>
#include <signal.h>
#include <unistd.h>

#include "base/caller_file.h"
#include "base/pending_signal.h"

struct sets {
	uint64_t thread, process, blocked, caught;
	bool ends;
};

#define BIT(number) (UINT64_C(1) << ((number)-1))

static void test_sets(void)
{
	static const struct sets cases[] = {
		{ 0, 0, 0, BIT(SIGALRM), false },
		{ BIT(SIGALRM), 0, 0, BIT(SIGALRM), true },
		{ 0, BIT(SIGALRM), 0, BIT(SIGALRM), true },
		{ 0, BIT(SIGALRM), BIT(SIGALRM), BIT(SIGALRM), false },
		{ BIT(SIGKILL), 0, 0, 0, true },
		{ 0, BIT(SIGQUIT), 0, 0, true },
		{ 0, BIT(SIGSTOP), 0, 0, false },
		{ 0, BIT(SIGTSTP), 0, 0, false },
		{ 0, BIT(SIGTSTP), 0, BIT(SIGTSTP), true },
		{ 0, BIT(SIGCONT), 0, 0, false },
		{ 0, BIT(SIGSTOP) | BIT(SIGTERM), 0, 0, true },
		{ 0, BIT(64), 0, 0, true },
		/* Queued although ignored, because a thread blocks it or a debugger looks. 13, SIGPIPE, is in the text below. */
		{ 0, BIT(SIGWINCH) | BIT(SIGCHLD) | BIT(SIGPIPE), 0, 0, false },
		{ 0, BIT(SIGWINCH), 0, BIT(SIGWINCH), true },
		/* A worker of io_uring. */
		{ 0, 0, ~(BIT(SIGKILL) | BIT(SIGSTOP)), 0, true },
	};

	for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
		const struct sets *sets = &cases[i];
		g_autofree char *status =
			g_strdup_printf("Name:\tguest\nSigQ:\t1/95614\nSigPnd:\t%016" PRIx64 "\nShdPnd:\t%016" PRIx64
		                        "\nSigBlk:\t%016" PRIx64 "\nSigIgn:\t0000000000001000\nSigCgt:\t%016" PRIx64
		                        "\nCapInh:\tffffffffffffffff\n",
		                        sets->thread, sets->process, sets->blocked, sets->caught);

		g_test_message("case %u", i);
		g_assert_true(pending_signal_in(status) == sets->ends);
	}
}

static void test_threads(void)
{
	g_autofree char *name = caller_file_read(getpid(), "comm");

	if (!name) {
		g_test_skip("needs CAP_SYS_ADMIN");
		return;
	}
	g_assert_cmpstr(name, ==, "test_pending_si\n");
	g_assert_false(pending_signal(getpid()));
	g_assert_true(pending_signal(0));
	g_assert_true(pending_signal(G_MAXINT));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/pending_signal/sets", test_sets);
	g_test_add_func("/pending_signal/threads", test_threads);
	return g_test_run();
}

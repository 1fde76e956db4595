// SPDX-License-Identifier: GPL-2.0-or-later
/* Which samples of the request threads are a hang, and which only look like one. */
#include <glib.h>

#include "connection/hang_detector.h"

#define LIMIT 1000000
#define START (5 * LIMIT)

/* A detector with two threads. */
struct looks {
	struct hang_detector *detector;
	struct hang_detector_sample samples[2];
	int64_t now;
	bool waiting;
};

static void begin(struct looks *looks)
{
	*looks = (struct looks){ .detector = hang_detector_new(2), .now = START };
	g_assert_true(hang_detector_look(looks->detector, looks->samples, false, looks->now, LIMIT));
}

static bool look(struct looks *looks, int64_t later)
{
	looks->now += later;
	return hang_detector_look(looks->detector, looks->samples, looks->waiting, looks->now, LIMIT);
}

static void take(struct looks *looks, unsigned thread)
{
	looks->samples[thread].since = looks->now;
	looks->samples[thread].taken++;
}

static void idle_threads_are_fine(void)
{
	struct looks looks;

	begin(&looks);
	for (unsigned i = 0; i < 100; i++)
		g_assert_true(look(&looks, LIMIT / 3));
	hang_detector_free(looks.detector);
}

static void request_that_stands_still_is_a_hang(void)
{
	struct looks looks;

	begin(&looks);
	take(&looks, 1);
	for (unsigned i = 0; i < 3; i++)
		g_assert_true(look(&looks, LIMIT / 3));
	g_assert_false(look(&looks, LIMIT / 3));
	/* The old request counts as hanging even while another thread serves requests. */
	take(&looks, 0);
	g_assert_false(look(&looks, 1));
	looks.samples[1].since = 0;
	g_assert_true(look(&looks, 1));
	hang_detector_free(looks.detector);
}

static void request_that_uses_the_cpu_is_at_work(void)
{
	struct looks looks;

	begin(&looks);
	take(&looks, 0);
	take(&looks, 1); /* waits for the other */
	for (unsigned i = 0; i < 100; i++) {
		looks.samples[0].cpu += HANG_DETECTOR_CPU_US;
		g_assert_true(look(&looks, LIMIT / 3));
	}
	for (unsigned i = 0; i < 3; i++)
		g_assert_true(look(&looks, LIMIT / 3));
	g_assert_false(look(&looks, LIMIT / 3));
	hang_detector_free(looks.detector);
}

/* It waits for lent memory, for a limited time. */
static void request_that_waits_for_memory_is_at_work(void)
{
	struct looks looks;

	begin(&looks);
	take(&looks, 0);
	for (unsigned i = 0; i < 100; i++) {
		looks.samples[0].waits++;
		g_assert_true(look(&looks, LIMIT / 3));
	}
	for (unsigned i = 0; i < 3; i++)
		g_assert_true(look(&looks, LIMIT / 3));
	g_assert_false(look(&looks, LIMIT / 3));
	hang_detector_free(looks.detector);
}

static void waiting_with_a_time_out_is_no_work(void)
{
	struct looks looks;

	begin(&looks);
	take(&looks, 0);
	for (unsigned i = 0; i < 3; i++) {
		looks.samples[0].cpu += HANG_DETECTOR_CPU_US / 10;
		g_assert_true(look(&looks, LIMIT / 3));
	}
	g_assert_false(look(&looks, LIMIT / 3));
	hang_detector_free(looks.detector);
}

static void requests_that_nobody_takes_are_a_hang(void)
{
	struct looks looks;

	begin(&looks);
	looks.waiting = true;
	for (unsigned i = 0; i < 10; i++) { /* many, and served */
		looks.samples[i % 2].taken++;
		g_assert_true(look(&looks, LIMIT / 3));
	}
	for (unsigned i = 0; i < 3; i++)
		g_assert_true(look(&looks, LIMIT / 3));
	g_assert_false(look(&looks, LIMIT / 3));
	looks.waiting = false;
	g_assert_true(look(&looks, 1));
	hang_detector_free(looks.detector);
}

static void threads_that_were_not_watched_are_not_blamed(void)
{
	struct looks looks;

	begin(&looks);
	take(&looks, 0);
	looks.waiting = true;
	g_assert_true(look(&looks, 10 * LIMIT)); /* stopped, and let go on */
	g_assert_true(look(&looks, LIMIT / 3));
	g_assert_false(look(&looks, LIMIT));
	hang_detector_free(looks.detector);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/hang_detector/idle", idle_threads_are_fine);
	g_test_add_func("/hang_detector/still", request_that_stands_still_is_a_hang);
	g_test_add_func("/hang_detector/work", request_that_uses_the_cpu_is_at_work);
	g_test_add_func("/hang_detector/memory", request_that_waits_for_memory_is_at_work);
	g_test_add_func("/hang_detector/time-out", waiting_with_a_time_out_is_no_work);
	g_test_add_func("/hang_detector/waiting", requests_that_nobody_takes_are_a_hang);
	g_test_add_func("/hang_detector/not-watched", threads_that_were_not_watched_are_not_blamed);
	return g_test_run();
}

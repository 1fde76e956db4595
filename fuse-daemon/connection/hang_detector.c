// SPDX-License-Identifier: GPL-2.0-or-later
/* Finds out whether the request threads hang. */
#include "connection/hang_detector.h"

#include <glib.h>

struct thread {
	int64_t moved;  /* when its request last made progress */
	int64_t cpu;    /* of the last sample */
	unsigned taken; /* the same */
	unsigned waits; /* the same */
};

struct hang_detector {
	struct thread *threads;
	unsigned count;
	unsigned taken;   /* requests that all threads together had begun at the last call */
	int64_t taken_at; /* when a thread last began a request, or no request had to wait */
	int64_t looked;   /* time of the last call */
};

struct hang_detector *hang_detector_new(unsigned threads)
{
	struct hang_detector *detector = g_new0(struct hang_detector, 1);

	detector->threads = g_new0(struct thread, threads);
	detector->count = threads;
	return detector;
}

void hang_detector_free(struct hang_detector *detector)
{
	if (!detector)
		return;
	g_free(detector->threads);
	g_free(detector);
}

/* @late: the last call was long ago, as when the whole process was stopped. Then the thread counts as at work. */
static void follow(struct thread *thread, const struct hang_detector_sample *sample, bool late, int64_t now)
{
	if (sample->cpu - thread->cpu >= HANG_DETECTOR_CPU_US || sample->waits != thread->waits || late)
		thread->moved = now;
	else if (sample->taken != thread->taken)
		thread->moved = sample->since;
	thread->cpu = sample->cpu;
	thread->taken = sample->taken;
	thread->waits = sample->waits;
}

bool hang_detector_look(struct hang_detector *detector, const struct hang_detector_sample *samples, bool waiting,
                        int64_t now, int64_t limit)
{
	bool late = now - detector->looked > limit, busy = false, old = false, moving = false;
	unsigned taken = 0;

	for (unsigned i = 0; i < detector->count; i++) {
		const struct hang_detector_sample *sample = &samples[i];
		struct thread *thread = &detector->threads[i];

		follow(thread, sample, late, now);
		taken += sample->taken;
		if (sample->since == 0)
			continue;
		busy = true;
		if (now - sample->since <= limit)
			continue;
		old = true;
		moving = moving || now - thread->moved <= limit;
	}
	if (taken != detector->taken || !waiting || busy || late)
		detector->taken_at = now;
	detector->taken = taken;
	detector->looked = now;
	return (!old || moving) && now - detector->taken_at <= limit;
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* Do the request threads still get anywhere? */
#include "connection/hang_detector.h"

#include <glib.h>

struct thread {
	int64_t moved; /* when its request was last seen to get on */
	int64_t cpu;   /* as of the last look */
	unsigned taken;
};

struct progress {
	struct thread *threads;
	unsigned count;
	unsigned taken;   /* by all threads, as of the last look */
	int64_t taken_at; /* when a request was last seen taken, or none waited for it */
	int64_t looked;
};

struct progress *progress_new(unsigned threads)
{
	struct progress *progress = g_new0(struct progress, 1);

	progress->threads = g_new0(struct thread, threads);
	progress->count = threads;
	return progress;
}

void progress_free(struct progress *progress)
{
	if (!progress)
		return;
	g_free(progress->threads);
	g_free(progress);
}

/* @late: nobody has looked for long, as when the whole process was stopped. Nothing can be held against a thread then. */
static void follow(struct thread *thread, const struct progress_sample *sample, bool late, int64_t now)
{
	if (sample->cpu - thread->cpu >= PROGRESS_CPU_US || late)
		thread->moved = now;
	else if (sample->taken != thread->taken)
		thread->moved = sample->since;
	thread->cpu = sample->cpu;
	thread->taken = sample->taken;
}

bool progress_look(struct progress *progress, const struct progress_sample *samples, bool waiting, int64_t now,
                   int64_t limit)
{
	bool late = now - progress->looked > limit, busy = false, old = false, moving = false;
	unsigned taken = 0;

	for (unsigned i = 0; i < progress->count; i++) {
		const struct progress_sample *sample = &samples[i];
		struct thread *thread = &progress->threads[i];

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
	if (taken != progress->taken || !waiting || busy || late)
		progress->taken_at = now;
	progress->taken = taken;
	progress->looked = now;
	return (!old || moving) && now - progress->taken_at <= limit;
}

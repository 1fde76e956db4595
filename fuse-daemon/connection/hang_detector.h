/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Finds out whether the request threads hang, from samples that another thread takes of them from time to time.
 *
 * A request may take minutes when it zeroes much memory or waits for lent memory, and other requests may wait for it. So a thread
 * that uses CPU time does not hang, nor one that waits for memory, which it does only for a limited time. The threads hang when some
 * requests are older than the limit and none of these makes progress, or when requests wait in the kernel and no thread reads them.
 */
#ifndef DMEMFS_HANG_DETECTOR_H
#define DMEMFS_HANG_DETECTOR_H

#include <stdbool.h>
#include <stdint.h>

/*
 * A thread that uses this much CPU time between two samples is at work. A thread that waits uses less, even with
 * time-outs.
 */
#define HANG_DETECTOR_CPU_US 10000

/* One thread at one moment; times in us. */
struct hang_detector_sample {
	int64_t since;  /* when it began its request, by the monotonic clock; 0: it has none */
	int64_t cpu;    /* CPU time that it has used */
	unsigned taken; /* number of requests that it has begun */
	unsigned waits; /* current_request_count_waits() */
};

struct hang_detector;

struct hang_detector *hang_detector_new(unsigned threads);
void hang_detector_free(struct hang_detector *detector);
/*
 * Takes @samples, one for each thread, at @now (the monotonic clock, us). @waiting: a request waits in the kernel.
 * False when the threads made no progress for longer than @limit us, as this call and earlier ones saw it. Call it
 * several times per @limit, from one thread.
 */
bool hang_detector_look(struct hang_detector *detector, const struct hang_detector_sample *samples, bool waiting,
                        int64_t now, int64_t limit);

#endif

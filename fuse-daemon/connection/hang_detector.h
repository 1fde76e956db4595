/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Do the request threads still get anywhere? Judged from outside, by looking at them now and then.
 *
 * A request may take minutes, when it zeroes much memory: a thread that uses its CPU is at work, however long, and others may
 * wait for it. A hang is that requests are old and all of them stand still, or that requests wait and no thread takes any.
 */
#ifndef DMEMFS_HANG_DETECTOR_H
#define DMEMFS_HANG_DETECTOR_H

#include <stdbool.h>
#include <stdint.h>

/* CPU time between two looks from which on a thread is at work; waiting for something costs less, also with time-outs. */
#define HANG_DETECTOR_CPU_US 10000

/* One thread at one moment; times in us. */
struct hang_detector_sample {
	int64_t since;  /* when it took the request that it is at, by the monotonic clock; 0: it is at none */
	int64_t cpu;    /* CPU time that it has used */
	unsigned taken; /* requests that it has taken */
};

struct hang_detector;

struct hang_detector *hang_detector_new(unsigned threads);
void hang_detector_free(struct hang_detector *detector);
/*
 * A look at @now, by the same clock: @samples of all threads; @waiting: a request is there that nobody has. False when
 * nothing has gone on for longer than @limit, by this look and those before.
 */
bool hang_detector_look(struct hang_detector *detector, const struct hang_detector_sample *samples, bool waiting,
                        int64_t now, int64_t limit);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ways to place files in memory, to be compared by bench_fragmentation.c: the daemon's allocator, and two that are well known.
 * All work on one imaginary region. Requests are multiples of FRAGMENT_GRANULE, so that the peers need no more detail.
 */
#ifndef DMEMFS_FRAGMENT_H
#define DMEMFS_FRAGMENT_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/extent.h"

#define FRAGMENT_START   (UINT64_C(4) << 30)
#define FRAGMENT_BYTES   (UINT64_C(64) << 30)
#define FRAGMENT_GRANULE (UINT64_C(64) << 10)

struct fragment_scheme {
	const char *name;
	void *(*create)(void);
	void (*destroy)(void *state);
	/* Appends runs of @length bytes in all, each a multiple of @unit and aligned to it, to @runs; false: nothing is taken. */
	bool (*take)(void *state, uint64_t unit, uint64_t length, GArray *runs);
	/* Exactly what take() gave. */
	void (*give)(void *state, const struct extent *runs, guint count);
};

/* allocator.c, as pool.c uses it. */
extern const struct fragment_scheme fragment_dmemfs;
/* The lowest run that holds all; when none does the longest there is, and again. */
extern const struct fragment_scheme fragment_first_fit;
/* Powers of two up to 1 GiB, split and merged as in the kernel's page allocator, the block freed last first. */
extern const struct fragment_scheme fragment_buddy;

#endif

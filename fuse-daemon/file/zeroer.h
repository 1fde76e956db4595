/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Makes dirty memory zero, so that a file gets memory that no former owner's byte is in.
 *
 * In advance: a worker for each NUMA node with regions, bound to that node's CPUs, takes piece after piece of free memory
 * (pool_clean.h), zeroes it through the backend at idle priority with no lock held, and has it clean. A while later,
 * several pieces at once, it puts that on record: losing it costs zeroing again, nothing else. What is believed of the
 * record, and when, is the recovery's affair (recover.c).
 *
 * In need: memory that a file was given dirty is zeroed by the request itself and a few threads that help it, at normal
 * priority, the longest runs first.
 *
 * Locks: the zeroer's own is a leaf. The record is written under the store's lock, and what is clean then is asked under
 * the pool's, inside of it: a file that takes the memory later commits later, and so has the last word.
 */
#ifndef DMEMFS_ZEROER_H
#define DMEMFS_ZEROER_H

#include "file/file.h"

/* What a worker, or one thread of a request, zeroes at a time: whoever waits for it, or for the end, waits some 10 ms. */
#define ZEROER_PIECE (UINT64_C(64) << 20)

struct zeroer_stats {
	uint64_t zeroed;  /* bytes since the start, in advance and in need */
	uint64_t rate;    /* bytes per second, lately; 0: nothing to do */
	unsigned workers; /* that zero in advance */
};

/* Zeroes in need only, until zeroer_start(). @storage outlives it. */
struct zeroer *zeroer_new(const struct storage *storage);
/* A worker for each node, of at most @max_rate bytes a second; 0: as fast as it can. */
void zeroer_start(struct zeroer *zeroer, uint64_t max_rate);
/* The workers end, as soon as the pieces at hand are done, and what they did is on record. */
void zeroer_stop(struct zeroer *zeroer);
/* After zeroer_stop(). NULL is fine. */
void zeroer_destroy(struct zeroer *zeroer);

/*
 * Makes zero what of @runs, taken from the pool, is not. 0, the backend's error or -EINTR (current_request.h): then some of it still
 * is not.
 */
int zeroer_clean(struct zeroer *zeroer, const struct extent *runs, guint count);

void zeroer_get_stats(struct zeroer *zeroer, struct zeroer_stats *stats);

#endif

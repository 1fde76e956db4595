/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What of the pool's memory is zero, and what is being made so.
 *
 * Free memory is, at any time, one of
 *   clean    zero: a file can have it as it is
 *   dirty    bytes of a former owner are in it
 *   zeroing  dirty, and a background worker is at it
 * so that free = clean + dirty + zeroing, always. What is being zeroed stays free: it is no hole that would make a shortage
 * or break a large page for others. Who is given some of it waits until the worker is done with that piece, and lends the
 * worker its priority; the rest of the piece becomes clean as if nothing had happened.
 *
 * Memory that was taken and is not zero is *stale*. Whoever takes memory has its stale parts zeroed before anybody else
 * can read it: zeroer_clean(). A file that gives memory back makes it dirty, whatever it did with it.
 *
 * Clean memory comes first, but large pages are worth more than the zeroing: memory is chosen from all that is free, then
 * from what is clean, and the second choice wins if less of it must be zeroed, unless it leaves fewer whole gigabytes or
 * 2 MiB blocks, in the pool or to the file, comes from other nodes, or in many more runs. What there is too little of
 * comes from both.
 *
 * On the record (store.h) clean memory is written after it was zeroed and while it is free and clean still; it leaves the
 * record in the transaction that gives it to a file. So memory on record as clean is zero, but not all that is zero is on
 * record.
 */
#ifndef DMEMFS_POOL_CLEAN_H
#define DMEMFS_POOL_CLEAN_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/extent.h"

/* Runs of one piece at most, so that crumbs are not zeroed, and recorded, one by one. */
#define POOL_PIECE_RUNS 256

struct pool;

/* A worker's: what it zeroes, and where it looks for it. */
struct pool_piece {
	uint64_t regions;   /* as in struct allocator_request */
	uint64_t max_bytes; /* a multiple of 4 KiB */
	void (*hurry)(
		void *data); /* somebody waits for the piece; called with the pool's lock held, at most once for each */
	void *data;
	GArray *runs; /* out: struct extent; the piece, by address */
	uint64_t at;  /* the pool's: where the next one begins */
	bool hurried; /* the pool's */
};

/* Before anything else: free memory is dirty unless it is known to be clean. Without this call it is always clean. */
void pool_need_zeroing(struct pool *pool);
/* At the start, on the record's word: what of @run is free is clean. Appends that to @believed. */
void pool_believe(struct pool *pool, struct extent run, GArray *believed);

/* Appends what of @runs, which are taken, is stale to @stale (GArray of struct extent). */
void pool_list_stale(struct pool *pool, const struct extent *runs, guint count, GArray *stale);
/* @runs, which are taken, are zero now. */
void pool_set_zeroed(struct pool *pool, const struct extent *runs, guint count);
/* As pool_free(), of memory that no file ever had: what of it is not stale is clean. */
void pool_free_unused(struct pool *pool, const struct extent *runs, guint count);
/* Appends what of @runs is free and clean to @clean. */
void pool_list_clean(struct pool *pool, const struct extent *runs, guint count, GArray *clean);

/*
 * The next piece, dirty until now; with @wait, waits for one. False: there is none, or pool_stop_zeroing() was called.
 * Each piece must be ended; @zeroed: all of it is zero now.
 */
bool pool_begin_zeroing(struct pool *pool, struct pool_piece *piece, bool wait);
void pool_end_zeroing(struct pool *pool, struct pool_piece *piece, bool zeroed);
/* There are no more pieces, and those in work are in a hurry. */
void pool_stop_zeroing(struct pool *pool);

#endif

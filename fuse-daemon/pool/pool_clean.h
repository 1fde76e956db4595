/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The part of the pool that knows which memory is zero, and which is being zeroed. Same lock as pool.h.
 *
 * Free memory has one of three states, so that free = clean + dirty + zeroing:
 *   clean    zero: a file can get it as it is
 *   dirty    may contain bytes of a former owner
 *   zeroing  dirty, and a background thread is zeroing it
 * Memory that is being zeroed stays free, so that zeroing causes no shortage, and breaks no large page. A thread that is
 * given a part of it waits until the background thread has ended that piece, and has it hurry meanwhile. The rest of the
 * piece becomes clean as usual.
 *
 * Taken memory that is not zero is stale. The thread that took it has the stale parts zeroed before any process can read
 * them (zeroer_clean()). Memory that a file frees is dirty, whether the file was written or not.
 *
 * Clean memory is preferred, but large pages matter more than zeroing. The pool makes two choices: one from all free memory,
 * one from clean memory. It takes the second if less of it must be zeroed, unless that leaves fewer whole gigabytes or
 * 2 MiB blocks to the pool or the file, is on other nodes, or has many more runs. If there is not enough clean memory,
 * the second choice has dirty memory, too.
 *
 * Clean memory is recorded (store.h) after it was zeroed, while it is free and clean. The record is deleted in the
 * transaction that gives the memory to a file. So memory on record as clean is zero, but not all clean memory is on record.
 */
#ifndef DMEMFS_POOL_CLEAN_H
#define DMEMFS_POOL_CLEAN_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/extent.h"

/* The most runs of one piece. A piece has many, so that small runs are not zeroed and recorded one by one. */
#define POOL_PIECE_RUNS 256

struct pool;

/* The memory that one background thread zeroes at a time. The thread owns the struct. */
struct pool_piece {
	uint64_t regions;   /* where to look for memory; as in struct allocator_request */
	uint64_t max_bytes; /* of one piece; a multiple of 4 KiB */
	/* Called when a thread waits for the piece: with the pool's lock held, at most once for each piece. */
	void (*hurry)(void *data);
	void *data;
	GArray *runs; /* out: the piece (struct extent), by address */
	uint64_t at;  /* private to the pool: the address at which the next search begins */
	bool hurried; /* private to the pool: hurry was called */
};

/* Makes all free memory dirty. To be called first; without this call free memory always counts as clean. */
void pool_need_zeroing(struct pool *pool);
/* At the start: makes the free parts of @run clean, as recorded, and appends them to @believed. */
void pool_believe(struct pool *pool, struct extent run, GArray *believed);

/* Appends the stale parts of @runs, which are taken, to @stale (GArray of struct extent). */
void pool_list_stale(struct pool *pool, const struct extent *runs, guint count, GArray *stale);
/* To be called when @runs, which are taken, have been zeroed: they are no longer stale. */
void pool_set_zeroed(struct pool *pool, const struct extent *runs, guint count);
/* As pool_free(), for memory that no file has had: parts that are not stale are clean. */
void pool_free_unused(struct pool *pool, const struct extent *runs, guint count);
/* Appends the parts of @runs that are free and clean to @clean. */
void pool_list_clean(struct pool *pool, const struct extent *runs, guint count, GArray *clean);

/*
 * Puts the next dirty memory into @piece, whose state is now zeroing. With @wait, waits until there is some. False: there is
 * none, or pool_stop_zeroing() was called. After true, the caller must call pool_end_zeroing(); @zeroed: all of it is
 * zero, else it is dirty again.
 */
bool pool_begin_zeroing(struct pool *pool, struct pool_piece *piece, bool wait);
void pool_end_zeroing(struct pool *pool, struct pool_piece *piece, bool zeroed);
/* From now on there are no more pieces; hurry is called for those in work. */
void pool_stop_zeroing(struct pool *pool);

#endif

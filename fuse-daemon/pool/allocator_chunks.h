/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The wholly free chunks of a region, and runs of them.
 *
 * A bitmap has a bit for each chunk. A complete binary tree has a leaf for each word of 64 bits; each node has the longest
 * run below it, and the lengths of the runs at its two ends. This takes 3 bits per chunk; every operation is O(log chunks).
 */
#ifndef DMEMFS_ALLOCATOR_CHUNKS_H
#define DMEMFS_ALLOCATOR_CHUNKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHUNKS_NONE UINT32_MAX

/* Lengths, in chunks, of free runs below one node of the tree: at the low end, at the high end, and the longest. */
struct chunks_span {
	uint32_t prefix;
	uint32_t suffix;
	uint32_t longest;
};

struct chunks {
	uint32_t count;           /* chunks */
	uint32_t free;            /* how many of them are wholly free */
	uint32_t leaves;          /* words, a power of two */
	uint64_t *words;          /* bit i: chunk i is wholly free */
	struct chunks_span *tree; /* root at 1, children of i at 2i and 2i + 1, leaves from index leaves on */
};

/* @count chunks, none of them free. */
void chunks_init(struct chunks *chunks, uint32_t count);
void chunks_clear(struct chunks *chunks);

/* Marks [first, first + count) as wholly free (@free true) or not. All of it must have the other state. */
void chunks_assign(struct chunks *chunks, uint32_t first, uint32_t count, bool free);
bool chunks_test(const struct chunks *chunks, uint32_t chunk);
/* How many chunks from @first on are free without a gap, counted no further than @max. */
uint32_t chunks_run_at(const struct chunks *chunks, uint32_t first, uint32_t max);

/* The length of the longest run, in chunks. */
uint32_t chunks_longest(const struct chunks *chunks);
/* The first chunk of the lowest run of at least @count chunks (not 0); CHUNKS_NONE when there is none. */
uint32_t chunks_find(const struct chunks *chunks, uint32_t count);
/* The highest free chunk; CHUNKS_NONE when there is none. */
uint32_t chunks_last(const struct chunks *chunks);

#endif

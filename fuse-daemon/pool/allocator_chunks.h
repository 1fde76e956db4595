/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which chunks of a region are wholly free, and where there are runs of them.
 *
 * A bit per chunk, and over each word of 64 bits the leaf of a complete binary tree whose nodes know the longest run
 * below them and those that touch their two ends: 3 bits of memory per chunk, O(log chunks) for everything.
 */
#ifndef DMEMFS_ALLOCATOR_CHUNKS_H
#define DMEMFS_ALLOCATOR_CHUNKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHUNKS_NONE UINT32_MAX

/* Free runs among the chunks below one node of the tree; lengths in chunks. */
struct chunks_span {
	uint32_t prefix;
	uint32_t suffix;
	uint32_t longest;
};

struct chunks {
	uint32_t count;           /* chunks */
	uint32_t free;            /* wholly free ones among them */
	uint32_t leaves;          /* words, a power of two */
	uint64_t *words;          /* bit i: chunk i is wholly free */
	struct chunks_span *tree; /* root at 1, children of i at 2i and 2i + 1, leaves from index leaves on */
};

/* @count chunks, none of them free. */
void chunks_init(struct chunks *chunks, uint32_t count);
void chunks_clear(struct chunks *chunks);

/* All of [first, first + count) must be in the other state. */
void chunks_assign(struct chunks *chunks, uint32_t first, uint32_t count, bool free);
bool chunks_test(const struct chunks *chunks, uint32_t chunk);
/* How many chunks from @first on are free without a gap, counted no further than @max. */
uint32_t chunks_run_at(const struct chunks *chunks, uint32_t first, uint32_t max);

uint32_t chunks_longest(const struct chunks *chunks);
/* Where the leftmost run of at least @count, not 0, begins; CHUNKS_NONE when there is none. */
uint32_t chunks_find(const struct chunks *chunks, uint32_t count);
/* The rightmost free chunk, CHUNKS_NONE when there is none. */
uint32_t chunks_last(const struct chunks *chunks);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One region: which of its memory is free. Internal to the allocator; allocator_place.c decides what to take.
 *
 * Positions and lengths are in pages of 4 KiB, positions relative to region->base, a multiple of 1 GiB: they agree with
 * addresses modulo 1 GiB. Parts of the first and the last chunk that lie outside of the region are always used.
 *
 *   a chunk is       bit in chunks   node
 *   wholly free      1               none
 *   wholly used      0               none
 *   partly used      0               region->chunk_nodes[chunk]
 * and the same one level down: blocks by the bits and the children of the node of their chunk.
 */
#ifndef DMEMFS_ALLOCATOR_REGION_H
#define DMEMFS_ALLOCATOR_REGION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/extent.h"
#include "pool/allocator_chunks.h"
#include "pool/allocator_nodes.h"

#define PAGE_BYTES      DMEMFS_PAGE_4K
#define BLOCK_PAGES     (DMEMFS_PAGE_2M / PAGE_BYTES)
#define CHUNK_PAGES     (DMEMFS_PAGE_1G / PAGE_BYTES)
#define BLOCKS_IN_CHUNK (DMEMFS_PAGE_1G / DMEMFS_PAGE_2M)

struct region {
	uint64_t start; /* bytes, as added */
	uint64_t length;
	uint64_t base; /* bytes: start rounded down to a chunk */
	uint64_t free_pages;
	uint64_t free_blocks; /* wholly free ones, those in wholly free chunks included */
	struct chunks chunks;
	uint32_t *chunk_nodes; /* of each partly used chunk, else NODE_NONE */
	struct nodes nodes;
	struct shelf partly_used_chunks;
	struct shelf partly_used_blocks;
};

/* Kinds of free memory, each without the ones before it. */
enum region_kind {
	REGION_CHUNKS = 1 << 0, /* wholly free chunks */
	REGION_BLOCKS = 1 << 1, /* wholly free blocks of partly used chunks */
	REGION_PAGES = 1 << 2,  /* free pages of partly used blocks */
	REGION_ALL = REGION_CHUNKS | REGION_BLOCKS | REGION_PAGES,
};

/* All of it free. Bytes, multiples of 4 KiB, with no address past 2^52. */
struct region *region_new(uint64_t start, uint64_t length);
void region_destroy(struct region *region);

static inline uint64_t region_page(const struct region *region, uint64_t address)
{
	return (address - region->base) / PAGE_BYTES;
}

static inline uint64_t region_address(const struct region *region, uint64_t page)
{
	return region->base + page * PAGE_BYTES;
}

/* Bytes that can be had in units of @unit. */
uint64_t region_available(const struct region *region, uint64_t unit);

/* Is all of it free (@free true), or all of it used? */
bool region_is(const struct region *region, uint64_t page, uint64_t count, bool free);
/* Takes or, with @free, gives back. All of it must be in the other state. */
void region_assign(struct region *region, uint64_t page, uint64_t count, bool free);

/*
 * How many pages from @page on are free without a gap, counted no further than @max. The run ends where it would enter
 * memory of a kind that is not in @kinds.
 */
uint64_t region_run_at(const struct region *region, uint64_t page, uint64_t max, enum region_kind kinds);
/* The first free page in [@page, @end); false when there is none. Takes the time of as many pages at most. */
bool region_next_free(const struct region *region, uint64_t *page, uint64_t end);

#endif

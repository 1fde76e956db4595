/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The free memory of one region. Internal to the allocator. allocator_place.c decides which memory to take.
 *
 * Positions and lengths are in pages of 4 KiB. Positions are relative to region->base, a multiple of 1 GiB, so that position
 * and address are equal modulo 1 GiB. The parts of the first and the last chunk that are outside the region count as used.
 *
 *   a chunk is       bit in chunks   node
 *   wholly free      1               none
 *   wholly used      0               none
 *   partly used      0               region->chunk_nodes[chunk]
 * Blocks are the same one level down: their bits and nodes are in the node of their chunk.
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
	uint64_t free_blocks; /* wholly free blocks, including those in wholly free chunks */
	struct chunks chunks;
	uint32_t *chunk_nodes; /* the node of each partly used chunk; NODE_NONE for others */
	struct nodes nodes;
	struct shelf partly_used_chunks;
	struct shelf partly_used_blocks;
};

/* Kinds of free memory. Each excludes the kinds before it. */
enum region_kind {
	REGION_CHUNKS = 1 << 0, /* wholly free chunks */
	REGION_BLOCKS = 1 << 1, /* wholly free blocks of partly used chunks */
	REGION_PAGES = 1 << 2,  /* free pages of partly used blocks */
	REGION_ALL = REGION_CHUNKS | REGION_BLOCKS | REGION_PAGES,
};

/* A region that is wholly free. @start and @length: bytes, multiples of 4 KiB, below ALLOCATOR_ADDRESS_END. */
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

/* The bytes that can be allocated in units of @unit. */
uint64_t region_available(const struct region *region, uint64_t unit);

/* Is all of it free (@free true), or all of it used? */
bool region_is(const struct region *region, uint64_t page, uint64_t count, bool free);
/* Takes the range or, with @free, frees it. All of it must have the other state. */
void region_assign(struct region *region, uint64_t page, uint64_t count, bool free);

/*
 * The length of the free run that begins at @page, at most @max pages. The run ends at the first memory of a kind that is
 * not in @kinds.
 */
uint64_t region_run_at(const struct region *region, uint64_t page, uint64_t max, enum region_kind kinds);
/* Moves *@page to the first free page in [*@page, @end). False when there is none. At worst O(pages skipped). */
bool region_next_free(const struct region *region, uint64_t *page, uint64_t end);

#endif

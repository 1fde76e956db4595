// SPDX-License-Identifier: GPL-2.0-or-later
/* The free memory of one region: a bitmap of chunks, and nodes for chunks and blocks that are partly used. */
#include "pool/allocator_region.h"

#include <string.h>

struct region *region_new(uint64_t start, uint64_t length)
{
	struct region *region = g_new0(struct region, 1);
	uint64_t base = start - start % DMEMFS_PAGE_1G;
	uint64_t chunks = (start + length - base + DMEMFS_PAGE_1G - 1) / DMEMFS_PAGE_1G;

	region->start = start;
	region->length = length;
	region->base = base;
	chunks_init(&region->chunks, (uint32_t)chunks);
	region->chunk_nodes = g_new(uint32_t, chunks);
	memset(region->chunk_nodes, 0xff, chunks * sizeof(*region->chunk_nodes)); /* NODE_NONE */
	nodes_init(&region->nodes);
	shelf_init(&region->partly_used_chunks);
	shelf_init(&region->partly_used_blocks);
	region_assign(region, region_page(region, start), length / PAGE_BYTES, true);
	return region;
}

void region_destroy(struct region *region)
{
	chunks_clear(&region->chunks);
	nodes_clear(&region->nodes);
	g_free(region->chunk_nodes);
	g_free(region);
}

uint64_t region_available(const struct region *region, uint64_t unit)
{
	switch (unit) {
	case DMEMFS_PAGE_1G:
		return region->chunks.free * DMEMFS_PAGE_1G;
	case DMEMFS_PAGE_2M:
		return region->free_blocks * DMEMFS_PAGE_2M;
	default:
		return region->free_pages * PAGE_BYTES;
	}
}

/* How many of @count pages from @page on are in the same aligned group of @size pages. */
static uint64_t within(uint64_t page, uint64_t count, uint64_t size)
{
	return MIN(count, size - page % size);
}

/* As region_is(), for a part of one block of @chunk. */
static bool block_is(const struct region *region, const struct node *chunk, uint64_t page, uint64_t count, bool free)
{
	unsigned slot = page / BLOCK_PAGES % BLOCKS_IN_CHUNK;
	uint32_t block = node_child(chunk, slot);

	if (block == NODE_NONE)
		return bits_test(&chunk->free, slot) == free;
	return bits_are(&nodes_get(&region->nodes, block)->free, page % BLOCK_PAGES, (unsigned)count, free);
}

/* As region_is(), for whole blocks of @chunk. */
static bool blocks_are(const struct node *chunk, unsigned slot, unsigned count, bool free)
{
	if (!bits_are(&chunk->free, slot, count, free))
		return false;
	if (free || chunk->partial == 0)
		return true;
	for (unsigned i = slot; i < slot + count; i++) {
		if (node_child(chunk, i) != NODE_NONE)
			return false;
	}
	return true;
}

/* As region_is(), for a range inside one chunk. */
static bool chunk_is(const struct region *region, uint64_t page, uint64_t count, bool free)
{
	uint32_t index = region->chunk_nodes[page / CHUNK_PAGES];

	if (index == NODE_NONE)
		return chunks_test(&region->chunks, (uint32_t)(page / CHUNK_PAGES)) == free;

	const struct node *chunk = nodes_get(&region->nodes, index);

	for (uint64_t part; count > 0; page += part, count -= part) {
		part = within(page, count, BLOCK_PAGES);
		if (part < BLOCK_PAGES) {
			if (!block_is(region, chunk, page, part, free))
				return false;
			continue;
		}
		part = count - count % BLOCK_PAGES;
		if (!blocks_are(chunk, page / BLOCK_PAGES % BLOCKS_IN_CHUNK, (unsigned)(part / BLOCK_PAGES), free))
			return false;
	}
	return true;
}

bool region_is(const struct region *region, uint64_t page, uint64_t count, bool free)
{
	for (uint64_t part; count > 0; page += part, count -= part) {
		part = within(page, count, CHUNK_PAGES);
		if (!chunk_is(region, page, part, free))
			return false;
	}
	return true;
}

/* The node of chunk @chunk; makes one if there is none. */
static uint32_t need_chunk(struct region *region, uint32_t chunk)
{
	uint32_t index = region->chunk_nodes[chunk];

	if (index == NODE_NONE) {
		bool free = chunks_test(&region->chunks, chunk);

		index = nodes_new(&region->nodes, chunk, free);
		region->chunk_nodes[chunk] = index;
		if (free)
			chunks_assign(&region->chunks, chunk, 1, false);
	}
	return index;
}

/* To be called after a change of a chunk: sorts its node @index again, or releases it when no longer partly used. */
static void settle_chunk(struct region *region, uint32_t index)
{
	struct node *node = nodes_get(&region->nodes, index);
	bool full = bits_full(&node->free);

	if (!full && (node->partial > 0 || !bits_empty(&node->free))) {
		shelf_file(&region->partly_used_chunks, &region->nodes, index);
		return;
	}
	shelf_remove(&region->partly_used_chunks, &region->nodes, index);
	region->chunk_nodes[node->position] = NODE_NONE;
	if (full)
		chunks_assign(&region->chunks, node->position, 1, true);
	nodes_release(&region->nodes, index);
}

/* The node of block @slot of chunk node @parent; makes one if there is none. */
static uint32_t need_block(struct region *region, uint32_t parent, unsigned slot)
{
	struct node *chunk = nodes_get(&region->nodes, parent);
	uint32_t index = node_child(chunk, slot);

	if (index == NODE_NONE) {
		bool free = bits_test(&chunk->free, slot);

		index = nodes_new(&region->nodes, chunk->position * (uint32_t)BLOCKS_IN_CHUNK + slot, free);
		nodes_set_child(&region->nodes, parent, slot, index);
		if (free) {
			bits_assign(&chunk->free, slot, 1, false);
			region->free_blocks--;
		}
	}
	return index;
}

/* As settle_chunk(), for a block. */
static void settle_block(struct region *region, uint32_t parent, uint32_t index)
{
	struct node *node = nodes_get(&region->nodes, index);
	unsigned slot = node->position % BLOCKS_IN_CHUNK;
	bool full = bits_full(&node->free);

	if (!full && !bits_empty(&node->free)) {
		shelf_file(&region->partly_used_blocks, &region->nodes, index);
		return;
	}
	shelf_remove(&region->partly_used_blocks, &region->nodes, index);
	nodes_set_child(&region->nodes, parent, slot, NODE_NONE);
	if (full) {
		bits_assign(&nodes_get(&region->nodes, parent)->free, slot, 1, true);
		region->free_blocks++;
	}
	nodes_release(&region->nodes, index);
}

/* As region_assign(), for a part of one block. */
static void assign_in_block(struct region *region, uint32_t parent, uint64_t page, uint64_t count, bool free)
{
	uint32_t index = need_block(region, parent, page / BLOCK_PAGES % BLOCKS_IN_CHUNK);

	bits_assign(&nodes_get(&region->nodes, index)->free, page % BLOCK_PAGES, (unsigned)count, free);
	settle_block(region, parent, index);
}

/* As region_assign(), for a part of one chunk: whole blocks in the middle, parts of blocks at the ends. */
static void assign_in_chunk(struct region *region, uint64_t page, uint64_t count, bool free)
{
	uint32_t index = need_chunk(region, (uint32_t)(page / CHUNK_PAGES));

	for (uint64_t part; count > 0; page += part, count -= part) {
		part = within(page, count, BLOCK_PAGES);
		if (part < BLOCK_PAGES) {
			assign_in_block(region, index, page, part, free);
			continue;
		}

		uint64_t blocks = count / BLOCK_PAGES;

		bits_assign(&nodes_get(&region->nodes, index)->free, page / BLOCK_PAGES % BLOCKS_IN_CHUNK,
		            (unsigned)blocks, free);
		region->free_blocks = free ? region->free_blocks + blocks : region->free_blocks - blocks;
		part = blocks * BLOCK_PAGES;
	}
	settle_chunk(region, index);
}

void region_assign(struct region *region, uint64_t page, uint64_t count, bool free)
{
	region->free_pages = free ? region->free_pages + count : region->free_pages - count;
	for (uint64_t part; count > 0; page += part, count -= part) {
		part = within(page, count, CHUNK_PAGES);
		if (part < CHUNK_PAGES) {
			assign_in_chunk(region, page, part, free);
			continue;
		}

		uint64_t chunks = count / CHUNK_PAGES;
		uint64_t blocks = chunks * BLOCKS_IN_CHUNK;

		chunks_assign(&region->chunks, (uint32_t)(page / CHUNK_PAGES), (uint32_t)chunks, free);
		region->free_blocks = free ? region->free_blocks + blocks : region->free_blocks - blocks;
		part = chunks * CHUNK_PAGES;
	}
}

/* As region_run_at(), inside the partly used chunk of @page. May return more than @max. */
static uint64_t run_in_chunk(const struct region *region, const struct node *chunk, uint64_t page, uint64_t max,
                             enum region_kind kinds)
{
	uint64_t end = page - page % CHUNK_PAGES + CHUNK_PAGES;
	uint64_t at = page;

	while (at < end && at - page < max) {
		unsigned slot = at / BLOCK_PAGES % BLOCKS_IN_CHUNK;
		uint32_t block = node_child(chunk, slot);

		if (bits_test(&chunk->free, slot)) {
			if (!(kinds & REGION_BLOCKS))
				break;
			at += bits_run_at(&chunk->free, slot) * BLOCK_PAGES - at % BLOCK_PAGES;
		} else if (block != NODE_NONE && (kinds & REGION_PAGES)) {
			uint64_t run = bits_run_at(&nodes_get(&region->nodes, block)->free, at % BLOCK_PAGES);

			if (run == 0)
				break;
			at += run;
		} else {
			break;
		}
	}
	return at - page;
}

uint64_t region_run_at(const struct region *region, uint64_t page, uint64_t max, enum region_kind kinds)
{
	uint64_t end = region->chunks.count * CHUNK_PAGES;
	uint64_t at = page;

	while (at < end && at - page < max) {
		uint32_t chunk = (uint32_t)(at / CHUNK_PAGES);
		uint32_t node = region->chunk_nodes[chunk];

		if (chunks_test(&region->chunks, chunk)) {
			if (!(kinds & REGION_CHUNKS))
				break;
			/* +2: @at may be inside the first chunk, and the end of @max inside the last one. */
			uint64_t enough = MIN((max - (at - page)) / CHUNK_PAGES + 2, UINT32_MAX);

			at = (chunk + chunks_run_at(&region->chunks, chunk, (uint32_t)enough)) * CHUNK_PAGES;
		} else if (node != NODE_NONE) {
			uint64_t run =
				run_in_chunk(region, nodes_get(&region->nodes, node), at, max - (at - page), kinds);

			if (run == 0)
				break;
			at += run;
		} else {
			break;
		}
	}
	return MIN(at - page, max);
}

/* The first free page in [@at, @end) of a partly used chunk; @end or more when there is none. */
static uint64_t next_in_chunk(const struct region *region, const struct node *chunk, uint64_t at, uint64_t end)
{
	for (; at < end; at = at - at % BLOCK_PAGES + BLOCK_PAGES) {
		unsigned slot = at / BLOCK_PAGES % BLOCKS_IN_CHUNK;
		uint32_t block = node_child(chunk, slot);

		if (bits_test(&chunk->free, slot))
			return at;
		if (block == NODE_NONE)
			continue;

		unsigned page = bits_next(&nodes_get(&region->nodes, block)->free, at % BLOCK_PAGES, true);

		if (page < BITS)
			return at - at % BLOCK_PAGES + page;
	}
	return end;
}

bool region_next_free(const struct region *region, uint64_t *page, uint64_t end)
{
	end = region->free_pages ? MIN(end, region->chunks.count * CHUNK_PAGES) : 0;
	for (uint64_t at = *page, next; at < end; at = next) {
		uint32_t chunk = (uint32_t)(at / CHUNK_PAGES);
		uint32_t node = region->chunk_nodes[chunk];
		uint64_t found;

		next = MIN(at - at % CHUNK_PAGES + CHUNK_PAGES, end);
		found = next;
		if (chunks_test(&region->chunks, chunk))
			found = at;
		else if (node != NODE_NONE)
			found = next_in_chunk(region, nodes_get(&region->nodes, node), at, next);
		if (found < next) {
			*page = found;
			return true;
		}
	}
	return false;
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* Chooses free memory of one region for a request. Positions, counts and file offsets are in pages of 4 KiB. */
#include "pool/allocator_place.h"

/* When no partly used chunk has room for all, it may serve a piece of at least 1/PIECES of the rest. */
#define PIECES 8

/* Collects the runs of one request. */
struct sink {
	struct region *region;
	uint64_t unit; /* pages */
	GArray *out;   /* of struct extent */
	guint first;   /* index of the request's first run in out */
};

static void append(struct sink *sink, struct extent run)
{
	if (sink->out->len > sink->first) {
		struct extent *last = &g_array_index(sink->out, struct extent, sink->out->len - 1);

		/* A run must be in one region, also where two regions are adjacent. */
		if (last->start + last->length == run.start && run.start != sink->region->start) {
			last->length += run.length;
			return;
		}
	}
	g_array_append_val(sink->out, run);
}

static void take(struct sink *sink, uint64_t page, uint64_t count)
{
	struct extent run = {
		.start = region_address(sink->region, page),
		.length = count * PAGE_BYTES,
	};

	region_assign(sink->region, page, count, false);
	append(sink, run);
}

/* Takes @count pages directly after the request's last run, if all of them are free memory of @kinds. */
static bool take_behind_last(struct sink *sink, uint64_t count, enum region_kind kinds)
{
	const struct region *region = sink->region;

	if (sink->out->len == sink->first)
		return false;

	const struct extent *last = &g_array_index(sink->out, struct extent, sink->out->len - 1);
	uint64_t end = last->start + last->length;

	if (end <= region->start || end >= region->start + region->length)
		return false;
	if (region_run_at(region, region_page(region, end), count, kinds) < count)
		return false;
	take(sink, region_page(region, end), count);
	return true;
}

/* Takes wholly free chunks for as many of @count pages (whole chunks) as there are. Returns the pages that remain. */
static uint64_t place_chunks(struct sink *sink, uint64_t count)
{
	const struct chunks *chunks = &sink->region->chunks;

	while (count > 0 && chunks->free > 0) {
		uint32_t longest = chunks_longest(chunks);
		uint32_t take_chunks = (uint32_t)MIN(count / CHUNK_PAGES, longest);

		take(sink, chunks_find(chunks, take_chunks) * CHUNK_PAGES, take_chunks * CHUNK_PAGES);
		count -= take_chunks * CHUNK_PAGES;
	}
	return count;
}

/* Finds a run of at least @count pages of whole blocks, less than a chunk, in the partly used chunk that it fits best. */
static bool find_blocks(const struct region *region, uint64_t count, uint64_t *page)
{
	uint32_t index = count < BITS ? shelf_find(&region->partly_used_chunks, (unsigned)count) : NODE_NONE;

	if (index == NODE_NONE)
		return false;

	const struct node *chunk = nodes_get(&region->nodes, index);

	*page = chunk->position * CHUNK_PAGES + bits_fit(&chunk->free, (unsigned)count).start * BLOCK_PAGES;
	return true;
}

/* The same for pages in partly used blocks. */
static bool find_pages(const struct region *region, uint64_t count, uint64_t *page)
{
	uint32_t index = count < BITS ? shelf_find(&region->partly_used_blocks, (unsigned)count) : NODE_NONE;

	if (index == NODE_NONE)
		return false;

	const struct node *block = nodes_get(&region->nodes, index);

	*page = block->position * BLOCK_PAGES + bits_fit(&block->free, (unsigned)count).start;
	return true;
}

/* Finds the wholly free chunk with the highest address, which large requests would take last. */
static bool find_last_chunk(const struct region *region, uint64_t *page)
{
	uint32_t chunk = chunks_last(&region->chunks);

	*page = chunk * CHUNK_PAGES;
	return chunk != CHUNKS_NONE;
}

/* Finds the longest run on @shelf, whose nodes have @size pages. Returns its length in pages, 0 if there is none. */
static uint64_t find_longest(const struct region *region, const struct shelf *shelf, uint64_t size, uint64_t *page)
{
	uint32_t index = shelf_longest(shelf);

	if (index == NODE_NONE)
		return 0;

	const struct node *node = nodes_get(&region->nodes, index);
	struct bits_run run = bits_longest(&node->free);

	*page = node->position * size + run.start * (size / BITS);
	return run.length * (size / BITS);
}

/*
 * Finds a run in a partly used chunk that is worth an entry in the extent map: taking it keeps a free chunk whole, and costs
 * no large page. Returns its length in pages, 0 if there is none.
 */
static uint64_t find_piece(const struct region *region, uint64_t count, uint64_t *page)
{
	uint64_t longest = find_longest(region, &region->partly_used_chunks, CHUNK_PAGES, page);

	return longest >= count / PIECES ? longest : 0;
}

/* Takes wholly free blocks for as many of @count pages (whole blocks) as there are. Returns the pages that remain. */
static uint64_t place_blocks(struct sink *sink, uint64_t count)
{
	const struct region *region = sink->region;

	if (count > 0 && take_behind_last(sink, count, REGION_BLOCKS))
		return 0;
	while (count > 0 && region->free_blocks > 0) {
		uint64_t page;
		uint64_t part = MIN(count, CHUNK_PAGES), piece;

		if (!find_blocks(region, count / BLOCK_PAGES, &page)) {
			piece = find_piece(region, count, &page);
			if (piece)
				part = MIN(count, piece);
			else if (!find_last_chunk(region, &page))
				part = MIN(count,
				           find_longest(region, &region->partly_used_chunks, CHUNK_PAGES, &page));
		}
		take(sink, page, part);
		count -= part;
	}
	return count;
}

/* Takes @count pages, which must be free. */
static void place_pages(struct sink *sink, uint64_t count)
{
	const struct region *region = sink->region;

	if (count > 0 && take_behind_last(sink, count, REGION_PAGES))
		return;
	while (count > 0) {
		uint64_t page;
		uint64_t part = MIN(count, BLOCK_PAGES);

		if (!find_pages(region, count, &page) && !find_blocks(region, 1, &page) &&
		    !find_last_chunk(region, &page))
			part = MIN(count, find_longest(region, &region->partly_used_blocks, BLOCK_PAGES, &page));
		g_assert(part > 0);
		take(sink, page, part);
		count -= part;
	}
}

/* Serves whole chunks or blocks of the file; @size is the pages of one. */
static void place_whole(struct sink *sink, uint64_t size, uint64_t count)
{
	if (size == CHUNK_PAGES)
		count = place_chunks(sink, count);
	if (sink->unit <= BLOCK_PAGES)
		count = place_blocks(sink, count);
	if (sink->unit < BLOCK_PAGES)
		place_pages(sink, count);
	else
		g_assert(count == 0);
}

/* Finds the first whole, aligned @size in [offset, offset + count); @head: the pages before it. False: there is none. */
static bool find_whole(uint64_t size, uint64_t offset, uint64_t count, uint64_t *head)
{
	*head = (size - offset % size) % size;
	return *head + size <= count;
}

static void place(struct sink *sink, uint64_t size, uint64_t offset, uint64_t count);

/* Serves a head or tail of the file's range: less than a whole, aligned @size. */
static void place_rest(struct sink *sink, uint64_t size, uint64_t offset, uint64_t count)
{
	if (size == CHUNK_PAGES)
		place(sink, BLOCK_PAGES, offset, count);
	else
		place_pages(sink, count);
}

/*
 * Serves the whole, aligned @size parts first, so that head and tail do not break the chunks or blocks that they need. The
 * runs in @out are in file order.
 */
static void place_around(struct sink *sink, uint64_t size, uint64_t offset, uint64_t head, uint64_t count)
{
	uint64_t tail = (count - head) % size;
	struct sink middle = *sink;

	if (head > 0) {
		middle.out = g_array_new(FALSE, FALSE, sizeof(struct extent));
		middle.first = 0;
	}
	place_whole(&middle, size, count - head - tail);
	if (head > 0) {
		place_rest(sink, size, offset, head);
		for (guint i = 0; i < middle.out->len; i++)
			append(sink, g_array_index(middle.out, struct extent, i));
		g_array_unref(middle.out);
	}
	if (tail > 0)
		place_rest(sink, size, offset + count - tail, tail);
}

/* @size: the largest page that the request may get, a chunk or a block. */
static void place(struct sink *sink, uint64_t size, uint64_t offset, uint64_t count)
{
	uint64_t head;

	if (find_whole(size, offset, count, &head)) {
		place_around(sink, size, offset, head, count);
	} else if (count < size) {
		place_rest(sink, size, offset, count);
	} else {
		/* The range may be longer than @size, but contains no aligned one. */
		place_rest(sink, size, offset, head);
		place_rest(sink, size, offset + head, count - head);
	}
}

void place_anywhere(struct region *region, uint64_t unit, uint64_t offset, uint64_t length, GArray *out, guint first)
{
	struct sink sink = { .region = region, .unit = unit / PAGE_BYTES, .out = out, .first = first };

	place(&sink, CHUNK_PAGES, offset / PAGE_BYTES, length / PAGE_BYTES);
}

/*
 * If the file offset and the address differ modulo @size, no page of @size can map the run. Then the run must not use whole
 * chunks or blocks, and must not serve a part of the file that could have a whole one. Limits *@count and *@kinds.
 */
static void spare(uint64_t size, enum region_kind whole, uint64_t page, uint64_t offset, uint64_t *count,
                  unsigned *kinds)
{
	uint64_t head;

	if (page % size == offset % size)
		return;
	*kinds &= ~(unsigned)whole;
	if (find_whole(size, offset, *count, &head))
		*count = head;
}

uint64_t place_behind(struct region *region, uint64_t address, uint64_t unit, uint64_t offset, uint64_t length,
                      GArray *out, guint first)
{
	struct sink sink = { .region = region, .unit = unit / PAGE_BYTES, .out = out, .first = first };
	uint64_t page = region_page(region, address);
	uint64_t count = length / PAGE_BYTES;
	unsigned kinds = REGION_CHUNKS;

	if (address % unit)
		return 0;
	if (unit <= DMEMFS_PAGE_2M)
		kinds |= REGION_BLOCKS;
	if (unit <= DMEMFS_PAGE_4K)
		kinds |= REGION_PAGES;
	spare(CHUNK_PAGES, REGION_CHUNKS, page, offset / PAGE_BYTES, &count, &kinds);
	spare(BLOCK_PAGES, REGION_BLOCKS, page, offset / PAGE_BYTES, &count, &kinds);
	count = region_run_at(region, page, count, kinds);
	count -= count % sink.unit;
	if (count > 0)
		take(&sink, page, count);
	return count * PAGE_BYTES;
}

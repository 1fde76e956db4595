// SPDX-License-Identifier: GPL-2.0-or-later
/* Placement in one region. Positions and counts are pages of 4 KiB, file offsets too. */
#include "pool/allocator_place.h"

/* Partly used chunks serve in pieces what none of them can serve whole, while a piece is at least this part of the rest. */
#define PIECES 8

/* Where the runs of one request go. */
struct sink {
	struct region *region;
	uint64_t unit; /* pages */
	GArray *out;   /* of struct extent */
	guint first;   /* the request's first element */
};

static void append(struct sink *sink, struct extent run)
{
	if (sink->out->len > sink->first) {
		struct extent *last = &g_array_index(sink->out, struct extent, sink->out->len - 1);

		/* A run stays in one region, also where two regions touch. */
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

/* Takes all @count pages right behind the request's last run, if free memory of @kinds is there. */
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

/* As much of @count pages, whole chunks, as wholly free chunks can serve. Returns what is left. */
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

/* The first page of a run of at least @count blocks, less than a chunk, in the partly used chunk that it fits best. */
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

/* The wholly free chunk that large requests would take last. */
static bool find_last_chunk(const struct region *region, uint64_t *page)
{
	uint32_t chunk = chunks_last(&region->chunks);

	*page = chunk * CHUNK_PAGES;
	return chunk != CHUNKS_NONE;
}

/* The longest run on @shelf, whose nodes are of @size pages: its first page and its length in pages, 0 if none. */
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
 * A run of partly used chunks that is worth its entry in the extent map: it keeps a free chunk whole and costs no large
 * page. Its length, 0 if there is none.
 */
static uint64_t find_piece(const struct region *region, uint64_t count, uint64_t *page)
{
	uint64_t longest = find_longest(region, &region->partly_used_chunks, CHUNK_PAGES, page);

	return longest >= count / PIECES ? longest : 0;
}

/* As much of @count pages, whole blocks, as wholly free blocks can serve. Returns what is left. */
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

/* Takes @count pages, which are there. */
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

/* Whole chunks or blocks of the file: @size is the one or the other. */
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

/* Where in [offset, offset + count) the first whole aligned @size begins: false when there is none. */
static bool find_whole(uint64_t size, uint64_t offset, uint64_t count, uint64_t *head)
{
	*head = (size - offset % size) % size;
	return *head + size <= count;
}

static void place(struct sink *sink, uint64_t size, uint64_t offset, uint64_t count);

/* A head or tail: what is no whole @size of the file. */
static void place_rest(struct sink *sink, uint64_t size, uint64_t offset, uint64_t count)
{
	if (size == CHUNK_PAGES)
		place(sink, BLOCK_PAGES, offset, count);
	else
		place_pages(sink, count);
}

/*
 * Whole aligned @size of the file first, so that head and tail do not break what they need; in @out they come in
 * file order all the same.
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
		/* Longer than one of them, but across a boundary. */
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
 * A run that is not congruent with the file modulo @size must neither use up whole ones nor serve what could have
 * a whole one: limits *@count and *@kinds.
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

// SPDX-License-Identifier: GPL-2.0-or-later
/* Does the allocator's state hold together? Walks all of it. */
#include "unit/pool/allocator_check.h"

#include <string.h>

#include "pool/allocator_private.h"

/* The walk over one region, and what it has counted. */
struct walk {
	const struct region *region;
	GString *reason;
	uint64_t free_pages;
	uint64_t free_blocks;
	uint64_t filed_chunks; /* nodes that a shelf should hold */
	uint64_t filed_blocks;
	uint32_t nodes;
};

unsigned bits_count(const struct bits *bits)
{
	unsigned count = 0;

	for (unsigned word = 0; word < BITS_WORDS; word++)
		count += (unsigned)__builtin_popcountll(bits->words[word]);
	return count;
}

G_GNUC_PRINTF(2, 3)
static bool fail(struct walk *walk, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	g_string_append_printf(walk->reason, "region at 0x%" G_GINT64_MODIFIER "x: ", walk->region->start);
	g_string_append_vprintf(walk->reason, format, args);
	va_end(args);
	return false;
}

static bool node_exists(const struct region *region, uint32_t index)
{
	return index < region->nodes.slabs->len * NODES_PER_SLAB;
}

static bool check_block(struct walk *walk, uint64_t block, uint32_t index)
{
	const struct node *node;

	if (!node_exists(walk->region, index))
		return fail(walk, "block %" G_GUINT64_FORMAT ": no node %u", block, index);
	node = nodes_get(&walk->region->nodes, index);
	if (node->position != block)
		return fail(walk, "block %" G_GUINT64_FORMAT ": node of block %u", block, node->position);
	if (bits_empty(&node->free) || bits_full(&node->free))
		return fail(walk, "block %" G_GUINT64_FORMAT ": a node but not partly used", block);
	if (node->children || node->partial)
		return fail(walk, "block %" G_GUINT64_FORMAT ": has children", block);
	if (node->longest != bits_longest(&node->free).length)
		return fail(walk, "block %" G_GUINT64_FORMAT ": longest run is not %u", block, node->longest);
	walk->free_pages += bits_count(&node->free);
	walk->filed_blocks++;
	walk->nodes++;
	return true;
}

static bool check_blocks_of(struct walk *walk, const struct node *node)
{
	unsigned partial = 0;

	for (unsigned slot = 0; slot < BLOCKS_IN_CHUNK; slot++) {
		uint64_t block = node->position * BLOCKS_IN_CHUNK + slot;
		uint32_t child = node_child(node, slot);

		if (child == NODE_NONE)
			continue;
		if (bits_test(&node->free, slot))
			return fail(walk, "block %" G_GUINT64_FORMAT ": both free and partly used", block);
		if (!check_block(walk, block, child))
			return false;
		partial++;
	}
	if (node->partial != partial)
		return fail(walk, "chunk %u: %u partly used blocks counted as %u", node->position, partial,
		            node->partial);
	if ((node->children != NULL) != (partial > 0))
		return fail(walk, "chunk %u: table of blocks kept or missing", node->position);
	return true;
}

static bool check_partly_used_chunk(struct walk *walk, uint32_t chunk, uint32_t index)
{
	const struct node *node;

	if (!node_exists(walk->region, index))
		return fail(walk, "chunk %u: no node %u", chunk, index);
	node = nodes_get(&walk->region->nodes, index);
	if (node->position != chunk)
		return fail(walk, "chunk %u: node of chunk %u", chunk, node->position);
	if (chunks_test(&walk->region->chunks, chunk))
		return fail(walk, "chunk %u: both free and partly used", chunk);
	if (bits_full(&node->free) || (bits_empty(&node->free) && node->partial == 0))
		return fail(walk, "chunk %u: a node but not partly used", chunk);
	if (node->longest != bits_longest(&node->free).length)
		return fail(walk, "chunk %u: longest run is not %u", chunk, node->longest);
	walk->free_blocks += bits_count(&node->free);
	walk->free_pages += bits_count(&node->free) * BLOCK_PAGES;
	walk->filed_chunks += node->longest > 0;
	walk->nodes++;
	return check_blocks_of(walk, node);
}

bool chunks_check(const struct chunks *chunks)
{
	struct chunks anew;
	bool good;

	chunks_init(&anew, chunks->count);
	for (uint32_t chunk = 0; chunk < chunks->count; chunk++) {
		if (chunks_test(chunks, chunk))
			chunks_assign(&anew, chunk, 1, true);
	}
	/* The words: those past the last chunk, too. */
	good = chunks->free == anew.free &&
	       memcmp(chunks->words, anew.words, chunks->leaves * sizeof(*chunks->words)) == 0 &&
	       memcmp(&chunks->tree[1], &anew.tree[1], (2 * chunks->leaves - 1) * sizeof(*chunks->tree)) == 0;
	chunks_clear(&anew);
	return good;
}

static bool check_chunks(struct walk *walk)
{
	const struct region *region = walk->region;

	if (!chunks_check(&region->chunks))
		return fail(walk, "the tree over wholly free chunks does not say what the bits say");
	for (uint32_t chunk = 0; chunk < region->chunks.count; chunk++) {
		uint32_t index = region->chunk_nodes[chunk];

		if (index != NODE_NONE && !check_partly_used_chunk(walk, chunk, index))
			return false;
	}
	walk->free_blocks += region->chunks.free * BLOCKS_IN_CHUNK;
	walk->free_pages += region->chunks.free * CHUNK_PAGES;
	return true;
}

/* Every node on the shelf is filed under its longest run, and there are @expected of them. */
static bool check_shelf(struct walk *walk, const struct shelf *shelf, const char *name, uint64_t expected)
{
	uint64_t filed = 0;

	for (unsigned longest = 0; longest < BITS; longest++) {
		uint32_t previous = NODE_NONE;
		uint32_t index = shelf->heads[longest];

		if (bits_test(&shelf->filled, longest) != (index != NODE_NONE))
			return fail(walk, "shelf of %s: bit %u is wrong", name, longest);
		for (; index != NODE_NONE && filed <= expected; filed++) {
			const struct node *node;

			if (!node_exists(walk->region, index))
				return fail(walk, "shelf of %s: no node %u", name, index);
			node = nodes_get(&walk->region->nodes, index);
			if (node->longest != longest || node->previous != previous)
				return fail(walk, "shelf of %s: node %u misfiled under %u", name, index, longest);
			previous = index;
			index = node->next;
		}
	}
	if (filed != expected)
		return fail(walk, "shelf of %s: not the %" G_GUINT64_FORMAT " nodes there are", name, expected);
	return true;
}

static bool check_pool(struct walk *walk)
{
	const struct nodes *nodes = &walk->region->nodes;
	uint64_t total = nodes->slabs->len * (uint64_t)NODES_PER_SLAB;
	uint64_t unused = 0;

	for (uint32_t i = nodes->unused; i != NODE_NONE && unused <= total; i = nodes_get(nodes, i)->next) {
		if (!node_exists(walk->region, i))
			return fail(walk, "no unused node %u", i);
		unused++;
	}
	if (nodes->used != walk->nodes || nodes->used + unused != total)
		return fail(walk, "%u nodes in use counted as %u, %" G_GUINT64_FORMAT " unused, of %" G_GUINT64_FORMAT,
		            walk->nodes, nodes->used, unused, total);
	return true;
}

/* What surrounds the region in its first and last chunk is nobody's to give. */
static bool check_edges(struct walk *walk)
{
	const struct region *region = walk->region;
	uint64_t start = region_page(region, region->start);
	uint64_t end = start + region->length / PAGE_BYTES;

	if (!region_is(region, 0, start, false) ||
	    !region_is(region, end, region->chunks.count * CHUNK_PAGES - end, false))
		return fail(walk, "free memory outside of it");
	return true;
}

static bool check_sums(struct walk *walk)
{
	const struct region *region = walk->region;

	if (region->free_pages != walk->free_pages)
		return fail(walk, "%" G_GUINT64_FORMAT " free pages counted as %" G_GUINT64_FORMAT, walk->free_pages,
		            region->free_pages);
	if (region->free_blocks != walk->free_blocks)
		return fail(walk, "%" G_GUINT64_FORMAT " free blocks counted as %" G_GUINT64_FORMAT, walk->free_blocks,
		            region->free_blocks);
	return true;
}

static bool check_region(const struct region *region, GString *reason)
{
	struct walk walk = { .region = region, .reason = reason };

	return check_chunks(&walk) && check_sums(&walk) && check_edges(&walk) &&
	       check_shelf(&walk, &region->partly_used_chunks, "chunks", walk.filed_chunks) &&
	       check_shelf(&walk, &region->partly_used_blocks, "blocks", walk.filed_blocks) && check_pool(&walk);
}

bool allocator_check(const struct allocator *alloc, char **reason)
{
	g_autoptr(GString) text = g_string_new(NULL);

	for (unsigned i = 0; i < alloc->count; i++) {
		if (!check_region(alloc->regions[i], text)) {
			*reason = g_string_free(g_steal_pointer(&text), FALSE);
			return false;
		}
	}
	return true;
}

void allocator_foreach_free(const struct allocator *alloc,
                            void (*visit)(int region, uint64_t start, uint64_t length, void *data), void *data)
{
	for (unsigned i = 0; i < alloc->count; i++) {
		struct extent run;

		for (uint64_t at = 0; allocator_next_free(alloc, UINT64_C(1) << i, at, UINT64_MAX, &run);
		     at = run.start + run.length)
			visit((int)i, run.start, run.length, data);
	}
}

static size_t nodes_memory(const struct nodes *nodes)
{
	size_t bytes = nodes->slabs->len * (sizeof(gpointer) + NODES_PER_SLAB * sizeof(struct node));

	for (uint32_t i = 0; i < nodes->slabs->len * NODES_PER_SLAB; i++)
		bytes += nodes_get(nodes, i)->children ? BITS * sizeof(uint32_t) : 0;
	return bytes;
}

size_t allocator_memory(const struct allocator *alloc)
{
	size_t bytes = sizeof(*alloc);

	for (unsigned i = 0; i < alloc->count; i++) {
		const struct region *region = alloc->regions[i];
		const struct chunks *chunks = &region->chunks;

		bytes += sizeof(*region) + chunks->count * sizeof(*region->chunk_nodes) + nodes_memory(&region->nodes) +
		         chunks->leaves * (sizeof(*chunks->words) + 2 * sizeof(*chunks->tree));
	}
	return bytes;
}

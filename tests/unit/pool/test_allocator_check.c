// SPDX-License-Identifier: GPL-2.0-or-later
/* allocator_check() notices damage of every kind: each test spoils one thing inside a sound allocator. */
#include <glib.h>

#include "pool/allocator_private.h"
#include "unit/pool/allocator_check.h"

#define M(n) ((uint64_t)(n) << 20)
#define G(n) ((uint64_t)(n) << 30)

/* Where the fixture has a partly used chunk and, in it, two partly used blocks. */
#define CHUNK 3
#define BLOCK (CHUNK * BLOCKS_IN_CHUNK + 5)

struct fixture {
	struct allocator *alloc;
	struct region *region;
	struct node *chunk;
	struct node *block;
};

static void assert_sound(const struct allocator *alloc)
{
	g_autofree char *reason = NULL;

	if (!allocator_check(alloc, &reason))
		g_error("%s", reason);
}

static void set_up(struct fixture *f, gconstpointer data)
{
	(void)data;
	f->alloc = allocator_new();
	g_assert_cmpint(allocator_add_region(f->alloc, 0, G(8) + M(1)), ==, 0);
	g_assert_cmpint(allocator_claim(f->alloc, G(CHUNK), M(10)), ==, 0);
	g_assert_cmpint(allocator_free(f->alloc, G(CHUNK) + M(2), M(2)), ==, 0);
	g_assert_cmpint(allocator_claim(f->alloc, BLOCK * DMEMFS_PAGE_2M, PAGE_BYTES), ==, 0);
	g_assert_cmpint(allocator_claim(f->alloc, (BLOCK + 2) * DMEMFS_PAGE_2M, PAGE_BYTES), ==, 0);
	assert_sound(f->alloc);

	f->region = f->alloc->regions[0];
	f->chunk = nodes_get(&f->region->nodes, f->region->chunk_nodes[CHUNK]);
	f->block = nodes_get(&f->region->nodes, node_child(f->chunk, BLOCK % BLOCKS_IN_CHUNK));
}

static void tear_down(struct fixture *f, gconstpointer data)
{
	(void)data;
	allocator_destroy(f->alloc);
}

/* @pattern: a glob for the reason. */
static void assert_damaged(struct fixture *f, const char *pattern)
{
	g_autofree char *reason = NULL;

	g_assert_false(allocator_check(f->alloc, &reason));
	g_assert_nonnull(reason);
	if (!g_pattern_match_simple(pattern, reason))
		g_error("\"%s\" does not say \"%s\"", reason, pattern);
}

static void a_page_freed_behind_its_back(struct fixture *f, gconstpointer data)
{
	(void)data;
	bits_assign(&f->block->free, 0, 1, true);
	assert_damaged(f, "*block 1541: a node but not partly used");
}

static void a_page_lost(struct fixture *f, gconstpointer data)
{
	(void)data;
	bits_assign(&f->block->free, 511, 1, false);
	assert_damaged(f, "*block 1541: longest run is not 511");
	f->block->longest = 510;
	assert_damaged(f, "*free pages counted as *");
}

static void a_block_free_and_partly_used(struct fixture *f, gconstpointer data)
{
	(void)data;
	bits_assign(&f->chunk->free, 5, 1, true);
	f->chunk->longest = (uint16_t)bits_longest(&f->chunk->free).length;
	assert_damaged(f, "*block 1541: both free and partly used");
}

static void a_chunk_free_and_partly_used(struct fixture *f, gconstpointer data)
{
	(void)data;
	chunks_assign(&f->region->chunks, CHUNK, 1, true);
	assert_damaged(f, "*chunk 3: both free and partly used");
}

static void a_free_chunk_lost(struct fixture *f, gconstpointer data)
{
	(void)data;
	chunks_assign(&f->region->chunks, 1, 1, false);
	assert_damaged(f, "*free pages counted as *");
	f->region->free_pages -= CHUNK_PAGES;
	assert_damaged(f, "*free blocks counted as *");
}

static void a_tree_out_of_date(struct fixture *f, gconstpointer data)
{
	(void)data;
	f->region->chunks.words[0] ^= 1;
	assert_damaged(f, "*the tree over wholly free chunks *");
	f->region->chunks.words[0] ^= 1;
	f->region->chunks.free++;
	assert_damaged(f, "*the tree over wholly free chunks *");
	f->region->chunks.free--;
	f->region->chunks.tree[1].suffix++;
	assert_damaged(f, "*the tree over wholly free chunks *");
}

static void nodes_astray(struct fixture *f, gconstpointer data)
{
	(void)data;
	f->chunk->position++;
	assert_damaged(f, "*chunk 3: node of chunk 4");
	f->chunk->position--;
	f->block->position++;
	assert_damaged(f, "*block 1541: node of block 1542");
	f->block->position--;
	f->chunk->children[5] = 12345;
	assert_damaged(f, "*block 1541: no node 12345");
	f->chunk->children[5] = NODE_NONE;
	assert_damaged(f, "*chunk 3: 1 partly used blocks counted as 2");
	f->region->chunk_nodes[CHUNK] = 12345;
	assert_damaged(f, "*chunk 3: no node 12345");
	f->region->chunk_nodes[CHUNK] = NODE_NONE;
	assert_damaged(f, "*free pages counted as *");
}

static void a_block_with_children(struct fixture *f, gconstpointer data)
{
	(void)data;
	f->block->partial = 1;
	assert_damaged(f, "*block 1541: has children");
}

static void shelves_in_disorder(struct fixture *f, gconstpointer data)
{
	struct shelf *shelf = &f->region->partly_used_chunks;
	unsigned longest = f->chunk->longest;
	uint32_t index = shelf->heads[longest];

	(void)data;
	bits_assign(&shelf->filled, longest, 1, false);
	assert_damaged(f, "*shelf of chunks: bit * is wrong");
	shelf->heads[longest] = NODE_NONE;
	assert_damaged(f, "*shelf of chunks: not the * nodes there are");
	bits_assign(&shelf->filled, 7, 1, true);
	shelf->heads[7] = index;
	assert_damaged(f, "*shelf of chunks: node * misfiled under 7");
	shelf->heads[7] = 12345;
	assert_damaged(f, "*shelf of chunks: no node 12345");
}

static void a_shelf_in_a_circle(struct fixture *f, gconstpointer data)
{
	struct shelf *shelf = &f->region->partly_used_blocks;
	uint32_t first = shelf->heads[511];

	(void)data;
	nodes_get(&f->region->nodes, nodes_get(&f->region->nodes, first)->next)->next = first;
	assert_damaged(f, "*shelf of blocks: node * misfiled under 511");
	nodes_get(&f->region->nodes, first)->next = first;
	nodes_get(&f->region->nodes, first)->previous = first;
	assert_damaged(f, "*shelf of blocks: *");
}

static void a_pool_out_of_step(struct fixture *f, gconstpointer data)
{
	struct nodes *nodes = &f->region->nodes;
	uint32_t unused = nodes->unused;

	(void)data;
	nodes->used++;
	assert_damaged(f, "*nodes in use counted as *");
	nodes->used--;
	nodes->unused = nodes_get(nodes, unused)->next;
	assert_damaged(f, "*nodes in use counted as *");
	nodes->unused = 12345;
	assert_damaged(f, "*no unused node 12345");
	nodes_get(nodes, unused)->next = unused;
	nodes->unused = unused;
	assert_damaged(f, "*nodes in use counted as *");
}

static void free_memory_outside(struct fixture *f, gconstpointer data)
{
	(void)data;
	/* The last chunk has 1 MiB of the region. */
	region_assign(f->region, G(8) / PAGE_BYTES + 300, 1, true);
	assert_damaged(f, "*free memory outside of it");
}

static void add(const char *path, void (*test)(struct fixture *, gconstpointer))
{
	g_test_add(path, struct fixture, NULL, set_up, test, tear_down);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	add("/allocator/check/page-freed", a_page_freed_behind_its_back);
	add("/allocator/check/page-lost", a_page_lost);
	add("/allocator/check/block-twice", a_block_free_and_partly_used);
	add("/allocator/check/chunk-twice", a_chunk_free_and_partly_used);
	add("/allocator/check/chunk-lost", a_free_chunk_lost);
	add("/allocator/check/tree", a_tree_out_of_date);
	add("/allocator/check/nodes", nodes_astray);
	add("/allocator/check/children", a_block_with_children);
	add("/allocator/check/shelves", shelves_in_disorder);
	add("/allocator/check/circle", a_shelf_in_a_circle);
	add("/allocator/check/pool", a_pool_out_of_step);
	add("/allocator/check/outside", free_memory_outside);
	return g_test_run();
}

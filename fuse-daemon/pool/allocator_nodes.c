// SPDX-License-Identifier: GPL-2.0-or-later
/* Nodes for partly used chunks and blocks, and shelves that sort them by their longest free run. */
#include "pool/allocator_nodes.h"

#include <string.h>

void nodes_init(struct nodes *nodes)
{
	nodes->slabs = g_ptr_array_new_with_free_func(g_free);
	nodes->used = 0;
	nodes->unused = NODE_NONE;
}

void nodes_clear(struct nodes *nodes)
{
	/* Unused nodes have no array of children: nodes_release() has freed it. */
	for (guint slab = 0; slab < nodes->slabs->len; slab++) {
		for (guint i = 0; i < NODES_PER_SLAB; i++)
			g_free(nodes_get(nodes, slab * NODES_PER_SLAB + i)->children);
	}
	g_ptr_array_unref(nodes->slabs);
}

/* Adds a slab of unused nodes. nodes_new() takes the first one first. */
static void grow(struct nodes *nodes)
{
	struct node *slab = g_new0(struct node, NODES_PER_SLAB);
	uint32_t first = nodes->slabs->len * NODES_PER_SLAB;

	for (uint32_t i = 0; i < NODES_PER_SLAB; i++)
		slab[i].next = i + 1 < NODES_PER_SLAB ? first + i + 1 : NODE_NONE;
	g_ptr_array_add(nodes->slabs, slab);
	nodes->unused = first;
}

uint32_t nodes_new(struct nodes *nodes, uint32_t position, bool free)
{
	if (nodes->unused == NODE_NONE)
		grow(nodes);

	uint32_t index = nodes->unused;
	struct node *node = nodes_get(nodes, index);

	nodes->unused = node->next;
	nodes->used++;
	memset(&node->free, free ? 0xff : 0, sizeof(node->free));
	node->position = position;
	node->longest = 0;
	return index;
}

void nodes_release(struct nodes *nodes, uint32_t index)
{
	struct node *node = nodes_get(nodes, index);

	node->next = nodes->unused;
	nodes->unused = index;
	nodes->used--;
}

void nodes_set_child(struct nodes *nodes, uint32_t index, unsigned slot, uint32_t child)
{
	struct node *node = nodes_get(nodes, index);

	if (!node->children) {
		node->children = g_new(uint32_t, BITS);
		memset(node->children, 0xff, BITS * sizeof(*node->children)); /* NODE_NONE */
	}
	node->partial = (uint16_t)(node->partial + (child != NODE_NONE) - (node->children[slot] != NODE_NONE));
	node->children[slot] = child;
	if (node->partial == 0)
		g_clear_pointer(&node->children, g_free);
}

void shelf_init(struct shelf *shelf)
{
	memset(&shelf->filled, 0, sizeof(shelf->filled));
	memset(shelf->heads, 0xff, sizeof(shelf->heads)); /* NODE_NONE */
}

void shelf_remove(struct shelf *shelf, struct nodes *nodes, uint32_t index)
{
	struct node *node = nodes_get(nodes, index);

	if (node->longest == 0)
		return;
	if (node->next != NODE_NONE)
		nodes_get(nodes, node->next)->previous = node->previous;
	if (node->previous != NODE_NONE)
		nodes_get(nodes, node->previous)->next = node->next;
	else
		shelf->heads[node->longest] = node->next;
	if (shelf->heads[node->longest] == NODE_NONE)
		bits_assign(&shelf->filled, node->longest, 1, false);
	node->longest = 0;
}

void shelf_file(struct shelf *shelf, struct nodes *nodes, uint32_t index)
{
	struct node *node = nodes_get(nodes, index);
	unsigned longest = bits_longest(&node->free).length;

	if (longest == node->longest)
		return;
	shelf_remove(shelf, nodes, index);
	if (longest == 0)
		return;
	node->longest = (uint16_t)longest;
	node->previous = NODE_NONE;
	node->next = shelf->heads[longest];
	if (node->next != NODE_NONE)
		nodes_get(nodes, node->next)->previous = index;
	shelf->heads[longest] = index;
	bits_assign(&shelf->filled, longest, 1, true);
}

uint32_t shelf_find(const struct shelf *shelf, unsigned count)
{
	unsigned longest = bits_next(&shelf->filled, count, true);

	return longest < BITS ? shelf->heads[longest] : NODE_NONE;
}

uint32_t shelf_longest(const struct shelf *shelf)
{
	return bits_empty(&shelf->filled) ? NODE_NONE : shelf->heads[bits_last(&shelf->filled)];
}

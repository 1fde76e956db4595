/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Nodes of the allocator's tree: one for each partly used chunk (its children are blocks) and one for each partly used block
 * (its children are pages). A chunk or block that is wholly free or wholly used has no node.
 *
 * Nodes are in slabs, and are named by an index, which is half as large as a pointer. A node does not move until it is
 * released. Released nodes are used again; slabs are not freed before nodes_clear().
 *
 * A shelf sorts nodes by the length of their longest run of free children, so that the node with the smallest sufficient
 * run is found in O(1). Nodes without a free child are on no shelf. Of several with the same length, the one that was
 * added last is found first.
 */
#ifndef DMEMFS_ALLOCATOR_NODES_H
#define DMEMFS_ALLOCATOR_NODES_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pool/allocator_bits.h"

#define NODE_NONE UINT32_MAX

struct node {
	struct bits free; /* children that are wholly free */
	uint32_t
		*children; /* of a chunk: the node of each partly used block, else NODE_NONE; NULL: all are NODE_NONE */
	uint32_t position; /* the number of this chunk or block in the region */
	uint32_t next;     /* in the list of the shelf, or of unused nodes */
	uint32_t previous;
	uint16_t longest; /* the longest run of free children when it was put on the shelf; 0: on no shelf */
	uint16_t partial; /* how many children are partly used */
};

struct nodes {
	GPtrArray *slabs; /* of NODES_PER_SLAB nodes each */
	uint32_t used;    /* nodes */
	uint32_t unused;  /* the first unused node */
};

struct shelf {
	struct bits filled;   /* bit i: heads[i] is not NODE_NONE */
	uint32_t heads[BITS]; /* the list of nodes with each longest run */
};

#define NODES_PER_SLAB 256

void nodes_init(struct nodes *nodes);
void nodes_clear(struct nodes *nodes);

static inline struct node *nodes_get(const struct nodes *nodes, uint32_t index)
{
	struct node *slab = nodes->slabs->pdata[index / NODES_PER_SLAB];

	return &slab[index % NODES_PER_SLAB];
}

/* Makes a node that is on no shelf. Its children are all free (@free true) or all used. */
uint32_t nodes_new(struct nodes *nodes, uint32_t position, bool free);
/* Releases a node, which must be on no shelf, and have no partly used children. */
void nodes_release(struct nodes *nodes, uint32_t index);

static inline uint32_t node_child(const struct node *node, unsigned slot)
{
	return node->children ? node->children[slot] : NODE_NONE;
}

/* Sets or, with NODE_NONE, removes the node of the block in @slot. */
void nodes_set_child(struct nodes *nodes, uint32_t index, unsigned slot, uint32_t child);

void shelf_init(struct shelf *shelf);
/* Puts node @index on the shelf by its present longest run, wherever it was before. */
void shelf_file(struct shelf *shelf, struct nodes *nodes, uint32_t index);
/* Takes @index off the shelf if it is on it. */
void shelf_remove(struct shelf *shelf, struct nodes *nodes, uint32_t index);
/* The node whose longest run is the smallest of at least @count (1 to 511) children; NODE_NONE when there is none. */
uint32_t shelf_find(const struct shelf *shelf, unsigned count);
/* The node with the longest run; NODE_NONE when the shelf is empty. */
uint32_t shelf_longest(const struct shelf *shelf);

#endif

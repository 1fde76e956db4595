/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The parts of a region that are partly used: a node for each such chunk (its children are blocks) and for each such
 * block (its children are pages). What is wholly free or wholly used has no node.
 *
 * Nodes come from a pool and are named by number, half the size of a pointer; a node does not move while it lives. The
 * pool keeps its largest size: what was needed once will be needed again.
 *
 * A shelf files nodes by their longest run of free children, so that the one with the smallest sufficient run is found
 * in O(1). Nodes with no free child are not filed. Among equals the one filed last is found first.
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
	struct bits free;   /* children that are wholly free */
	uint32_t *children; /* chunks: node of each partly used block, else NODE_NONE; NULL while there is none */
	uint32_t position;  /* which chunk or block of the region this is */
	uint32_t next;      /* on the shelf; or among the unused nodes of the pool */
	uint32_t previous;
	uint16_t longest; /* run of free children; filed under it unless 0 */
	uint16_t partial; /* children that are partly used */
};

struct nodes {
	GPtrArray *slabs; /* of NODES_PER_SLAB nodes each */
	uint32_t used;    /* nodes */
	uint32_t unused;  /* the first unused one */
};

struct shelf {
	struct bits filled;   /* bit i: heads[i] is not NODE_NONE */
	uint32_t heads[BITS]; /* by longest run */
};

#define NODES_PER_SLAB 256

void nodes_init(struct nodes *nodes);
void nodes_clear(struct nodes *nodes);

static inline struct node *nodes_get(const struct nodes *nodes, uint32_t index)
{
	struct node *slab = nodes->slabs->pdata[index / NODES_PER_SLAB];

	return &slab[index % NODES_PER_SLAB];
}

/* A node on no shelf, its children all free (@free true) or all used. */
uint32_t nodes_new(struct nodes *nodes, uint32_t position, bool free);
/* It must be on no shelf and have no partly used children. */
void nodes_release(struct nodes *nodes, uint32_t index);

static inline uint32_t node_child(const struct node *node, unsigned slot)
{
	return node->children ? node->children[slot] : NODE_NONE;
}

/* @child may be NODE_NONE where there was one. */
void nodes_set_child(struct nodes *nodes, uint32_t index, unsigned slot, uint32_t child);

void shelf_init(struct shelf *shelf);
/* Files @index under its longest run, whatever it is now. */
void shelf_file(struct shelf *shelf, struct nodes *nodes, uint32_t index);
/* Takes @index off the shelf if it is on it. */
void shelf_remove(struct shelf *shelf, struct nodes *nodes, uint32_t index);
/* A node with the smallest longest run that holds @count, 1 to 511; NODE_NONE when there is none. */
uint32_t shelf_find(const struct shelf *shelf, unsigned count);
/* A node with the longest run, NODE_NONE on an empty shelf. */
uint32_t shelf_longest(const struct shelf *shelf);

#endif

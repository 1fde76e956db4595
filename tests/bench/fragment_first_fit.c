// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * First fit. For each unit a segment tree over the units that are wholly free, each node with the longest run of them
 * below it, so that the lowest run of a length is found in O(log n).
 */
#include "fragment.h"

enum { GRANULES, BLOCKS, CHUNKS, LEVELS };

static const uint64_t level_bytes[LEVELS] = { FRAGMENT_GRANULE, DMEMFS_PAGE_2M, DMEMFS_PAGE_1G };

enum state { MIXED, FREE, USED };

struct node {
	uint32_t first; /* length of the free run at the start */
	uint32_t last;  /* and at the end */
	uint32_t longest;
	enum state state; /* of all below it */
};

struct level {
	struct node *nodes; /* 1 is the root, the children of i are 2i and 2i + 1 */
	uint32_t leaves;    /* a power of two */
	uint32_t free;
	uint32_t *used; /* granules of each leaf */
};

struct first_fit {
	struct level levels[LEVELS];
};

static void set_node(struct level *level, uint32_t node, uint32_t width, enum state state)
{
	uint32_t length = state == FREE ? width : 0;

	level->nodes[node] = (struct node){ length, length, length, state };
}

static void split(struct level *level, uint32_t node, uint32_t width)
{
	if (level->nodes[node].state == MIXED)
		return;
	set_node(level, 2 * node, width / 2, level->nodes[node].state);
	set_node(level, 2 * node + 1, width / 2, level->nodes[node].state);
	level->nodes[node].state = MIXED;
}

static void join(struct level *level, uint32_t node, uint32_t width)
{
	const struct node *left = &level->nodes[2 * node], *right = &level->nodes[2 * node + 1];

	level->nodes[node] = (struct node){
		.first = left->first == width / 2 ? width / 2 + right->first : left->first,
		.last = right->last == width / 2 ? width / 2 + left->last : right->last,
		.longest = MAX(MAX(left->longest, right->longest), left->last + right->first),
		.state = left->state == right->state ? left->state : MIXED,
	};
}

/* Makes [from, to) of the leaves below @node, which are [start, start + width), all free or all used. */
static void assign(struct level *level, uint32_t node, uint32_t start, uint32_t width, uint32_t from, uint32_t to,
                   enum state state)
{
	if (to <= start || from >= start + width)
		return;
	if (from <= start && to >= start + width) {
		set_node(level, node, width, state);
		return;
	}
	split(level, node, width);
	assign(level, 2 * node, start, width / 2, from, to, state);
	assign(level, 2 * node + 1, start + width / 2, width / 2, from, to, state);
	join(level, node, width);
}

/* The lowest of the runs of @count free leaves; the root's longest says that there is one. */
static uint32_t find(struct level *level, uint32_t count)
{
	uint32_t node = 1, start = 0;

	for (uint32_t width = level->leaves; width > 1; width /= 2) {
		const struct node *left = &level->nodes[2 * node];

		if (level->nodes[node].state != MIXED)
			return start;
		if (left->longest >= count) {
			node = 2 * node;
		} else if (left->last + level->nodes[2 * node + 1].first >= count) {
			return start + width / 2 - left->last;
		} else {
			start += width / 2;
			node = 2 * node + 1;
		}
	}
	return start;
}

/* All granules of the range change: so do the leaves of each level that are wholly in it, and perhaps those at its ends. */
static void change(struct first_fit *fit, struct extent run, bool take)
{
	for (int i = 0; i < LEVELS; i++) {
		struct level *level = &fit->levels[i];
		uint64_t begin = run.start - FRAGMENT_START, end = begin + run.length;
		uint32_t from = (uint32_t)(begin / level_bytes[i]);
		uint32_t to = (uint32_t)((end + level_bytes[i] - 1) / level_bytes[i]);
		uint32_t first = to, last = from; /* those whose state changes are [first, last) */

		for (uint32_t leaf = from; leaf < to; leaf++) {
			uint64_t low = MAX(begin, leaf * level_bytes[i]), high = MIN(end, (leaf + 1) * level_bytes[i]);
			uint32_t granules = (uint32_t)((high - low) / FRAGMENT_GRANULE), before = level->used[leaf];

			level->used[leaf] = take ? before + granules : before - granules;
			if (before != 0 && level->used[leaf] != 0)
				continue;
			first = MIN(first, leaf);
			last = leaf + 1;
			level->free = take ? level->free - 1 : level->free + 1;
		}
		if (first < last)
			assign(level, 1, 0, level->leaves, first, last, take ? USED : FREE);
	}
}

static bool first_fit_take(void *state, uint64_t unit, uint64_t length, GArray *runs)
{
	struct first_fit *fit = state;
	int i = unit == DMEMFS_PAGE_1G ? CHUNKS : unit == DMEMFS_PAGE_2M ? BLOCKS : GRANULES;
	struct level *level = &fit->levels[i];

	if (level->free < length / level_bytes[i])
		return false;
	while (length > 0) {
		uint32_t count = (uint32_t)MIN(length / level_bytes[i], level->nodes[1].longest);
		struct extent run = { FRAGMENT_START + find(level, count) * level_bytes[i], count * level_bytes[i] };

		change(fit, run, true);
		g_array_append_val(runs, run);
		length -= run.length;
	}
	return true;
}

static void first_fit_give(void *state, const struct extent *runs, guint count)
{
	for (guint i = 0; i < count; i++)
		change(state, runs[i], false);
}

static void *first_fit_create(void)
{
	struct first_fit *fit = g_new0(struct first_fit, 1);

	for (int i = 0; i < LEVELS; i++) {
		struct level *level = &fit->levels[i];

		level->leaves = level->free = (uint32_t)(FRAGMENT_BYTES / level_bytes[i]);
		level->nodes = g_new0(struct node, 2 * level->leaves);
		level->used = g_new0(uint32_t, level->leaves);
		set_node(level, 1, level->leaves, FREE);
	}
	return fit;
}

static void first_fit_destroy(void *state)
{
	struct first_fit *fit = state;

	for (int i = 0; i < LEVELS; i++) {
		g_free(fit->levels[i].nodes);
		g_free(fit->levels[i].used);
	}
	g_free(fit);
}

const struct fragment_scheme fragment_first_fit = {
	.name = "first fit",
	.create = first_fit_create,
	.destroy = first_fit_destroy,
	.take = first_fit_take,
	.give = first_fit_give,
};

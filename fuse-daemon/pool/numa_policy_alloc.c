// SPDX-License-Identifier: GPL-2.0-or-later
/* Allocation by a policy of NUMA nodes. */
#include "pool/numa_policy_alloc.h"

#include <errno.h>

uint64_t node_map_regions(const struct node_map *map, int node)
{
	uint64_t regions = 0;

	for (unsigned i = 0; i < map->count; i++) {
		if (map->nodes[i] == node && node != NODE_UNKNOWN)
			regions |= UINT64_C(1) << i;
	}
	return regions;
}

uint64_t numa_policy_regions(const struct node_map *map, const struct numa_policy *policy, uint64_t regions)
{
	uint64_t found = 0;

	/* Other policies only prefer nodes. */
	if (!policy || policy->mode != NODE_STRICT)
		return regions;
	for (unsigned i = 0; i < policy->count; i++)
		found |= node_map_regions(map, policy->nodes[i]);
	return found & regions;
}

uint64_t numa_policy_available(const struct allocator *allocator, const struct node_map *map,
                               const struct numa_policy *policy, uint64_t regions, uint64_t unit)
{
	return allocator_available(allocator, unit, numa_policy_regions(map, policy, regions));
}

/* Takes @length bytes from @regions for the file at @offset. */
static int take(struct allocator *allocator, const struct allocator_request *request, uint64_t regions, uint64_t offset,
                uint64_t length, GArray *out)
{
	struct allocator_request part = *request;

	part.regions = regions;
	part.file_offset = offset;
	part.length = length;
	if (offset != request->file_offset)
		part.hint = ALLOCATOR_NO_HINT;
	return length ? allocator_alloc(allocator, &part, out) : 0;
}

/* Takes as much as possible from the regions @first, the rest from any other. The caller has checked that there is enough. */
static int take_preferred(struct allocator *allocator, const struct allocator_request *request, uint64_t first,
                          GArray *out)
{
	uint64_t there = MIN(request->length, allocator_available(allocator, request->unit, first));
	int err = take(allocator, request, first, request->file_offset, there, out);

	if (err)
		return err;
	return take(allocator, request, request->regions & ~first, request->file_offset + there,
	            request->length - there, out);
}

/* Runs that were taken, and are not yet assigned to parts of the file. */
struct stock {
	GArray *runs; /* struct extent */
	guint next;   /* index of the first run that is not used up */
};

/* Moves up to @length bytes from the stock to the end of @out. Returns the bytes moved. */
static uint64_t deal(struct stock *stock, uint64_t length, GArray *out, guint first)
{
	if (stock->next == stock->runs->len)
		return 0;

	struct extent *run = &g_array_index(stock->runs, struct extent, stock->next);
	struct extent part = { run->start, MIN(run->length, length) };
	struct extent *last = out->len > first ? &g_array_index(out, struct extent, out->len - 1) : NULL;

	run->start += part.length;
	run->length -= part.length;
	if (run->length == 0)
		stock->next++;
	if (last && last->start + last->length == part.start)
		last->length += part.length;
	else
		g_array_append_val(out, part);
	return part.length;
}

struct interleaving {
	struct allocator *allocator;
	const struct allocator_request *request;
	const struct numa_policy *policy;
	uint64_t turn;                              /* the length of a turn, in bytes */
	struct stock stocks[NUMA_POLICY_NODES_MAX]; /* for each node of the policy */
	struct stock spare;                         /* from other nodes of the policy, for turns of a full node */
};

static unsigned node_at(const struct interleaving *work, uint64_t offset)
{
	return (unsigned)(offset / work->turn % work->policy->count);
}

/* A part of the file, and the node (its index in the policy) that serves it. */
struct turn {
	unsigned node;
	uint64_t offset;
	uint64_t length;
};

static void each_turn(struct interleaving *work,
                      void (*visit)(struct interleaving *work, const struct turn *turn, void *data), void *data)
{
	uint64_t offset = work->request->file_offset, end = offset + work->request->length;

	while (offset < end) {
		const struct turn turn = {
			.node = node_at(work, offset),
			.offset = offset,
			.length = MIN(work->turn - offset % work->turn, end - offset),
		};

		visit(work, &turn, data);
		offset += turn.length;
	}
}

/* Adds up the turns of a node, to be requested at once. The request begins at the first turn, so that its alignment fits. */
static void add_wanted(struct interleaving *work, const struct turn *turn, void *data)
{
	struct turn *wanted = (struct turn *)data + turn->node;

	(void)work;
	if (wanted->length == 0)
		wanted->offset = turn->offset;
	wanted->length += turn->length;
}

struct dealing {
	GArray *out;
	guint first; /* index in out of the first run of this request */
};

static void deal_turn(struct interleaving *work, const struct turn *turn, void *data)
{
	const struct dealing *dealing = data;

	for (uint64_t length = turn->length; length > 0;) {
		uint64_t done = deal(&work->stocks[turn->node], length, dealing->out, dealing->first);

		if (!done)
			done = deal(&work->spare, length, dealing->out, dealing->first);
		length -= done;
	}
}

/*
 * Takes the whole share of each node in as few runs as possible. They are assigned to turns later. So a large file needs a few
 * requests to the allocator instead of one for each turn. The caller has checked that there is enough.
 */
static int stock_up(struct interleaving *work, const struct node_map *map, uint64_t all)
{
	const struct allocator_request *request = work->request;
	struct turn wanted[NUMA_POLICY_NODES_MAX] = { 0 };
	uint64_t missing = request->length;
	int err = 0;

	each_turn(work, add_wanted, wanted);
	for (unsigned i = 0; i < work->policy->count && !err; i++) {
		uint64_t regions = node_map_regions(map, work->policy->nodes[i]) & all;
		uint64_t there = MIN(wanted[i].length, allocator_available(work->allocator, request->unit, regions));

		err = take(work->allocator, request, regions, wanted[i].offset, there, work->stocks[i].runs);
		missing -= there;
	}
	return err ? err : take(work->allocator, request, all, request->file_offset, missing, work->spare.runs);
}

static void give_back(struct allocator *allocator, const GArray *runs)
{
	for (guint i = 0; i < runs->len; i++) {
		const struct extent *run = &g_array_index(runs, struct extent, i);

		allocator_free(allocator, run->start, run->length);
	}
}

static int interleave(struct allocator *allocator, const struct node_map *map, const struct numa_policy *policy,
                      const struct allocator_request *request, uint64_t all, GArray *out)
{
	struct allocator_request unhinted = *request;
	struct interleaving work = { allocator, &unhinted, policy, .turn = MAX(request->unit, DMEMFS_PAGE_2M) };
	struct dealing dealing = { out, out->len };
	int err;

	unhinted.hint = ALLOCATOR_NO_HINT;
	work.spare.runs = g_array_new(FALSE, FALSE, sizeof(struct extent));
	for (unsigned i = 0; i < policy->count; i++)
		work.stocks[i].runs = g_array_new(FALSE, FALSE, sizeof(struct extent));
	err = stock_up(&work, map, all);
	if (!err)
		each_turn(&work, deal_turn, &dealing);
	for (unsigned i = 0; i < policy->count; i++) {
		if (err)
			give_back(allocator, work.stocks[i].runs);
		g_array_unref(work.stocks[i].runs);
	}
	g_array_unref(work.spare.runs);
	return err;
}

int numa_policy_alloc(struct allocator *allocator, const struct node_map *map, const struct numa_policy *policy,
                      int local, const struct allocator_request *request, GArray *out)
{
	uint64_t all = numa_policy_regions(map, policy, request->regions), first;

	if (allocator_available(allocator, request->unit, all) < request->length)
		return -ENOSPC;
	if (policy && policy->mode == NODE_STRICT && policy->count > 1)
		return interleave(allocator, map, policy, request, all, out);
	if (!policy || policy->mode == NODE_STRICT)
		return take(allocator, request, all, request->file_offset, request->length, out);
	first = node_map_regions(map, policy->mode == NODE_LOCAL ? local : policy->nodes[0]) & all;
	return first ? take_preferred(allocator, request, first, out)
	             : take(allocator, request, all, request->file_offset, request->length, out);
}

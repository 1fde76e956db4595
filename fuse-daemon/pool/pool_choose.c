// SPDX-License-Identifier: GPL-2.0-or-later
/* Which memory a file gets: the best of all that is free, or what is zero already. */
#include <errno.h>

#include "pool/extent_set.h"
#include "pool/pool_internal.h"

/* A run more than the other choice has is worth this much memory that need not be zeroed. */
#define BYTES_PER_RUN DMEMFS_PAGE_2M

/* What speaks for a choice, and what against it. */
struct score {
	uint64_t clean;   /* bytes */
	uint64_t pool_1g; /* bytes that stay free in whole gigabytes */
	uint64_t pool_2m;
	uint64_t file_1g; /* bytes of the file that pages of a gigabyte can map */
	uint64_t file_2m;
	uint64_t nodes[DMEMFS_MAX_REGIONS]; /* bytes on the node of each region, at its first region */
	unsigned regions;
	unsigned runs;
};

struct choice {
	struct placement *placement;
	const struct numa_policy *policy;
	int local;
	const struct allocator_request *request;
};

/* Bytes in whole pages of @size of a run at @offset of its file. */
static uint64_t whole_pages(uint64_t size, uint64_t offset, struct extent run)
{
	uint64_t from = (offset + size - 1) / size * size, to = (offset + run.length) / size * size;

	return offset % size == run.start % size && to > from ? to - from : 0;
}

static void add_nodes(struct placement *placement, const GArray *runs, struct score *score)
{
	uint64_t bytes[DMEMFS_MAX_REGIONS] = { 0 };

	for (guint i = 0; i < runs->len; i++)
		placement_add_bytes(placement, g_array_index(runs, struct extent, i), bytes);
	for (unsigned i = 0; i < placement->map.count; i++) {
		unsigned first = 0;

		while (placement->map.nodes[first] != placement->map.nodes[i])
			first++;
		score->nodes[first] += bytes[i];
		score->regions += bytes[i] > 0;
	}
}

/* Of @runs, which are taken. */
static struct score rate(const struct choice *choice, const GArray *runs)
{
	uint64_t offset = choice->request->file_offset;
	g_autoptr(GArray) clean = extents_new();
	struct allocator_stats stats;
	struct score score = { .runs = runs->len };

	allocator_get_stats(choice->placement->allocator, &stats);
	score.pool_1g = stats.free_1g;
	score.pool_2m = stats.free_2m;
	for (guint i = 0; i < runs->len; i++) {
		const struct extent run = g_array_index(runs, struct extent, i);

		score.file_1g += whole_pages(DMEMFS_PAGE_1G, offset, run);
		score.file_2m += whole_pages(DMEMFS_PAGE_2M, offset, run);
		offset += run.length;
		extent_set_find(choice->placement->clean, run, clean);
	}
	for (guint i = 0; i < clean->len; i++)
		score.clean += g_array_index(clean, struct extent, i).length;
	add_nodes(choice->placement, runs, &score);
	return score;
}

/* Less to zero, and nothing lost for it. */
static bool is_better(const struct choice *choice, const struct score *score, const struct score *best)
{
	if (score->clean <= best->clean || score->runs > best->runs + (score->clean - best->clean) / BYTES_PER_RUN)
		return false;
	if (score->pool_1g < best->pool_1g || score->pool_2m < best->pool_2m || score->file_1g < best->file_1g ||
	    score->file_2m < best->file_2m)
		return false;
	if (!choice->policy)
		return score->regions <= best->regions;
	for (unsigned i = 0; i < choice->placement->map.count; i++) {
		if (score->nodes[i] != best->nodes[i])
			return false;
	}
	return true;
}

static void claim_all(struct allocator *allocator, const GArray *runs)
{
	for (guint i = 0; i < runs->len; i++) {
		const struct extent *run = &g_array_index(runs, struct extent, i);

		allocator_claim(allocator, run->start, run->length);
	}
}

static void free_all(struct allocator *allocator, const GArray *runs)
{
	for (guint i = 0; i < runs->len; i++) {
		const struct extent *run = &g_array_index(runs, struct extent, i);

		allocator_free(allocator, run->start, run->length);
	}
}

static bool are_clean(const struct placement *placement, const GArray *runs)
{
	for (guint i = 0; i < runs->len; i++) {
		if (!extent_set_has(placement->clean, g_array_index(runs, struct extent, i)))
			return false;
	}
	return true;
}

/* How much of the request's beginning clean memory can serve; where it ends no large page of the file does. */
static uint64_t clean_part(const struct choice *choice)
{
	const struct placement *placement = choice->placement;
	const struct allocator_request *request = choice->request;
	uint64_t there = numa_policy_available(placement->clean, &placement->map, choice->policy, request->unit);
	uint64_t size = DMEMFS_PAGE_1G, end;

	if (there >= request->length)
		return request->length;
	while (size > request->unit && size > there)
		size = size == DMEMFS_PAGE_1G ? DMEMFS_PAGE_2M : DMEMFS_PAGE_4K;
	end = (request->file_offset + there) / size * size;
	return end > request->file_offset ? end - request->file_offset : 0;
}

/* The run at @index goes on with the one before it, in the same region. */
static void merge_at(const struct placement *placement, GArray *runs, guint index)
{
	struct extent *before = &g_array_index(runs, struct extent, index - 1);
	const struct extent *run = &g_array_index(runs, struct extent, index);

	if (before->start + before->length != run->start)
		return;
	for (guint i = 0; i < placement->regions->len; i++) {
		if (g_array_index(placement->regions, struct memory_region, i).start == run->start)
			return;
	}
	before->length += run->length;
	g_array_remove_index(runs, index);
}

/* Clean memory first, the rest from anywhere. False, with nothing taken, when no clean memory serves. */
static bool take_clean(const struct choice *choice, GArray *runs)
{
	struct placement *placement = choice->placement;
	struct allocator_request part = *choice->request;

	part.length = clean_part(choice);
	if (!part.length ||
	    numa_policy_alloc(placement->clean, &placement->map, choice->policy, choice->local, &part, runs) < 0)
		return false;
	/* Whoever wins takes it out of the clean memory. */
	free_all(placement->clean, runs);
	claim_all(placement->allocator, runs);
	if (part.length < choice->request->length) {
		const struct extent *last = &g_array_index(runs, struct extent, runs->len - 1);
		guint end = runs->len;

		part.file_offset += part.length;
		part.length = choice->request->length - part.length;
		part.hint = last->start + last->length;
		if (numa_policy_alloc(placement->allocator, &placement->map, choice->policy, choice->local, &part,
		                      runs) < 0) {
			free_all(placement->allocator, runs);
			return false;
		}
		merge_at(placement, runs, end);
	}
	return true;
}

/* Replaces @runs, which are taken, by memory that is clean, if that is as good. */
static void prefer_clean(const struct choice *choice, GArray **runs)
{
	struct placement *placement = choice->placement;
	const struct score best = rate(choice, *runs);
	GArray *other = extents_new();
	bool better = false;

	free_all(placement->allocator, *runs);
	if (take_clean(choice, other)) {
		const struct score score = rate(choice, other);

		better = is_better(choice, &score, &best);
		if (!better)
			free_all(placement->allocator, other);
	}
	if (!better)
		claim_all(placement->allocator, *runs);
	g_array_unref(better ? *runs : other);
	*runs = better ? other : *runs;
}

static void mark_taken(struct placement *placement, struct extent run)
{
	g_autoptr(GArray) dirty = extents_new();

	extent_set_find_missing(placement->clean, run, dirty);
	extent_set_remove(placement->clean, run);
	for (guint i = 0; i < dirty->len; i++)
		extent_set_add(placement->stale, g_array_index(dirty, struct extent, i));
}

int clean_alloc(struct placement *placement, const struct numa_policy *policy, int local,
                const struct allocator_request *request, GArray *out)
{
	const struct choice choice = { placement, policy, local, request };
	GArray *runs;
	int err;

	if (!placement->clean)
		return numa_policy_alloc(placement->allocator, &placement->map, policy, local, request, out);
	runs = extents_new();
	err = numa_policy_alloc(placement->allocator, &placement->map, policy, local, request, runs);
	if (!err && !are_clean(placement, runs))
		prefer_clean(&choice, &runs);
	for (guint i = 0; i < runs->len; i++)
		mark_taken(placement, g_array_index(runs, struct extent, i));
	g_array_append_vals(out, runs->data, runs->len);
	g_array_unref(runs);
	return err;
}

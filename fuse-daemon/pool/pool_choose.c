// SPDX-License-Identifier: GPL-2.0-or-later
/* Decides which memory a file gets: the best of all free memory, or memory that is zero already. */
#include <errno.h>

#include "pool/extent_set.h"
#include "pool/pool_internal.h"

/* Bytes. A choice with one run more is accepted when that saves the zeroing of this much memory. */
#define BYTES_PER_RUN DMEMFS_PAGE_2M

/* What choices are compared by. */
struct score {
	uint64_t clean;   /* bytes */
	uint64_t pool_1g; /* bytes of the pool that stay free in whole gigabytes */
	uint64_t pool_2m;
	uint64_t file_1g; /* bytes of the file that pages of a gigabyte can map */
	uint64_t file_2m;
	uint64_t nodes[DMEMFS_MAX_REGIONS]; /* bytes on each node, at the index of the node's first region */
	unsigned regions;
	unsigned runs;
};

struct choice {
	struct pool *pool;
	const struct numa_policy *policy;
	int local;
	const struct allocator_request *request;
};

/* The bytes of @run, which is at @offset of its file, that whole pages of @size can map. */
static uint64_t whole_pages(uint64_t size, uint64_t offset, struct extent run)
{
	uint64_t from = (offset + size - 1) / size * size, to = (offset + run.length) / size * size;

	return offset % size == run.start % size && to > from ? to - from : 0;
}

static void add_nodes(struct pool *pool, const GArray *runs, struct score *score)
{
	uint64_t bytes[DMEMFS_MAX_REGIONS] = { 0 };

	for (guint i = 0; i < runs->len; i++)
		pool_add_bytes(pool, g_array_index(runs, struct extent, i), bytes);
	for (unsigned i = 0; i < pool->map.count; i++) {
		unsigned first = 0;

		while (pool->map.nodes[first] != pool->map.nodes[i])
			first++;
		score->nodes[first] += bytes[i];
		score->regions += bytes[i] > 0;
	}
}

/* The score of @runs, which have been taken from the allocator. */
static struct score rate(const struct choice *choice, const GArray *runs)
{
	uint64_t offset = choice->request->file_offset;
	g_autoptr(GArray) clean = extents_new();
	struct allocator_stats stats;
	struct score score = { .runs = runs->len };

	allocator_get_stats(choice->pool->allocator, &stats);
	score.pool_1g = stats.free_1g;
	score.pool_2m = stats.free_2m;
	for (guint i = 0; i < runs->len; i++) {
		const struct extent run = g_array_index(runs, struct extent, i);

		score.file_1g += whole_pages(DMEMFS_PAGE_1G, offset, run);
		score.file_2m += whole_pages(DMEMFS_PAGE_2M, offset, run);
		offset += run.length;
		extent_set_find(choice->pool->clean, run, clean);
	}
	for (guint i = 0; i < clean->len; i++)
		score.clean += g_array_index(clean, struct extent, i).length;
	add_nodes(choice->pool, runs, &score);
	return score;
}

/* Must less memory be zeroed with @score than with @best, without a loss of large pages or of a node's share? */
static bool is_better(const struct choice *choice, const struct score *score, const struct score *best)
{
	if (score->clean <= best->clean || score->runs > best->runs + (score->clean - best->clean) / BYTES_PER_RUN)
		return false;
	if (score->pool_1g < best->pool_1g || score->pool_2m < best->pool_2m || score->file_1g < best->file_1g ||
	    score->file_2m < best->file_2m)
		return false;
	if (!choice->policy)
		return score->regions <= best->regions;
	for (unsigned i = 0; i < choice->pool->map.count; i++) {
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

static bool are_clean(const struct pool *pool, const GArray *runs)
{
	for (guint i = 0; i < runs->len; i++) {
		if (!extent_set_has(pool->clean, g_array_index(runs, struct extent, i)))
			return false;
	}
	return true;
}

/* The bytes at the beginning of the request that clean memory can serve. Ends where it splits no large page of the file. */
static uint64_t clean_part(const struct choice *choice)
{
	const struct pool *pool = choice->pool;
	const struct allocator_request *request = choice->request;
	uint64_t there =
		numa_policy_available(pool->clean, &pool->map, choice->policy, request->regions, request->unit);
	uint64_t size = DMEMFS_PAGE_1G, end;

	if (there >= request->length)
		return request->length;
	while (size > request->unit && size > there)
		size = size == DMEMFS_PAGE_1G ? DMEMFS_PAGE_2M : DMEMFS_PAGE_4K;
	end = (request->file_offset + there) / size * size;
	return end > request->file_offset ? end - request->file_offset : 0;
}

/* Merges the run at @index with the one before it, if it continues that in the same region. */
static void merge_at(const struct pool *pool, GArray *runs, guint index)
{
	struct extent *before = &g_array_index(runs, struct extent, index - 1);
	const struct extent *run = &g_array_index(runs, struct extent, index);

	if (before->start + before->length != run->start)
		return;
	for (guint i = 0; i < pool->regions->len; i++) {
		if (g_array_index(pool->regions, struct memory_region, i).start == run->start)
			return;
	}
	before->length += run->length;
	g_array_remove_index(runs, index);
}

/* Takes clean memory first, the rest from all free memory. False, and nothing is taken, when no clean memory fits. */
static bool take_clean(const struct choice *choice, GArray *runs)
{
	struct pool *pool = choice->pool;
	struct allocator_request part = *choice->request;

	part.length = clean_part(choice);
	if (!part.length || numa_policy_alloc(pool->clean, &pool->map, choice->policy, choice->local, &part, runs) < 0)
		return false;
	/* Only taken from the allocator for now: the choice that wins is also removed from the clean memory later. */
	free_all(pool->clean, runs);
	claim_all(pool->allocator, runs);
	if (part.length < choice->request->length) {
		const struct extent *last = &g_array_index(runs, struct extent, runs->len - 1);
		guint end = runs->len;

		part.file_offset += part.length;
		part.length = choice->request->length - part.length;
		part.hint = last->start + last->length;
		if (numa_policy_alloc(pool->allocator, &pool->map, choice->policy, choice->local, &part, runs) < 0) {
			free_all(pool->allocator, runs);
			return false;
		}
		merge_at(pool, runs, end);
	}
	return true;
}

/* Replaces @runs, which are taken, by clean memory if that is better by is_better(). */
static void prefer_clean(const struct choice *choice, GArray **runs)
{
	struct pool *pool = choice->pool;
	const struct score best = rate(choice, *runs);
	GArray *other = extents_new();
	bool better = false;

	free_all(pool->allocator, *runs);
	if (take_clean(choice, other)) {
		const struct score score = rate(choice, other);

		better = is_better(choice, &score, &best);
		if (!better)
			free_all(pool->allocator, other);
	}
	if (!better)
		claim_all(pool->allocator, *runs);
	g_array_unref(better ? *runs : other);
	*runs = better ? other : *runs;
}

static void mark_taken(struct pool *pool, struct extent run)
{
	g_autoptr(GArray) dirty = extents_new();

	extent_set_find_missing(pool->clean, run, dirty);
	extent_set_remove(pool->clean, run);
	for (guint i = 0; i < dirty->len; i++)
		extent_set_add(pool->stale, g_array_index(dirty, struct extent, i));
}

int clean_alloc(struct pool *pool, const struct numa_policy *policy, int local, const struct allocator_request *request,
                GArray *out)
{
	const struct choice choice = { pool, policy, local, request };
	GArray *runs;
	int err;

	if (!pool->clean)
		return numa_policy_alloc(pool->allocator, &pool->map, policy, local, request, out);
	runs = extents_new();
	err = numa_policy_alloc(pool->allocator, &pool->map, policy, local, request, runs);
	if (!err && !are_clean(pool, runs))
		prefer_clean(&choice, &runs);
	for (guint i = 0; i < runs->len; i++)
		mark_taken(pool, g_array_index(runs, struct extent, i));
	g_array_append_vals(out, runs->data, runs->len);
	g_array_unref(runs);
	return err;
}

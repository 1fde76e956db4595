// SPDX-License-Identifier: GPL-2.0-or-later
/* The regions of the pool. */
#include "pool/pool_internal.h"

struct allocator *pool_new_set(const struct pool *pool)
{
	struct allocator *set = allocator_new();

	for (guint i = 0; i < pool->regions->len; i++) {
		const struct memory_region *region = &g_array_index(pool->regions, struct memory_region, i);

		allocator_add_region(set, region->start, region->length);
		allocator_claim(set, region->start, region->length);
	}
	return set;
}

void pool_add_bytes(struct pool *pool, struct extent run, uint64_t bytes[DMEMFS_MAX_REGIONS])
{
	uint64_t end = run.start + run.length;

	/* A run may span adjacent regions. */
	for (guint i = 0; i < pool->regions->len; i++) {
		const struct memory_region *region = &g_array_index(pool->regions, struct memory_region, i);
		uint64_t from = MAX(run.start, region->start), to = MIN(end, region->start + region->length);

		bytes[i] += to > from ? to - from : 0;
	}
}

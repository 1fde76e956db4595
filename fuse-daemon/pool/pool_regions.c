// SPDX-License-Identifier: GPL-2.0-or-later
/* The regions of the pool. */
#include "pool/pool_internal.h"

struct allocator *placement_new_set(const struct placement *placement)
{
	struct allocator *set = allocator_new();

	for (guint i = 0; i < placement->regions->len; i++) {
		const struct memory_region *region = &g_array_index(placement->regions, struct memory_region, i);

		allocator_add_region(set, region->start, region->length);
		allocator_claim(set, region->start, region->length);
	}
	return set;
}

void placement_add_bytes(struct placement *placement, struct extent run, uint64_t bytes[DMEMFS_MAX_REGIONS])
{
	uint64_t end = run.start + run.length;

	/* Regions may touch, and so may a run reach from one into the next. */
	for (guint i = 0; i < placement->regions->len; i++) {
		const struct memory_region *region = &g_array_index(placement->regions, struct memory_region, i);
		uint64_t from = MAX(run.start, region->start), to = MIN(end, region->start + region->length);

		bytes[i] += to > from ? to - from : 0;
	}
}

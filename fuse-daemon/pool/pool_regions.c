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

uint64_t pool_capacity(const struct pool *pool, uint64_t regions)
{
	uint64_t bytes = 0;

	for (guint i = 0; i < pool->regions->len; i++)
		bytes += regions >> i & 1 ? g_array_index(pool->regions, struct memory_region, i).length : 0;
	return bytes;
}

uint64_t pool_regions_of(const struct pool *pool, unsigned order)
{
	return pool->kinds[order / PAGE_ORDER_STEP];
}

unsigned pool_largest_order(const struct pool *pool)
{
	unsigned kind = PAGE_ORDER_KINDS - 1;

	while (kind > 0 && !pool->kinds[kind])
		kind--;
	return kind * PAGE_ORDER_STEP;
}

unsigned pool_order_at(const struct pool *pool, uint64_t address)
{
	for (guint i = 0; i < pool->regions->len; i++) {
		const struct memory_region *region = &g_array_index(pool->regions, struct memory_region, i);

		if (address >= region->start && address - region->start < region->length)
			return region->order;
	}
	return PAGE_ORDER_NONE;
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

GArray *pool_get_regions(struct pool *pool)
{
	GArray *found = g_array_new(FALSE, FALSE, sizeof(struct pool_region));

	g_mutex_lock(&pool->lock);
	for (guint i = 0; i < pool->regions->len; i++) {
		const struct memory_region *region = &g_array_index(pool->regions, struct memory_region, i);
		struct pool_region entry = {
			.extent = { region->start, region->length },
			.node = region->node,
			.order = region->order,
			.free = allocator_available(pool->allocator, DMEMFS_PAGE_4K, UINT64_C(1) << i),
			.lent = allocator_available(pool->lent, DMEMFS_PAGE_4K, UINT64_C(1) << i),
		};

		g_array_append_val(found, entry);
	}
	g_mutex_unlock(&pool->lock);
	return found;
}

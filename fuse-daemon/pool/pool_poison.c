// SPDX-License-Identifier: GPL-2.0-or-later
/* Memory that went bad: the pool does not give it out any more. Memory of a file leaves the pool when it is freed. */
#include "pool/extent_set.h"
#include "pool/pool_internal.h"

/* Marks @part, which is in one region, as bad. */
static void add_part(struct pool *pool, struct extent part, GArray *added)
{
	g_autoptr(GArray) free = extents_new();
	guint first = added->len;

	extent_set_find_missing(pool->poisoned, part, added);
	for (guint i = first; i < added->len; i++) {
		const struct extent run = g_array_index(added, struct extent, i);

		extent_set_add(pool->poisoned, run);
		extent_set_find(pool->allocator, run, free);
	}
	for (guint i = 0; i < free->len; i++) {
		const struct extent run = g_array_index(free, struct extent, i);

		extent_set_remove(pool->allocator, run);
		extent_set_add(pool->retired, run);
		if (pool->clean)
			extent_set_remove(pool->clean, run);
	}
}

void pool_poison(struct pool *pool, struct extent run, GArray *added)
{
	g_mutex_lock(&pool->lock);
	for (guint i = 0; i < pool->regions->len; i++) {
		const struct memory_region *region = &g_array_index(pool->regions, struct memory_region, i);
		uint64_t from = MAX(run.start, region->start);
		uint64_t to = MIN(run.start + run.length, region->start + region->length);

		if (from < to)
			add_part(pool, (struct extent){ from, to - from }, added);
	}
	g_mutex_unlock(&pool->lock);
}

void pool_list_poisoned(struct pool *pool, struct extent run, GArray *out)
{
	g_mutex_lock(&pool->lock);
	extent_set_find(pool->poisoned, run, out);
	g_mutex_unlock(&pool->lock);
}

bool poison_claim(struct pool *pool, struct extent run)
{
	g_autoptr(GArray) good = extents_new();
	g_autoptr(GArray) bad = extents_new();
	bool free = true;

	extent_set_find_missing(pool->poisoned, run, good);
	extent_set_find(pool->poisoned, run, bad);
	for (guint i = 0; i < good->len; i++)
		free &= extent_set_has(pool->allocator, g_array_index(good, struct extent, i));
	for (guint i = 0; i < bad->len; i++)
		free &= extent_set_has(pool->retired, g_array_index(bad, struct extent, i));
	for (guint i = 0; i < good->len && free; i++)
		extent_set_remove(pool->allocator, g_array_index(good, struct extent, i));
	for (guint i = 0; i < bad->len && free; i++)
		extent_set_remove(pool->retired, g_array_index(bad, struct extent, i));
	return free;
}

void poison_retire(struct pool *pool, struct extent run, GArray *good)
{
	g_autoptr(GArray) bad = extents_new();

	extent_set_find_missing(pool->poisoned, run, good);
	extent_set_find(pool->poisoned, run, bad);
	for (guint i = 0; i < bad->len; i++) {
		const struct extent part = g_array_index(bad, struct extent, i);

		extent_set_add(pool->retired, part);
		if (pool->stale)
			extent_set_remove(pool->stale, part);
	}
}

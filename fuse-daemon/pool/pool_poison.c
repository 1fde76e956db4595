// SPDX-License-Identifier: GPL-2.0-or-later
/* Memory that went bad: it leaves the pool, at once or when its file lets it go, and does not come back. */
#include "pool/extent_set.h"
#include "pool/pool_internal.h"

/* Of what lies in one region: what is bad from now on. */
static void add_part(struct placement *placement, struct extent part, GArray *added)
{
	g_autoptr(GArray) free = extents_new();
	guint first = added->len;

	extent_set_find_missing(placement->poisoned, part, added);
	for (guint i = first; i < added->len; i++) {
		const struct extent run = g_array_index(added, struct extent, i);

		extent_set_add(placement->poisoned, run);
		extent_set_find(placement->allocator, run, free);
	}
	for (guint i = 0; i < free->len; i++) {
		const struct extent run = g_array_index(free, struct extent, i);

		extent_set_remove(placement->allocator, run);
		extent_set_add(placement->retired, run);
		if (placement->clean)
			extent_set_remove(placement->clean, run);
	}
}

void placement_poison(struct placement *placement, struct extent run, GArray *added)
{
	g_mutex_lock(&placement->lock);
	for (guint i = 0; i < placement->regions->len; i++) {
		const struct memory_region *region = &g_array_index(placement->regions, struct memory_region, i);
		uint64_t from = MAX(run.start, region->start);
		uint64_t to = MIN(run.start + run.length, region->start + region->length);

		if (from < to)
			add_part(placement, (struct extent){ from, to - from }, added);
	}
	g_mutex_unlock(&placement->lock);
}

void placement_list_poisoned(struct placement *placement, struct extent run, GArray *out)
{
	g_mutex_lock(&placement->lock);
	extent_set_find(placement->poisoned, run, out);
	g_mutex_unlock(&placement->lock);
}

bool poison_claim(struct placement *placement, struct extent run)
{
	g_autoptr(GArray) good = extents_new();
	g_autoptr(GArray) bad = extents_new();
	bool free = true;

	extent_set_find_missing(placement->poisoned, run, good);
	extent_set_find(placement->poisoned, run, bad);
	for (guint i = 0; i < good->len; i++)
		free &= extent_set_has(placement->allocator, g_array_index(good, struct extent, i));
	for (guint i = 0; i < bad->len; i++)
		free &= extent_set_has(placement->retired, g_array_index(bad, struct extent, i));
	for (guint i = 0; i < good->len && free; i++)
		extent_set_remove(placement->allocator, g_array_index(good, struct extent, i));
	for (guint i = 0; i < bad->len && free; i++)
		extent_set_remove(placement->retired, g_array_index(bad, struct extent, i));
	return free;
}

void poison_retire(struct placement *placement, struct extent run, GArray *good)
{
	g_autoptr(GArray) bad = extents_new();

	extent_set_find_missing(placement->poisoned, run, good);
	extent_set_find(placement->poisoned, run, bad);
	for (guint i = 0; i < bad->len; i++) {
		const struct extent part = g_array_index(bad, struct extent, i);

		extent_set_add(placement->retired, part);
		if (placement->stale)
			extent_set_remove(placement->stale, part);
	}
}

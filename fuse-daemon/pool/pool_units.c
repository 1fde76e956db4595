// SPDX-License-Identifier: GPL-2.0-or-later
/* The units in which memory is lent. */
#include "pool/pool_internal.h"

struct lend_unit *units_find(const struct pool *pool, uint64_t address)
{
	guint low = 0, high = pool->units->len;

	/* The first unit that ends behind the address. */
	while (low < high) {
		guint middle = low + (high - low) / 2;
		const struct extent *unit = &g_array_index(pool->units, struct lend_unit, middle).extent;

		if (unit->start + unit->length > address)
			high = middle;
		else
			low = middle + 1;
	}
	return low < pool->units->len ? &g_array_index(pool->units, struct lend_unit, low) : NULL;
}

void units_visit(const struct pool *pool, struct extent run, void (*visit)(struct lend_unit *unit, void *data),
                 void *data)
{
	struct lend_unit *end = &g_array_index(pool->units, struct lend_unit, pool->units->len);

	for (struct lend_unit *unit = units_find(pool, run.start);
	     unit && unit < end && unit->extent.start < run.start + run.length; unit++)
		visit(unit, data);
}

static void set_freed(struct lend_unit *unit, void *now)
{
	unit->freed = *(const gint64 *)now;
}

void units_note_freed(const struct pool *pool, struct extent run)
{
	gint64 now = g_get_monotonic_time();

	units_visit(pool, run, set_freed, &now);
}

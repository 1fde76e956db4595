// SPDX-License-Identifier: GPL-2.0-or-later
/* Lent memory in the pool, and what the lender is to do next. */
#include "pool/pool_lent.h"

#include <errno.h>

#include "pool/extent_set.h"
#include "pool/pool_internal.h"

/* Memory becomes free without a signal to the lender, which therefore looks as often as this. */
#define LOOK_PERIOD G_TIME_SPAN_SECOND

void pool_set_lend_unit(struct pool *pool, uint64_t bytes)
{
	gint64 now = g_get_monotonic_time();

	g_mutex_lock(&pool->lock);
	for (guint i = 0; i < pool->regions->len && bytes; i++) {
		const struct memory_region *region = &g_array_index(pool->regions, struct memory_region, i);
		struct extent fit = page_order_fit((struct extent){ region->start, region->length }, bytes);

		for (uint64_t at = fit.start; at < fit.start + fit.length; at += bytes) {
			struct lend_unit unit = { .extent = { at, bytes }, .region = i, .freed = now };

			g_array_append_val(pool->units, unit);
		}
	}
	g_array_sort(pool->units, extents_compare);
	g_mutex_unlock(&pool->lock);
}

/* NULL: @extent is no unit. */
static struct lend_unit *unit_at(const struct pool *pool, struct extent extent)
{
	struct lend_unit *unit = units_find(pool, extent.start);

	return unit && unit->extent.start == extent.start && unit->extent.length == extent.length ? unit : NULL;
}

static bool is_in_a_region(const struct pool *pool, struct extent run)
{
	for (guint i = 0; i < pool->regions->len; i++) {
		const struct memory_region *region = &g_array_index(pool->regions, struct memory_region, i);
		const struct extent extent = { region->start, region->length };

		if (extent_overlap(&extent, &run).length)
			return true;
	}
	return false;
}

bool pool_adopt_lent(struct pool *pool, struct extent unit)
{
	bool adopted = true;

	g_mutex_lock(&pool->lock);
	if (is_in_a_region(pool, unit)) {
		struct lend_unit *known = unit_at(pool, unit);

		adopted = known && known->state != LEND_LENT && poison_claim(pool, unit);
		if (adopted) {
			known->state = LEND_LENT;
			extent_set_add(pool->lent, unit);
		}
	}
	g_mutex_unlock(&pool->lock);
	return adopted;
}

void pool_open_lending(struct pool *pool, gint64 patience)
{
	g_mutex_lock(&pool->lock);
	pool->lending = POOL_LENDING_OPEN;
	pool->take_patience = patience;
	g_mutex_unlock(&pool->lock);
}

void pool_close_lending(struct pool *pool)
{
	g_mutex_lock(&pool->lock);
	pool->lending = POOL_LENDING_CLOSED;
	g_cond_signal(&pool->recalled);
	g_cond_broadcast(&pool->returned);
	g_mutex_unlock(&pool->lock);
}

/* What is being zeroed is not clean. */
static void look_at_units(struct pool *pool)
{
	const struct allocator *zero = pool->clean ?: pool->allocator;

	for (guint i = 0; i < pool->units->len; i++) {
		struct lend_unit *unit = &g_array_index(pool->units, struct lend_unit, i);

		if (unit->state != LEND_LENT)
			unit->state = extent_set_has(zero, unit->extent) ? LEND_FREE : LEND_USED;
	}
}

static struct lend_view look(struct pool *pool, struct lend_region regions[DMEMFS_MAX_REGIONS])
{
	struct lend_view view = {
		.units = (const struct lend_unit *)pool->units->data,
		.unit_count = pool->units->len,
		.regions = regions,
		.region_count = pool->regions->len,
		.now = g_get_monotonic_time(),
	};

	look_at_units(pool);
	for (guint i = 0; i < pool->regions->len; i++) {
		const struct memory_region *region = &g_array_index(pool->regions, struct memory_region, i);

		regions[i] = (struct lend_region){
			.node = region->node,
			.order = region->order,
			.free = allocator_available(pool->allocator, DMEMFS_PAGE_4K, UINT64_C(1) << i),
		};
	}
	for (guint i = 0; i < PAGE_ORDER_KINDS; i++)
		view.promised[i] = pool->promised[i];
	return view;
}

/* Finds a unit to take back for a request. Requests that none can help are told so. */
static bool next_recalled(struct pool *pool, const struct lend_view *view, guint *unit)
{
	for (guint i = 0; i < pool->recalls->len; i++) {
		struct pool_recall *request = g_ptr_array_index(pool->recalls, i);

		if (request->refused || !request->lacking)
			continue;
		if (lend_policy_recall(view, &request->recall, unit))
			return true;
		request->refused = true;
		g_cond_broadcast(&pool->returned);
	}
	return false;
}

/* NULL: there is no such unit. Its state is of now. */
static bool begin(struct pool *pool, struct lend_unit *unit)
{
	if (!unit || unit->state != LEND_FREE)
		return false;
	unit->state = LEND_LENT;
	unit->error = 0; /* that of an attempt to lend it says nothing of taking it back */
	extent_set_remove(pool->allocator, unit->extent);
	extent_set_add(pool->lent, unit->extent);
	if (pool->clean)
		extent_set_remove(pool->clean, unit->extent);
	return true;
}

bool pool_lend_begin(struct pool *pool, struct extent extent)
{
	bool begun;

	g_mutex_lock(&pool->lock);
	look_at_units(pool);
	begun = begin(pool, unit_at(pool, extent));
	g_mutex_unlock(&pool->lock);
	return begun;
}

enum lend_action pool_next_lending(struct pool *pool, const struct lend_rules *rules, struct extent *unit)
{
	struct lend_region regions[DMEMFS_MAX_REGIONS];
	enum lend_action action = LEND_REST;
	guint index = 0;

	g_mutex_lock(&pool->lock);
	if (pool->lending == POOL_LENDING_OPEN) {
		const struct lend_view view = look(pool, regions);

		action = next_recalled(pool, &view, &index) ? LEND_TAKE : lend_policy_next(&view, rules, &index);
		/* What came back for a request is free until the request gets it. */
		if (action == LEND_UNIT && pool->recalls->len > 0)
			action = LEND_REST;
		/* Under the same lock, so that nobody is promised what is lent. */
		if (action == LEND_UNIT)
			begin(pool, &g_array_index(pool->units, struct lend_unit, index));
		if (action == LEND_REST)
			g_cond_wait_until(&pool->recalled, &pool->lock, view.now + LOOK_PERIOD);
		else
			*unit = view.units[index].extent;
	}
	g_mutex_unlock(&pool->lock);
	return action;
}

static struct lend_unit *lent_unit_at(const struct pool *pool, struct extent extent)
{
	struct lend_unit *unit = unit_at(pool, extent);

	/* Memory that was not lent may have an owner: abort before it gets another one. */
	if (!unit || unit->state != LEND_LENT)
		g_error("unit 0x%" G_GINT64_MODIFIER "x+%" G_GUINT64_FORMAT " came back but was not lent", extent.start,
		        extent.length);
	return unit;
}

/* Requests will look whether it is enough; until then no more is taken back for them. */
static void tell_requests(struct pool *pool, const struct lend_unit *unit)
{
	for (guint i = 0; i < pool->recalls->len; i++) {
		struct pool_recall *request = g_ptr_array_index(pool->recalls, i);

		if (request->recall.regions >> unit->region & 1)
			request->lacking -= MIN(request->lacking, unit->extent.length);
	}
}

static struct lend_unit *end_lending(struct pool *pool, struct extent extent)
{
	struct lend_unit *unit = lent_unit_at(pool, extent);

	unit->state = LEND_USED;
	extent_set_remove(pool->lent, extent);
	pool_free_locked(pool, &extent, 1, false);
	pool->last_taken = g_get_monotonic_time();
	tell_requests(pool, unit);
	return unit;
}

void pool_lend_end(struct pool *pool, struct extent extent)
{
	g_mutex_lock(&pool->lock);
	lend_policy_note_lent((struct lend_unit *)pool->units->data, pool->units->len, lent_unit_at(pool, extent));
	g_mutex_unlock(&pool->lock);
}

void pool_lend_undo(struct pool *pool, struct extent extent, int err)
{
	struct lend_unit *unit;

	g_mutex_lock(&pool->lock);
	unit = end_lending(pool, extent);
	lend_policy_note_refused((struct lend_unit *)pool->units->data, pool->units->len, unit, err, pool->last_taken);
	g_mutex_unlock(&pool->lock);
}

void pool_take_begin(struct pool *pool, struct extent unit)
{
	g_mutex_lock(&pool->lock);
	lent_unit_at(pool, unit)->taking = true;
	pool->taking_since = g_get_monotonic_time();
	g_mutex_unlock(&pool->lock);
}

void pool_take_back(struct pool *pool, struct extent extent)
{
	struct lend_unit *unit;

	g_mutex_lock(&pool->lock);
	unit = end_lending(pool, extent);
	lend_policy_note(unit, 0, pool->last_taken);
	if (unit->taking)
		pool->lending_counts.last_take = (uint64_t)(pool->last_taken - pool->taking_since);
	unit->taking = false;
	pool->lending_counts.taken++;
	g_mutex_unlock(&pool->lock);
}

const char *const pool_take_reasons[] = {
	[POOL_TAKE_PINNED] = "pinned",
	[POOL_TAKE_MEMORY] = "memory",
	[POOL_TAKE_TIME] = "time",
	[POOL_TAKE_OTHER] = "other",
};

static enum pool_take_error take_error(int err)
{
	switch (err) {
	case -EBUSY:
		return POOL_TAKE_PINNED;
	case -ENOMEM:
		return POOL_TAKE_MEMORY;
	case -ETIME:
		return POOL_TAKE_TIME;
	default:
		return POOL_TAKE_OTHER;
	}
}

const char *pool_take_reason(int err)
{
	return pool_take_reasons[take_error(err)];
}

void pool_take_failed(struct pool *pool, struct extent extent, int err)
{
	struct lend_unit *unit;

	g_mutex_lock(&pool->lock);
	unit = lent_unit_at(pool, extent);
	unit->taking = false;
	lend_policy_note(unit, err, g_get_monotonic_time());
	pool->lending_counts.failed[take_error(err)]++;
	g_mutex_unlock(&pool->lock);
}

GArray *pool_list_lent(struct pool *pool)
{
	GArray *lent = g_array_new(FALSE, FALSE, sizeof(struct lend_unit));

	g_mutex_lock(&pool->lock);
	for (guint i = 0; i < pool->units->len; i++) {
		const struct lend_unit *unit = &g_array_index(pool->units, struct lend_unit, i);

		if (unit->state == LEND_LENT)
			g_array_append_vals(lent, unit, 1);
	}
	g_mutex_unlock(&pool->lock);
	return lent;
}

void pool_get_lending(struct pool *pool, struct pool_lending *lending)
{
	g_autoptr(GArray) lent = pool_list_lent(pool);

	g_mutex_lock(&pool->lock);
	*lending = pool->lending_counts;
	lending->unit = pool->units->len ? g_array_index(pool->units, struct lend_unit, 0).extent.length : 0;
	g_mutex_unlock(&pool->lock);
	for (guint i = 0; i < lent->len; i++) {
		const struct lend_unit *unit = &g_array_index(lent, struct lend_unit, i);

		lending->refused += unit->error ? unit->extent.length : 0;
		lending->taking += unit->taking ? unit->extent.length : 0;
	}
}

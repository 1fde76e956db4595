// SPDX-License-Identifier: GPL-2.0-or-later
/* Which unit is lent or taken back next. */
#include "pool/lend_policy.h"

#define PAUSE_FIRST (2 * G_TIME_SPAN_SECOND)
#define PAUSE_MOST  (64 * G_TIME_SPAN_SECOND)
/* Each attempt drops what is cached in a unit and moves the rest, although what is pinned stays: too much to do in vain each minute. */
#define PAUSE_MOST_IDLE G_TIME_SPAN_HOUR

struct balance {
	uint64_t node;  /* free bytes of the region's node and kind */
	uint64_t spare; /* free bytes of its kind beyond the reserves of the nodes */
};

static bool are_alike(const struct lend_region *a, const struct lend_region *b)
{
	return a->node == b->node && a->order == b->order;
}

/* The balance of each region. */
static void take_stock(const struct lend_view *view, const struct lend_rules *rules,
                       struct balance of[DMEMFS_MAX_REGIONS])
{
	uint64_t spare[PAGE_ORDER_KINDS] = { 0 };

	for (guint i = 0; i < view->region_count; i++) {
		const struct lend_region *region = &view->regions[i];
		guint first = view->region_count;

		of[i].node = 0;
		for (guint k = view->region_count; k-- > 0;) {
			if (!are_alike(&view->regions[k], region))
				continue;
			of[i].node += view->regions[k].free;
			first = k;
		}
		if (first == i && of[i].node > rules->reserve)
			spare[region->order / PAGE_ORDER_STEP] += of[i].node - rules->reserve;
	}
	for (guint i = 0; i < view->region_count; i++)
		of[i].spare = spare[view->regions[i].order / PAGE_ORDER_STEP];
}

static uint64_t promised(const struct lend_view *view, const struct lend_unit *unit)
{
	return view->promised[view->regions[unit->region].order / PAGE_ORDER_STEP];
}

static bool is_most(const struct lend_view *view, const struct lend_rules *rules)
{
	uint64_t lent = 0;

	for (guint i = 0; i < view->unit_count; i++) {
		const struct lend_unit *unit = &view->units[i];

		lent += unit->state == LEND_LENT ? unit->extent.length : 0;
	}
	return rules->most && view->unit_count && lent + view->units[0].extent.length > rules->most;
}

/* Could one not be lent a moment ago? Others would fare no better, and would have to be zeroed again. */
static bool is_pausing(const struct lend_view *view)
{
	for (guint i = 0; i < view->unit_count; i++) {
		const struct lend_unit *unit = &view->units[i];

		if (unit->state != LEND_LENT && unit->error && view->now < unit->retry)
			return true;
	}
	return false;
}

static bool may_lend(const struct lend_view *view, const struct lend_rules *rules, const struct balance *balance,
                     const struct lend_unit *unit)
{
	return unit->state == LEND_FREE && view->now >= unit->freed + rules->idle &&
	       balance->node >= unit->extent.length + rules->reserve &&
	       balance->spare >= unit->extent.length + promised(view, unit);
}

static bool must_take(const struct lend_view *view, const struct lend_rules *rules, const struct balance *balance,
                      const struct lend_unit *unit)
{
	bool needed = !rules->on || balance->node < rules->reserve || balance->spare < promised(view, unit);
	gint64 retry = needed ? MIN(unit->retry, unit->failed + PAUSE_MOST) : unit->retry;

	return unit->state == LEND_LENT && view->now >= retry && (needed || unit->error);
}

enum lend_action lend_policy_next(const struct lend_view *view, const struct lend_rules *rules, guint *unit)
{
	struct balance of[DMEMFS_MAX_REGIONS];
	bool lends = rules->on && !is_most(view, rules) && !is_pausing(view);

	take_stock(view, rules, of);
	for (guint i = 0; i < view->unit_count; i++) {
		if (must_take(view, rules, &of[view->units[i].region], &view->units[i])) {
			*unit = i;
			return LEND_TAKE;
		}
	}
	for (guint i = lends ? view->unit_count : 0; i-- > 0;) {
		if (may_lend(view, rules, &of[view->units[i].region], &view->units[i])) {
			*unit = i;
			return LEND_UNIT;
		}
	}
	return LEND_REST;
}

bool lend_policy_recall(const struct lend_view *view, const struct lend_recall *recall, guint *unit)
{
	bool found = false;

	/* Those that failed lately come last. */
	for (guint i = 0; i < view->unit_count; i++) {
		const struct lend_unit *candidate = &view->units[i];

		if (candidate->state != LEND_LENT || !(recall->regions >> candidate->region & 1) ||
		    candidate->failed > recall->since || (found && candidate->retry >= view->units[*unit].retry))
			continue;
		*unit = i;
		found = true;
		if (candidate->retry <= view->now)
			break;
	}
	return found;
}

static void note_failed(struct lend_unit *unit, int err, gint64 most, gint64 now)
{
	unit->error = err;
	unit->pause = unit->pause ? MIN(2 * unit->pause, most) : PAUSE_FIRST;
	unit->retry = now + unit->pause;
	unit->failed = now;
}

void lend_policy_note_refused(struct lend_unit *units, guint count, struct lend_unit *unit, int err, gint64 now)
{
	for (guint i = 0; i < count; i++) {
		if (units[i].state != LEND_LENT && units[i].error)
			unit->pause = MAX(unit->pause, units[i].pause);
	}
	note_failed(unit, err, PAUSE_MOST, now);
}

void lend_policy_note_lent(struct lend_unit *units, guint count, struct lend_unit *unit)
{
	lend_policy_note(unit, 0, 0);
	for (guint i = 0; i < count; i++) {
		if (units[i].state != LEND_LENT && units[i].error)
			lend_policy_note(&units[i], 0, 0);
	}
}

void lend_policy_note(struct lend_unit *unit, int err, gint64 now)
{
	if (err) {
		note_failed(unit, err, PAUSE_MOST_IDLE, now);
		return;
	}
	unit->error = 0;
	unit->pause = unit->retry = unit->failed = 0;
}

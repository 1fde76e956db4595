/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which unit of memory is lent to the host next, or taken back. Pure functions of what they are given: no locks, no clock, no I/O.
 *
 * Lent is what nobody needs soon. A unit is lent when all of it has been free for lend_rules.idle, the highest address first. What is
 * kept unlent: on each node lend_rules.reserve of each kind of memory (page_order.h), because files take memory of one kind and perhaps
 * of one node only; beyond these reserves, of each kind, all that is promised to files. When less than that is free, as much is taken
 * back as is missing, the lowest address first. A reserve may be larger than its node: then nothing of the node is lent. No more is lent
 * than lend_rules.most in all.
 *
 * A request that lacks memory recalls it: all units of its regions are tried in turn, until it has what it needs.
 *
 * An attempt that fails is repeated after a pause, which doubles each time until one succeeds: up to an hour for a unit that is lent and
 * not needed, else up to a minute. A request that began after it does not wait for that. A unit that could not be taken back is tried
 * until it can, needed or not: so it is known what can be had. While one that could not be lent
 * pauses, no other is lent.
 */
#ifndef DMEMFS_LEND_POLICY_H
#define DMEMFS_LEND_POLICY_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/extent.h"
#include "base/page_order.h"

enum lend_state {
	LEND_USED, /* some of it is not free, or may contain bytes of a former owner */
	LEND_FREE,
	LEND_LENT,
};

/* Times are monotonic, in us. */
struct lend_unit {
	struct extent extent;
	unsigned region; /* index in lend_view.regions */
	enum lend_state state;
	gint64 freed; /* when memory in it was freed last */
	gint64 failed; /* when it could not be lent or taken back last; 0: the last attempt succeeded, or there was none */
	gint64 retry; /* when to try again, without a recall; 0: at once */
	gint64 pause; /* what was waited for that, or is */
	int error;    /* of the last attempt: 0 or a negative errno */
	bool taking;  /* it is being taken back */
};

struct lend_region {
	int node; /* -1: unknown, which counts as a node of its own */
	unsigned order;
	uint64_t free; /* bytes, without what is lent */
};

struct lend_view {
	const struct lend_unit *units;
	guint unit_count;
	const struct lend_region *regions;
	guint region_count;
	uint64_t promised[PAGE_ORDER_KINDS]; /* bytes of each kind */
	gint64 now;
};

struct lend_rules {
	bool on;          /* false: all that is lent is taken back */
	uint64_t reserve; /* bytes of each node and kind that are never lent */
	gint64 idle;      /* us */
	uint64_t most;    /* bytes that are lent at most; 0: no limit */
};

/* A request that lacks memory: the mask of regions that it may have memory of, and when it began. */
struct lend_recall {
	uint64_t regions;
	gint64 since;
};

enum lend_action { LEND_REST, LEND_UNIT, LEND_TAKE };

/* What to do with the units when no request lacks memory; *@unit is the index of the unit to lend or to take back. */
enum lend_action lend_policy_next(const struct lend_view *view, const struct lend_rules *rules, guint *unit);
/* The unit to take back for @recall: each at most once. False: no unit is left that could help. */
bool lend_policy_recall(const struct lend_view *view, const struct lend_recall *recall, guint *unit);

/* Notes how the attempt to take @unit back ended: 0 or a negative errno. */
void lend_policy_note(struct lend_unit *unit, int err, gint64 now);
/* Notes that @unit, one of @units, could not be lent: the pause is longer than that after the last one that could not. */
void lend_policy_note_refused(struct lend_unit *units, guint count, struct lend_unit *unit, int err, gint64 now);
/* Notes that @unit, one of @units, could be lent: the next pause is short again. */
void lend_policy_note_lent(struct lend_unit *units, guint count, struct lend_unit *unit);

#endif

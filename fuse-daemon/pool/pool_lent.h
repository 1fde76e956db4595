/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lent memory: free memory that the host's kernel uses until a file needs it. It is lent and taken back in whole units. Only clean units
 * are lent (pool_clean.h): nothing that a guest had there shows in the host's memory. To files it is memory in use, but requests that
 * lack memory wait while the lender, one thread (lending/lender.h), takes some back for them. lend_policy.h decides what is lent. All
 * functions take the pool's lock.
 */
#ifndef DMEMFS_POOL_LENT_H
#define DMEMFS_POOL_LENT_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/extent.h"
#include "pool/lend_policy.h"

struct pool;

/* Why a unit could not be taken back: pinned by a process; no memory for its contents; no time; another reason. */
enum pool_take_error { POOL_TAKE_PINNED, POOL_TAKE_MEMORY, POOL_TAKE_TIME, POOL_TAKE_OTHER, POOL_TAKE_ERRORS };

struct pool_lending {
	uint64_t unit;                     /* bytes; 0: nothing can be lent */
	uint64_t refused;                  /* lent bytes that could not be taken back when that was tried last */
	uint64_t taking;                   /* lent bytes that are being taken back */
	uint64_t taken;                    /* how many units were taken back since the start */
	uint64_t last_take;                /* how long the last one took, in us */
	uint64_t failed[POOL_TAKE_ERRORS]; /* how often a unit could not be taken back since the start */
};

/* "pinned", "memory", "time", "other": a word for the negative errno @err of taking a unit back. */
const char *pool_take_reason(int err);
/* The same for an element of pool_lending.failed. */
extern const char *const pool_take_reasons[POOL_TAKE_ERRORS];

/*
 * Divides the regions into units of @bytes; 0: nothing can be lent, as without this call. What lies before the first whole unit of a region
 * and behind its last one is never lent. To be called before the first allocation.
 */
void pool_set_lend_unit(struct pool *pool, uint64_t bytes);
/* At the start: @unit is lent by an earlier daemon. Ignored if it is in no region. Before files are loaded. False: it is no unit. */
bool pool_adopt_lent(struct pool *pool, struct extent unit);

/* From now on requests that lack memory wait for lent memory: each until none has come back for @patience us. */
void pool_open_lending(struct pool *pool, gint64 patience);
/* Requests that lent memory would help fail with -ERESTART: the next daemon gets them again. Ends pool_next_lending(). */
void pool_close_lending(struct pool *pool);
/*
 * What the lender is to do now, and with which @unit; for LEND_UNIT, pool_lend_begin() is done. Waits until there is something to do,
 * but not for long: after LEND_REST the caller asks again.
 */
enum lend_action pool_next_lending(struct pool *pool, const struct lend_rules *rules, struct extent *unit);

/* Makes @unit, if it is wholly free, good and clean, lent and not clean. False: nothing has changed. */
bool pool_lend_begin(struct pool *pool, struct extent unit);
/* After pool_lend_begin(): it is lent. */
void pool_lend_end(struct pool *pool, struct extent unit);
/* After pool_lend_begin(): it could not be lent because of @err, and is free and dirty again. */
void pool_lend_undo(struct pool *pool, struct extent unit, int err);
/* The lent @unit is being taken back, until one of the next two calls. */
void pool_take_begin(struct pool *pool, struct extent unit);
/* The lent @unit came back: it is free and dirty, but for what went bad. */
void pool_take_back(struct pool *pool, struct extent unit);
/* It could not be had: it stays lent. */
void pool_take_failed(struct pool *pool, struct extent unit, int err);
/* GArray of struct lend_unit: what is lent, by address; the caller frees it. */
GArray *pool_list_lent(struct pool *pool);
void pool_get_lending(struct pool *pool, struct pool_lending *lending);

#endif

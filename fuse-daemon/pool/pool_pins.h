/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pinned memory: it left its file, but a device still holds it. No file gets it until the device lets go. No event tells when that
 * is: file/pins.c asks the backend. All functions take the pool's lock.
 */
#ifndef DMEMFS_POOL_PINS_H
#define DMEMFS_POOL_PINS_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/extent.h"

struct pool;

/* The file that had the memory. */
struct pool_user {
	uint64_t ino;  /* 0: unknown */
	int pid;       /* the process that opened the file last; 0: unknown */
	char name[64]; /* the last name of a removed file, cut to fit; "": unknown */
};

struct pool_pin {
	struct extent extent;
	int64_t since; /* microseconds since the epoch */
	struct pool_user last;
	bool recorded; /* unless pool_idle(last.ino) was called, the record says that the file has it */
};

/* Makes @run, which was in use by a file, pinned. */
void pool_pin_used(struct pool *pool, struct extent run, int64_t since, const struct pool_user *last);
/* Before the first allocation: makes the free parts of @pin's extent pinned, as it says. */
void pool_pin_free(struct pool *pool, const struct pool_pin *pin);
/*
 * The same: the pinned parts of @run are on record for the removed file @ino, which is their owner if that is unknown. They are pending
 * when they are not pinned any more, until pool_idle().
 */
void pool_own_pins(struct pool *pool, struct extent run, uint64_t ino);
/*
 * Frees the pinned parts of @run. They are dirty. Parts that were pending are pending again if pool_idle() has not been called for their
 * file: else another file could get memory that the record has twice. With @promise, the other parts are promised, as with
 * pool_free_promised(). Returns the promised bytes.
 */
uint64_t pool_unpin(struct pool *pool, struct extent run, bool promise);
/* GArray of struct pool_pin, by address; the caller frees it. */
GArray *pool_get_pins(struct pool *pool);
/*
 * Pins in regions of an earlier configuration, which are not in the pool: it only keeps them for others. GArray of struct pool_pin, by
 * address. Set takes ownership; the caller frees the result of get.
 */
void pool_set_former_pins(struct pool *pool, GArray *pins);
GArray *pool_get_former_pins(struct pool *pool);
/* Appends the pinned parts of @run to @pinned (GArray of struct extent), by address. */
void pool_list_pinned(struct pool *pool, struct extent run, GArray *pinned);
/* The pinned bytes that the file @ino had. */
uint64_t pool_pinned_bytes(struct pool *pool, uint64_t ino);
/* The bytes of the removed file @ino that are pinned or pending: both at the same instant. */
uint64_t pool_remaining_bytes(struct pool *pool, uint64_t ino);

/* Describes the removed file @id, whose memory is or becomes pending, until pool_idle(). */
void pool_set_last_user(struct pool *pool, uint64_t id, const struct pool_user *last);
/* Appends the pending runs of @id. *@last: the file, with what is known of it. */
void pool_list_pending(struct pool *pool, uint64_t id, GArray *runs, struct pool_user *last);
/* Makes the parts of @runs (GArray of struct extent, by address, which do not overlap) that are pending of @id pinned. */
void pool_pin_pending(struct pool *pool, uint64_t id, int64_t since, const GArray *runs);

#endif

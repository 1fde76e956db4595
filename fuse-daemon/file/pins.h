/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory with compound pages that a device still holds after it left its file (backend.h): the backend is asked before the pool
 * gives such memory to anybody, and again and again while it is held. No state but the pool's.
 */
#ifndef DMEMFS_PINS_H
#define DMEMFS_PINS_H

#include <glib.h>
#include <stdint.h>

#include "file/file.h"
#include "pool/pool_pins.h"

/* How long it is until pinned memory is asked for again, in microseconds: at first, and doubled each time up to the last. */
#define PINS_DELAY_FIRST G_TIME_SPAN_SECOND
#define PINS_DELAY_LAST  G_TIME_SPAN_MINUTE

/* When pins_poll() asks next. All 0 at first. */
struct pins_poll {
	gint64 due; /* monotonic time, us */
	gint64 delay;
	uint64_t bytes; /* that were pinned at the last look */
};

/*
 * @extents (GArray of struct extent) have left the object of @last. What a device still holds of them is pinned in the pool, and
 * no longer in @extents.
 */
void pins_check(const struct storage *storage, const struct pool_user *last, GArray *extents);
/* The same for what is pending of the removed file @ino, whose object the backend has just forgotten. */
void pins_check_pending(const struct storage *storage, uint64_t ino);
/* At the start: what an earlier daemon left pinned, as far as it is free in the pool. */
void pins_load(const struct storage *storage);
/* Every second or so, at @now, g_get_monotonic_time(): what nobody holds any more goes back to the pool. Asks when it is time. */
void pins_poll(const struct storage *storage, struct pins_poll *poll, gint64 now);

/* For how many seconds the oldest pin is there; 0: there is none. */
uint64_t pins_oldest(const struct storage *storage);

#endif

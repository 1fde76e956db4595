/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory with compound pages that a device still holds after it left its file. Asks the backend for it before the pool gives such
 * memory to a file, and again and again while it is held. The pool has the state (pool_pins.h).
 */
#ifndef DMEMFS_PINS_H
#define DMEMFS_PINS_H

#include <glib.h>
#include <stdint.h>

#include "file/file.h"
#include "pool/pool_pins.h"

/* Microseconds until pinned memory is asked for again: at first, and doubled each time up to the last. */
#define PINS_DELAY_FIRST G_TIME_SPAN_SECOND
#define PINS_DELAY_LAST  G_TIME_SPAN_MINUTE

/* When pins_poll() asks next, and who is told of what it finds. */
struct pins_poll {
	gint64 due; /* monotonic time, us; 0 at first */
	gint64 delay;
	gint64 former_due; /* when the backend releases regions of an earlier configuration; as @due */
	uint64_t bytes;    /* that were pinned at the last poll */
	/* Called for each file that had such memory: for file_unpinned() or storage_unpinned(), one of which must be called. */
	void (*unpinned)(const struct unpinned *memory, void *data);
	void *data;
};

/*
 * @extents (GArray of struct extent) have left the object of @last, and were in use. Removes the parts that a device still holds
 * from @extents, and makes them pinned, @since when (microseconds since the epoch).
 */
void pins_check(const struct storage *storage, const struct pool_user *last, int64_t since, GArray *extents);
/*
 * The same for the pending memory of the removed file @ino, whose object the backend has deleted. Returns what is to be on record
 * when its inode is deleted; NULL: devices hold nothing that the file ever had.
 */
struct store_gone *pins_check_pending(const struct storage *storage, uint64_t ino);
/* At the start of the daemon: makes the free memory pinned that a device still holds since an earlier daemon. 0 or a negative errno. */
int pins_load(const struct storage *storage);
/* After that, when all files have their memory: makes the record of held memory equal to what is pinned. 0 or a negative errno. */
int pins_record(const struct storage *storage);
/*
 * At the start, for the removed file @ino: splits @run, memory on record, into the runs that are not pinned, and appends them to @rest (GArray
 * of struct extent_map_run). False: nothing of @run is pinned.
 */
bool pins_leave_out(const struct storage *storage, uint64_t ino, struct extent_map_run run, GArray *rest);
/*
 * To be called every second or so. When it is time, frees the memory that devices do not hold any more, and
 * has the backend release what it still has of an earlier configuration, and asks what devices hold of that. @now: g_get_monotonic_time().
 */
void pins_poll(const struct storage *storage, struct pins_poll *poll, gint64 now);

/* GArray of struct pool_pin, by address: all pinned memory, also in regions of an earlier configuration. The caller frees it. */
GArray *pins_list(const struct storage *storage);
/* For how many seconds the oldest pinned memory has been so; 0: there is none. */
uint64_t pins_oldest(const struct storage *storage);

#endif

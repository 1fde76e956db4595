/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which run of memory is which part of one file. Pure: no I/O, no locks; file.c holds the lock.
 *
 * A sorted array of runs, found by binary search. Runs never overlap in the file, and two that continue each other in
 * the file and in memory are one, so the array is as short as it can be; most files have a single run. A run costs
 * 24 bytes. Lookup is O(log runs), appending at the end O(1), a change in the middle moves the runs after it.
 *
 * Offsets and lengths are bytes. No run ends past INT64_MAX, the end of the largest file.
 */
#ifndef DMEMFS_EXTENT_MAP_H
#define DMEMFS_EXTENT_MAP_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/extent.h"

/* No offset of a byte in a file: larger than all of them. */
#define EXTENT_MAP_NONE ((uint64_t)INT64_MAX)

/* The memory of [offset, offset + extent.length) of the file. */
struct extent_map_run {
	uint64_t offset;
	struct extent extent;
};

/* A part of the file that has no memory. */
struct extent_gap {
	uint64_t offset;
	uint64_t length;
};

struct extent_map;

struct extent_map *extent_map_new(void);
/* The runs are forgotten, not freed: whoever needs them takes them out first. NULL is fine. */
void extent_map_destroy(struct extent_map *map);

/* Makes @extent, not empty, the memory of the file from @offset on. That range must be a gap: aborts when not. */
void extent_map_insert(struct extent_map *map, uint64_t offset, struct extent extent);
/*
 * Forgets the memory of [offset, offset + length), cutting runs that reach out of it, and appends what it was to @runs
 * (GArray of struct extent) in file order. Gaps in the range are fine. @length UINT64_MAX: to the end.
 */
void extent_map_remove(struct extent_map *map, uint64_t offset, uint64_t length, GArray *runs);

/* The run that contains @offset, else the first one after it: false when there is neither. */
bool extent_map_lookup(const struct extent_map *map, uint64_t offset, struct extent_map_run *run);
/* Appends the parts of [from, to) that have no memory to @gaps (GArray of struct extent_gap), in file order. */
void extent_map_gaps(const struct extent_map *map, uint64_t from, uint64_t to, GArray *gaps);
/* The first byte at or after @offset that has memory, EXTENT_MAP_NONE when there is none. */
uint64_t extent_map_next_data(const struct extent_map *map, uint64_t offset);
/* The first byte at or after @offset that has no memory. There always is one, at the latest past the last run. */
uint64_t extent_map_next_hole(const struct extent_map *map, uint64_t offset);

/* Where the last run ends in the file, 0 when there is none. */
uint64_t extent_map_end(const struct extent_map *map);
/* Memory in all runs, in bytes. */
uint64_t extent_map_bytes(const struct extent_map *map);

#endif

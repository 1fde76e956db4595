/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The extent map of one file: which run of memory holds which part of the file. No I/O and no locks: the caller holds the
 * file's lock (file.c).
 *
 * The map is an array of runs, sorted by offset. Runs never overlap in the file. Two runs that are adjacent in the file and
 * in memory are merged; most files have a single run. A run takes 24 bytes. A lookup is O(log runs), appending at the end
 * is O(1), a change in the middle moves the runs after it.
 *
 * Offsets and lengths are bytes. No run ends past INT64_MAX, the end of the largest file.
 */
#ifndef DMEMFS_EXTENT_MAP_H
#define DMEMFS_EXTENT_MAP_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/extent.h"

/* Not a valid offset: larger than the offset of any byte in a file. */
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
/* Frees the map, not the memory that the runs stand for: the caller takes that out first. @map may be NULL. */
void extent_map_destroy(struct extent_map *map);

/* Makes @extent the memory of the file from @offset on. Aborts when it is empty, or when that range is not a gap. */
void extent_map_insert(struct extent_map *map, uint64_t offset, struct extent extent);
/*
 * Removes the memory of [offset, offset + length), and appends it to @runs (GArray of struct extent) in file order. Cuts
 * runs that are partly outside the range. The range may have gaps. @length UINT64_MAX: to the end of the file.
 */
void extent_map_remove(struct extent_map *map, uint64_t offset, uint64_t length, GArray *runs);

/* Finds the run that contains @offset, or the first one after it. False when there is neither. */
bool extent_map_lookup(const struct extent_map *map, uint64_t offset, struct extent_map_run *run);
/* Appends the parts of [from, to) that have no memory to @gaps (GArray of struct extent_gap), in file order. */
void extent_map_gaps(const struct extent_map *map, uint64_t from, uint64_t to, GArray *gaps);
/* The first byte at or after @offset that has memory, EXTENT_MAP_NONE when there is none. */
uint64_t extent_map_next_data(const struct extent_map *map, uint64_t offset);
/* The first byte at or after @offset that has no memory. It exists: at the latest after the last run. */
uint64_t extent_map_next_hole(const struct extent_map *map, uint64_t offset);

/* The offset at which the last run ends; 0 when there are no runs. */
uint64_t extent_map_end(const struct extent_map *map);
/* Memory in all runs, in bytes. */
uint64_t extent_map_bytes(const struct extent_map *map);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Chooses which free memory of a region serves a request. Internal to the allocator.
 *
 * Whole, aligned gigabytes of a file get wholly free chunks, and whole, aligned 2 MiB get wholly free blocks, so that one
 * page table entry can map each. The rest at both ends of the range goes where it fits best. In order of preference:
 *   chunks  1. the lowest run of chunks that is long enough
 *           2. the longest run, then again from 1 with the rest
 *           3. when no chunk is wholly free: as blocks
 *   blocks  1. directly after the run that was placed last, if all fit there
 *           2. the smallest run in a partly used chunk that is long enough
 *           3. the longest run in a partly used chunk, if it is not too small a part, then again with the rest: a file in
 *              pieces of 2 MiB or more loses no large page, but breaking a chunk would cost one
 *           4. the wholly free chunk with the highest address
 *           5. the longest run, then again with the rest
 *           6. when no block is wholly free: as pages
 *   pages   the same one level down: in partly used blocks, else in a block of a partly used chunk
 */
#ifndef DMEMFS_ALLOCATOR_PLACE_H
#define DMEMFS_ALLOCATOR_PLACE_H

#include <glib.h>
#include <stdint.h>

#include "pool/allocator_region.h"

/*
 * Takes @length bytes in units of @unit for the file from @offset on. region_available() must be at least @length. Appends
 * the runs to @out (GArray of struct extent) in file order. Merges a run with the one before it in @out when it continues
 * that one, and that one's index is at least @first.
 */
void place_anywhere(struct region *region, uint64_t unit, uint64_t offset, uint64_t length, GArray *out, guint first);

/*
 * The same, but takes only memory that continues a run that ends at @address in the region. Takes less, or nothing, where
 * that memory is used, or the file would lose a large page. Returns the bytes taken.
 */
uint64_t place_behind(struct region *region, uint64_t address, uint64_t unit, uint64_t offset, uint64_t length,
                      GArray *out, guint first);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which free memory of a region serves a request. Internal to the allocator.
 *
 * A file's whole aligned gigabytes go to wholly free chunks, its whole aligned 2 MiB to wholly free blocks, so that one
 * page table entry can map them; what is left over at both ends goes where it fits best. In order of preference:
 *   chunks  the leftmost run that holds all, else the longest and again; then as blocks
 *   blocks  behind the run just placed if all fit there; else the smallest run in a partly used chunk that holds all;
 *           else the longest run of those if it is no crumb, and again: pieces of 2 MiB and more cost no large page, a
 *           broken chunk does; else the rightmost free chunk; else the longest run and again; then as pages
 *   pages   the same one level down, in partly used blocks, else in a block of a partly used chunk
 */
#ifndef DMEMFS_ALLOCATOR_PLACE_H
#define DMEMFS_ALLOCATOR_PLACE_H

#include <glib.h>
#include <stdint.h>

#include "pool/allocator_region.h"

/*
 * Takes @length bytes in units of @unit for the file from @offset on, which region_available() must say are there.
 * Appends them to @out (GArray of struct extent) in file order; a run that continues the last one is merged with it
 * if that has an index of @first or more.
 */
void place_anywhere(struct region *region, uint64_t unit, uint64_t offset, uint64_t length, GArray *out, guint first);

/*
 * As much of it as can usefully continue a run that ends at @address, inside the region: less, or nothing, where that
 * would cost a large page. Returns the bytes taken.
 */
uint64_t place_behind(struct region *region, uint64_t address, uint64_t unit, uint64_t offset, uint64_t length,
                      GArray *out, guint first);

#endif

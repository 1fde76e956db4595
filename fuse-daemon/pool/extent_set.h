/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A set of memory, kept in an allocator with the pool's regions: memory that is free in the allocator is in the set. So
 * memory can also be allocated from the set. No I/O and no locks: the caller holds the pool's lock. Runs are in bytes,
 * multiples of 4 KiB, inside the regions.
 */
#ifndef DMEMFS_EXTENT_SET_H
#define DMEMFS_EXTENT_SET_H

#include "pool/allocator.h"

/* Adds @run. Parts of it may be in the set already. */
void extent_set_add(struct allocator *set, struct extent run);
/* Removes @run. Parts of it may be missing. */
void extent_set_remove(struct allocator *set, struct extent run);
/* Appends the parts of @run that are in the set to @found (GArray of struct extent), by address. */
void extent_set_find(const struct allocator *set, struct extent run, GArray *found);
/* Appends the parts of @run that are not in the set to @missing, by address. */
void extent_set_find_missing(const struct allocator *set, struct extent run, GArray *missing);
/* Is all of @run in the set? */
bool extent_set_has(const struct allocator *set, struct extent run);
uint64_t extent_set_bytes(const struct allocator *set);

#endif

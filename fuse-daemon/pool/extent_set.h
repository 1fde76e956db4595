/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A set of memory: what is free in an allocator is in the set. The allocator has the pool's regions, so that memory can also
 * be allocated from the set. Pure, no locks. Runs are multiples of 4 KiB inside of the regions.
 */
#ifndef DMEMFS_EXTENT_SET_H
#define DMEMFS_EXTENT_SET_H

#include "pool/allocator.h"

/* What of @run is not in it yet, is from now on. */
void extent_set_add(struct allocator *set, struct extent run);
/* What of @run is in it, is not from now on. */
void extent_set_remove(struct allocator *set, struct extent run);
/* Appends what of @run is in it to @found (GArray of struct extent), by address. */
void extent_set_find(const struct allocator *set, struct extent run, GArray *found);
/* Appends the rest of @run to @missing. */
void extent_set_find_missing(const struct allocator *set, struct extent run, GArray *missing);
/* Is all of @run in it? */
bool extent_set_has(const struct allocator *set, struct extent run);
uint64_t extent_set_bytes(const struct allocator *set);

#endif

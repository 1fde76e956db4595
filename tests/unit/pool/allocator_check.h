/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The allocator seen from inside, for tests. */
#ifndef DMEMFS_ALLOCATOR_CHECK_H
#define DMEMFS_ALLOCATOR_CHECK_H

#include "pool/allocator.h"
#include "pool/allocator_bits.h"
#include "pool/allocator_chunks.h"

/* Verifies every invariant; O(everything). On breach returns false and a g_malloc'ed reason. */
bool allocator_check(const struct allocator *alloc, char **reason);
/* How many bits are in the set. */
unsigned bits_count(const struct bits *bits);
/* Do tree and count say what the bits say? */
bool chunks_check(const struct chunks *chunks);
/* Calls @visit for each maximal free run of each region by rising address. */
void allocator_foreach_free(const struct allocator *alloc,
                            void (*visit)(int region, uint64_t start, uint64_t length, void *data), void *data);
/* Bytes that the allocator itself occupies on the heap. */
size_t allocator_memory(const struct allocator *alloc);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Free and used memory of the regions: which bytes belong to nobody.
 *
 * Pure: no I/O, no locks, no clock, no randomness; the caller serialises (pool.c owns the lock).
 * The same sequence of calls always gives the same placement.
 *
 * Shape: a radix tree with the page table's own fan-out. A region is cut at absolute multiples of 1 GiB into
 * chunks, a chunk into 512 blocks of 2 MiB, a block into 512 pages of 4 KiB. Each level keeps a bit per child that
 * is wholly free and knows its longest run of them, and chunks and blocks that are partly used are filed by that
 * longest run, so that the smallest sufficient one is found at once. Runs of wholly free chunks are found
 * through a tree over them. Every operation is O(log n); a block that is wholly free or wholly used costs one bit.
 *
 * Placement resists fragmentation: a request is served from the smallest run that fits, partly used chunks and
 * blocks before untouched ones; large requests come from the bottom of a region, small ones break a chunk at its top.
 *
 * Invariants (tests assert them by allocator_check()):
 *  - a byte is free or used, never both; used bytes are given out once until they are freed;
 *  - free + used = capacity, to the byte;
 *  - a run handed out lies in one region, is a multiple of the unit, and is aligned to the unit.
 */
#ifndef DMEMFS_ALLOCATOR_H
#define DMEMFS_ALLOCATOR_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/extent.h"

#define ALLOCATOR_NO_HINT    UINT64_MAX
#define ALLOCATOR_ANY_REGION UINT64_MAX
/* Where physical addresses of x86-64 and arm64 end, and regions too. */
#define ALLOCATOR_ADDRESS_END (UINT64_C(1) << 52)

struct allocator;

struct allocator_request {
	uint64_t length;      /* bytes, a multiple of unit, not 0 */
	uint64_t unit;        /* DMEMFS_PAGE_4K, _2M or _1G */
	uint64_t file_offset; /* where the run begins in its file, a multiple of unit: runs are placed so that
	                       * file offset and address agree modulo 1 GiB (else 2 MiB) where a large page can fit */
	uint64_t hint;        /* address that would continue the file's last run, or ALLOCATOR_NO_HINT; followed as far
	                       * as memory is free there and it costs the file no large page */
	uint64_t regions;     /* bit i: region i may serve; ALLOCATOR_ANY_REGION for all */
};

struct allocator_stats {
	uint64_t capacity; /* bytes */
	uint64_t free;     /* bytes */
	uint64_t free_2m;  /* bytes in wholly free, aligned 2 MiB blocks */
	uint64_t free_1g;  /* bytes in wholly free, aligned 1 GiB chunks */
};

struct allocator *allocator_new(void);
void allocator_destroy(struct allocator *alloc);
typedef struct allocator allocator_t;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(allocator_t, allocator_destroy)

/*
 * Adds a region of wholly free memory. @start and @length are bytes, multiples of 4 KiB.
 * Returns its index (0, 1, ...) or -EINVAL (unaligned, empty, past ALLOCATOR_ADDRESS_END), -EEXIST (overlaps another),
 * -ENOSPC (too many regions).
 */
int allocator_add_region(struct allocator *alloc, uint64_t start, uint64_t length);

/*
 * Takes req->length bytes, all or nothing, and appends the runs to @out (GArray of struct extent) in file order:
 * as few and as long as the free memory allows. What @out holds already is left alone, also where a run continues it.
 * The first region that can serve it whole does, else they serve in turn, in the order in which they were added.
 * -ENOSPC means what it says: whatever allocator_available() tells can be had. Returns 0, -ENOSPC (nothing taken) or
 * -EINVAL.
 */
int allocator_alloc(struct allocator *alloc, const struct allocator_request *req, GArray *out);

/*
 * Takes exactly [start, start + length), 4-KiB multiples, also across regions that touch.
 * Returns 0, -EBUSY (some of it is used; nothing taken) or -EINVAL (unaligned, empty, outside).
 */
int allocator_claim(struct allocator *alloc, uint64_t start, uint64_t length);

/*
 * Gives back [start, start + length), any part of what was taken, also across runs and across regions that touch.
 * Returns 0 or -EINVAL (unaligned, empty, outside, or some of it is not used; nothing freed).
 */
int allocator_free(struct allocator *alloc, uint64_t start, uint64_t length);

/* Bytes that a request of @unit from @regions could still get in all. O(regions). */
uint64_t allocator_available(const struct allocator *alloc, uint64_t unit, uint64_t regions);

void allocator_get_stats(const struct allocator *alloc, struct allocator_stats *stats);

/*
 * The first free memory in the addresses [@from, @to), multiples of 4 KiB, in the regions of the mask: as far as it goes in
 * its region and before @to. False: there is none. Time grows with the regions and with what lies in between, at worst
 * with its pages, mostly with its gigabytes; where nothing is free it is none.
 */
bool allocator_next_free(const struct allocator *alloc, uint64_t regions, uint64_t from, uint64_t to,
                         struct extent *run);

#endif

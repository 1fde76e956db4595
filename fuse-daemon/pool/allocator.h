/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The allocator: knows which memory of the regions is free and which is used.
 *
 * No I/O, no locks, no clock, no randomness. The caller serialises calls: pool.c holds its lock. The same sequence of calls
 * always gives the same placement.
 *
 * Structure: a radix tree with the fan-out of a page table. A region is divided at multiples of 1 GiB of the address into
 * chunks, a chunk into 512 blocks of 2 MiB, a block into 512 pages of 4 KiB. Each chunk and block has a bit for each child
 * that is wholly free, and the length of its longest run of such children. Partly used chunks and blocks are sorted by
 * that length, so that the smallest sufficient one is found at once. A tree over the wholly free chunks finds runs of
 * them. Every operation is O(log n). A block that is wholly free or wholly used costs one bit.
 *
 * Placement avoids fragmentation. A request is served from the smallest run that fits, from partly used chunks and blocks
 * before wholly free ones. Large requests are served from the lowest addresses of a region. When a small request has to
 * break a wholly free chunk, it takes the one with the highest address.
 *
 * Invariants, which tests assert with allocator_check():
 *  - a byte is either free or used; a used byte is not given out again until it is freed;
 *  - free + used = capacity, to the byte;
 *  - a run that is given out is in one region, and its start and length are multiples of the unit.
 */
#ifndef DMEMFS_ALLOCATOR_H
#define DMEMFS_ALLOCATOR_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/extent.h"

#define ALLOCATOR_NO_HINT    UINT64_MAX
#define ALLOCATOR_ANY_REGION UINT64_MAX
/* No region ends above it: the end of the physical addresses of x86-64 and arm64. */
#define ALLOCATOR_ADDRESS_END (UINT64_C(1) << 52)

struct allocator;

struct allocator_request {
	uint64_t length;      /* bytes, a multiple of unit, not 0 */
	uint64_t unit;        /* DMEMFS_PAGE_4K, _2M or _1G */
	uint64_t file_offset; /* where the memory begins in its file, a multiple of unit. Where a large page can fit,
	                       * file offset and address of a run are equal modulo 1 GiB, else modulo 2 MiB */
	uint64_t hint;        /* the address that would continue the file's last run, or ALLOCATOR_NO_HINT. Used as far
	                       * as the memory there is free, and the file loses no large page by it */
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
 * Takes req->length bytes, all or nothing, and appends the runs to @out (GArray of struct extent) in file order, as few and
 * as long as the free memory allows. Does not change the elements that @out already has, and merges no run with them. Uses
 * the first region that has enough for all, else one region after the other, in the order in which they were added.
 * Returns 0, -ENOSPC (nothing taken) or -EINVAL. -ENOSPC only when allocator_available() is less than req->length.
 */
int allocator_alloc(struct allocator *alloc, const struct allocator_request *req, GArray *out);

/*
 * Takes exactly [start, start + length): bytes, multiples of 4 KiB. The range may span adjacent regions.
 * Returns 0, -EBUSY (some of it is used; nothing taken) or -EINVAL (unaligned, empty, outside).
 */
int allocator_claim(struct allocator *alloc, uint64_t start, uint64_t length);

/*
 * Frees [start, start + length). This may be a part of a run, or span several runs and adjacent regions.
 * Returns 0 or -EINVAL (unaligned, empty, outside, or some of it is not used; nothing freed).
 */
int allocator_free(struct allocator *alloc, uint64_t start, uint64_t length);

/* The most bytes that a request with this @unit and @regions can get now. O(regions). */
uint64_t allocator_available(const struct allocator *alloc, uint64_t unit, uint64_t regions);

void allocator_get_stats(const struct allocator *alloc, struct allocator_stats *stats);

/*
 * Finds the first run of free memory in the addresses [@from, @to), multiples of 4 KiB, in the regions of the mask @regions.
 * @run ends where free memory, the region or the range ends. False: there is none. Takes O(regions), and the time to skip
 * the used memory before @run: usually that of its gigabytes, at worst that of its pages.
 */
bool allocator_next_free(const struct allocator *alloc, uint64_t regions, uint64_t from, uint64_t to,
                         struct extent *run);

#endif

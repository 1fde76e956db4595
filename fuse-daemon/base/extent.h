/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A run of reserved memory. The pool gives runs, files own them, backends map them. */
#ifndef DMEMFS_EXTENT_H
#define DMEMFS_EXTENT_H

#include <glib.h>
#include <stdint.h>

#define DMEMFS_PAGE_4K (UINT64_C(1) << 12)
#define DMEMFS_PAGE_2M (UINT64_C(1) << 21)
#define DMEMFS_PAGE_1G (UINT64_C(1) << 30)

/* Bytes; both are multiples of the allocation unit of the file that owns the run. */
struct extent {
	uint64_t start; /* physical address; on the memory backend a number that the daemon made up */
	uint64_t length;
};

#define DMEMFS_MAX_REGIONS 64

/* One contiguous range of reserved memory, all on one NUMA node, and with one size of compound pages. */
struct memory_region {
	uint64_t start; /* bytes, as in struct extent */
	uint64_t length;
	int node;       /* -1: unknown */
	unsigned order; /* of its compound pages: page_order.h */
};

/* An empty GArray of struct extent; the caller frees it. */
static inline GArray *extents_new(void)
{
	return g_array_new(FALSE, FALSE, sizeof(struct extent));
}

/* Compares by address (GCompareFunc): struct extent, and structs that begin with one. */
gint extents_compare(gconstpointer a, gconstpointer b);

/* What is in both; the length is 0 if there is nothing. */
struct extent extent_overlap(const struct extent *a, const struct extent *b);

/* The sum of the lengths of a GArray of struct extent, in bytes. */
uint64_t extents_bytes(const GArray *extents);

/* Sorts a GArray of struct extent by address, and merges extents that touch or overlap. */
void extents_merge(GArray *extents);

#endif

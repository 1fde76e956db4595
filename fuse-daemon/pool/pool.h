/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The pool: owner of all memory that is in no live file, and of the decision which memory a file gets.
 *
 * A run of memory is, at any time, in exactly one of four places:
 *   free      in the allocator
 *   in use    in the extent map of one live file (file.c)
 *   pending   retired by a removed file whose last users the backend still waits for
 *   poisoned  bad, and nobody's any more
 * so that free + in use + pending + poisoned = capacity, always. What goes bad while it is in use or pending leaves the pool
 * when it is given back. One lock, a leaf: nothing else is taken under it.
 *
 * Some memory is promised: files with demand allocation will ask for it when they are touched. What is in use, pending or
 * promised is at most overcommit times the capacity for those files, and at most the capacity for memory that is taken
 * without a promise, unless overcommit allows more. With an overcommit of 1 or less, no promise is broken but by the shape
 * of what is free (units, nodes).
 *
 * A removed file's memory comes back a moment later than rm returns (the kernel's FORGET, then the backend's idle event).
 * So that "rm big; create big" works, a shortage waits up to POOL_PATIENCE_MS after the latest removal for
 * memory to come back before it is ENOSPC; with no recent removal it is ENOSPC at once.
 */
#ifndef DMEMFS_POOL_H
#define DMEMFS_POOL_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/extent.h"
#include "pool/allocator.h"
#include "pool/numa_policy.h"

#define POOL_PATIENCE_MS 1000

struct pool;

struct pool_usage {
	uint64_t capacity; /* bytes */
	uint64_t free;
	uint64_t allocated; /* some file's: what is in none of free, pending, and poisoned */
	uint64_t pending;
	uint64_t promised;
	uint64_t free_2m; /* bytes free in whole, aligned 2 MiB blocks */
	uint64_t free_1g; /* bytes free in whole, aligned 1 GiB chunks */
	uint64_t clean;   /* of the free bytes; pool_clean.h */
	uint64_t dirty;
	uint64_t zeroing;
	uint64_t poisoned;      /* nobody's */
	uint64_t poisoned_used; /* still in use or pending */
};

struct pool_region {
	struct extent extent;
	int node;      /* NUMA node, -1 unknown */
	uint64_t free; /* bytes */
};

/*
 * @regions: GArray of struct memory_region. At most @max_waiting callers wait at a time (so that the threads which
 * bring the memory back are never all taken by those who wait for it). NULL and @error when regions are malformed.
 */
struct pool *pool_new(const GArray *regions, unsigned max_waiting, GError **error);
void pool_destroy(struct pool *pool);

/*
 * As allocator_alloc(), from the regions that @policy allows; NULL: from any. @out: GArray of struct extent, appended to.
 * The memory may be dirty: zeroer_clean() before anybody can read it.
 */
int pool_alloc(struct pool *pool, const struct numa_policy *policy, const struct allocator_request *request,
               GArray *out);
/* Before the first allocation; 1 unless set. */
void pool_set_overcommit(struct pool *pool, double factor);
/* @bytes more are promised, or -ENOSPC. Waits as pool_alloc() does. */
int pool_promise(struct pool *pool, uint64_t bytes);
/* Whatever the limit: files on record have their promises. */
void pool_restore_promise(struct pool *pool, uint64_t bytes);
/* @bytes are no longer promised. */
void pool_forgo(struct pool *pool, uint64_t bytes);
/* As pool_alloc(), of memory that is promised: it is not any more. @local: as numa_policy_alloc(). */
int pool_alloc_promised(struct pool *pool, const struct numa_policy *policy, int local,
                        const struct allocator_request *request, GArray *out);
/* As pool_free(), and all of it is promised again. */
void pool_free_promised(struct pool *pool, const struct extent *runs, guint count);
/* What pool_alloc() could hand out in units of @unit right now, in bytes. */
uint64_t pool_available(struct pool *pool, const struct numa_policy *policy, uint64_t unit);
/* Does every node that the policy names have a region? */
bool pool_has_nodes(struct pool *pool, const struct numa_policy *policy);
/* Adds the bytes of @run on each region to @bytes, by the order of pool_get_regions(). */
void pool_add_bytes(struct pool *pool, struct extent run, uint64_t bytes[DMEMFS_MAX_REGIONS]);
/* Memory that no mapping reaches goes back to the free runs, dirty. */
void pool_free(struct pool *pool, const struct extent *runs, guint count);

/* A file lost its last name: its memory may come back soon. */
void pool_expect(struct pool *pool);
/* The memory of the removed file @id is pending until pool_idle(@id). Takes ownership of @runs. */
void pool_retire(struct pool *pool, uint64_t id, GArray *runs);
/* Before the first allocation: @run is in use by a file on record. False: no region has it, or it is in use already. */
bool pool_claim(struct pool *pool, struct extent run);
/*
 * Before the first allocation: @run belongs to @id, a file of an earlier daemon that somebody still maps, and is pending
 * until pool_idle(@id). A run that no region has is none of this pool's.
 */
void pool_adopt(struct pool *pool, uint64_t id, struct extent run);
/* Nobody can reach the memory of @id any more. Unknown ids are ignored. */
void pool_idle(struct pool *pool, uint64_t id);

/*
 * Multiples of 4 KiB went bad, and are given to nobody from now on. Appends what of @run lies in a region and was not known to
 * be bad to @added.
 */
void pool_poison(struct pool *pool, struct extent run, GArray *added);
/* Appends what of @run, which lies in the regions, is known to be bad. */
void pool_list_poisoned(struct pool *pool, struct extent run, GArray *out);

void pool_get_usage(struct pool *pool, struct pool_usage *usage);
/* GArray of struct pool_region, in the order of pool_new(). */
GArray *pool_get_regions(struct pool *pool);

#endif

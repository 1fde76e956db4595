/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The pool owns all memory that belongs to no live file, and decides which memory a file gets. It has one lock, a leaf: no
 * other lock is taken under it. All functions take it.
 *
 * Each byte is in exactly one of six states, so that free + in use + pending + pinned + poisoned + lent = capacity:
 *   free      the allocator has it
 *   in use    it is in the extent map of one live file (file.c)
 *   pending   its file was removed, and the backend has not yet reported that the memory is unused
 *   pinned    it belongs to no file, but a device still holds it (pool_pins.h)
 *   poisoned  it went bad, and belongs to no file
 *   lent      it belongs to no file, and the host's kernel uses it until a file needs it (pool_lent.h)
 * Memory that goes bad while it is in use, pending, pinned or lent becomes poisoned when it is freed.
 *
 * Memory is promised to files with demand allocation, which take it when they are touched. The sum of all promises and all
 * memory that is not free is limited: a promise may raise it to overcommit times the capacity; an allocation without a
 * promise may raise it to the capacity, or to overcommit times the capacity if that is more. With an overcommit of 1 or
 * less, promised memory can always be had, unless what is free does not fit the file's unit or nodes.
 *
 * Regions have compound pages of different sizes, or none (page_order.h). A file takes all its memory from regions of one kind;
 * it names them by a mask, pool_regions_of(). Promises are counted for each kind, and each kind has its own limit.
 *
 * The memory of a removed file becomes free a moment after rm returns: when the kernel has sent FORGET, and the backend has
 * reported the file's object as idle. So that "rm big; create big" works, a request for which there is not enough memory
 * waits for that, up to POOL_PATIENCE_MS after the latest removal. If lent memory would be enough for it, it waits until that
 * is taken back. Otherwise it fails with ENOSPC at once.
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
	uint64_t allocated; /* in use: the rest of the capacity */
	uint64_t pending;
	uint64_t promised;
	uint64_t free_2m; /* free bytes in whole, aligned 2 MiB blocks */
	uint64_t free_1g; /* free bytes in whole, aligned 1 GiB chunks */
	uint64_t clean;   /* clean, dirty and zeroing add up to free: pool_clean.h */
	uint64_t dirty;
	uint64_t zeroing;
	uint64_t poisoned;      /* bad bytes that belong to no file */
	uint64_t poisoned_used; /* bad bytes that are in use, pending, pinned or lent */
	uint64_t pinned;
	uint64_t pinned_former; /* pinned in regions of an earlier configuration: no part of the capacity */
	uint64_t lent;
};

struct pool_region {
	struct extent extent;
	int node;       /* NUMA node; -1: unknown */
	unsigned order; /* of its compound pages */
	uint64_t free;  /* bytes */
	uint64_t lent;  /* bytes */
};

/*
 * @regions: GArray of struct memory_region, which is copied. At most @max_waiting requests wait for memory at a time, without those in
 * pool_await(): other threads must be left to process what frees it. NULL and @error when regions are malformed or overlap.
 */
struct pool *pool_new(const GArray *regions, unsigned max_waiting, GError **error);
void pool_destroy(struct pool *pool);

/* The mask of the regions whose compound pages have this order, as in struct allocator_request; 0: there are none. */
uint64_t pool_regions_of(const struct pool *pool, unsigned order);
/* The bytes of the regions in the mask. */
uint64_t pool_capacity(const struct pool *pool, uint64_t regions);
/* The largest order of any region: the default of files. */
unsigned pool_largest_order(const struct pool *pool);
/* The order of the region that @address lies in; PAGE_ORDER_NONE when it lies in none. */
unsigned pool_order_at(const struct pool *pool, uint64_t address);

/*
 * As allocator_alloc(), from those of the request's regions that @policy allows (NULL: all). May wait; -EINTR when the current
 * request was interrupted, -ERESTART when it is left to the next daemon (pool_close_lending()). Appends to @out (GArray of struct
 * extent). The memory may be dirty: the caller calls zeroer_clean() before any process can read it.
 */
int pool_alloc(struct pool *pool, const struct numa_policy *policy, const struct allocator_request *request,
               GArray *out);
/* The factor of the capacity that may be promised; the default is 1. To be called before the first allocation. */
void pool_set_overcommit(struct pool *pool, double factor);
/*
 * Promises @bytes more of @regions, which are of one kind. 0, or -ENOSPC, -EINTR or -ERESTART. @waits: may wait as pool_alloc()
 * does.
 */
int pool_promise(struct pool *pool, uint64_t regions, uint64_t bytes, bool waits);
/* Promises @bytes more regardless of the limit: for files on record, which have their promises already. */
void pool_restore_promise(struct pool *pool, uint64_t regions, uint64_t bytes);
/* Takes back the promise of @bytes. */
void pool_forgo(struct pool *pool, uint64_t regions, uint64_t bytes);
/*
 * As pool_alloc(), for promised memory: reduces the promise by as much. @local: as in numa_policy_alloc(). @waits: may wait for more
 * memory.
 */
int pool_alloc_promised(struct pool *pool, const struct numa_policy *policy, int local,
                        const struct allocator_request *request, bool waits, GArray *out);
/* A request that waits for memory in steps; 0 at first. */
struct pool_wait {
	gint64 since; /* when it asked for lent memory first: monotonic time, us */
	bool refused; /* no lent memory can be had for it */
};

/*
 * Waits briefly for @bytes of @regions, as pool_alloc() would, so that the caller can let go of its locks and serve others meanwhile.
 * 0: try again, with the same @wait. -ENOSPC: none will come, or none has come for too long. -ERESTART: as pool_alloc().
 */
int pool_await(struct pool *pool, uint64_t regions, uint64_t bytes, struct pool_wait *wait);
/* As pool_free(), and promises as much memory again. */
void pool_free_promised(struct pool *pool, const struct extent *runs, guint count);
/* The bytes of @regions that pool_alloc() could give in units of @unit, now or after it has waited for lent memory. */
uint64_t pool_available(struct pool *pool, const struct numa_policy *policy, uint64_t regions, uint64_t unit);
/* Those of @regions that @policy allows; NULL: all. */
uint64_t pool_regions_allowed(const struct pool *pool, const struct numa_policy *policy, uint64_t regions);
/* Does every node that the policy names have a region? */
bool pool_has_nodes(struct pool *pool, const struct numa_policy *policy);
/* Adds to @bytes[i] the bytes of @run in region i, in the order of pool_get_regions(). */
void pool_add_bytes(struct pool *pool, struct extent run, uint64_t bytes[DMEMFS_MAX_REGIONS]);
/* Frees memory, which is dirty from then on. No process may have it mapped. */
void pool_free(struct pool *pool, const struct extent *runs, guint count);

/* A file lost its last name: requests may wait for its memory, POOL_PATIENCE_MS from now. */
void pool_expect(struct pool *pool);
/* Makes the memory of the removed file @id pending until pool_idle(@id). Takes ownership of @runs. */
void pool_retire(struct pool *pool, uint64_t id, GArray *runs);
/* Marks @run, of a file on record, as in use. Before the first allocation. False: it is in no region, or in use already. */
bool pool_claim(struct pool *pool, struct extent run);
/*
 * Makes @run pending until pool_idle(@id): it belongs to the removed file @id of an earlier daemon, which processes still
 * map. Ignores a run that is in no region. Before the first allocation.
 */
void pool_adopt(struct pool *pool, uint64_t id, struct extent run);
/* Frees the pending memory of the removed file @id: no process maps it any more. Ignores unknown ids. */
void pool_idle(struct pool *pool, uint64_t id);

/*
 * Records that @run (multiples of 4 KiB) went bad: the pool does not give it out any more. Appends to @added the parts of it
 * that are in a region and were not known to be bad.
 */
void pool_poison(struct pool *pool, struct extent run, GArray *added);
/* Appends to @out the parts of @run that are known to be bad. @run is inside the regions. */
void pool_list_poisoned(struct pool *pool, struct extent run, GArray *out);

void pool_get_usage(struct pool *pool, struct pool_usage *usage);
/* GArray of struct pool_region, in the order of pool_new(); the caller frees it. */
GArray *pool_get_regions(struct pool *pool);

#endif

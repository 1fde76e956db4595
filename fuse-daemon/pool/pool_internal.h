/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What pool.c and pool_clean.c share. Internal to them; functions are called under the lock. */
#ifndef DMEMFS_POOL_INTERNAL_H
#define DMEMFS_POOL_INTERNAL_H

#include "pool/numa_policy_alloc.h"
#include "pool/pool.h"
#include "pool/pool_clean.h"

struct pool {
	GArray *regions;     /* struct memory_region, by their index in the allocator; never changes */
	struct node_map map; /* the same, never changes */
	GMutex lock;
	GCond returned;              /* memory went back to the free runs, or a piece was zeroed */
	GCond work;                  /* there is something to zero, or no zeroing any more */
	struct allocator *allocator; /* under lock, as all that follows */
	struct allocator *clean;     /* extent_set.h: free, and zero; NULL: all memory that is free is zero */
	struct allocator *stale;     /* taken, and not zero; NULL as clean */
	struct allocator *poisoned;  /* extent_set.h: what is known to be bad, whoever has it */
	struct allocator *retired;   /* those of them that nobody has; taken, as far as the allocator knows */
	GPtrArray *pieces;           /* struct pool_piece *: being zeroed */
	bool stopped;                /* no more of them */
	GHashTable *pending;         /* id (owned guint64) -> GArray of struct extent */
	uint64_t pending_bytes;
	uint64_t promised;
	double overcommit;
	gint64 patience_until; /* monotonic time, us */
	unsigned waiting;
	unsigned max_waiting;
};

/*
 * As numa_policy_alloc(). Clean memory where that costs neither the pool nor the file a large page, and no node its share; what is not
 * clean becomes stale.
 */
int clean_alloc(struct pool *pool, const struct numa_policy *policy, int local, const struct allocator_request *request,
                GArray *out);
/* Waits, without the lock, until nobody zeroes anything of @runs from index @first on, which are taken. */
void clean_wait(struct pool *pool, const GArray *runs, guint first);
/* @runs go back to the free memory; @unused: no file had them, so that what was clean still is. */
void clean_note_freed(struct pool *pool, const struct extent *runs, guint count, bool unused);
void clean_get_usage(struct pool *pool, struct pool_usage *usage);

/* A set over the pool's regions that is empty. */
struct allocator *pool_new_set(const struct pool *pool);
/* As allocator_claim(), of memory that may be bad: true when all of it was free, or retired. */
bool poison_claim(struct pool *pool, struct extent run);
/* @run is given back: what of it is bad is retired, the rest appended to @good. */
void poison_retire(struct pool *pool, struct extent run, GArray *good);

#endif

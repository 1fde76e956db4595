/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared by pool*.c, and internal to them. The caller of a function holds the pool's lock. */
#ifndef DMEMFS_POOL_INTERNAL_H
#define DMEMFS_POOL_INTERNAL_H

#include "base/page_order.h"
#include "pool/lend_policy.h"
#include "pool/numa_policy_alloc.h"
#include "pool/pool.h"
#include "pool/pool_clean.h"
#include "pool/pool_lent.h"
#include "pool/pool_pins.h"

/* Whether there is a lender: not yet, or no more. */
enum pool_lending_state { POOL_LENDING_NONE, POOL_LENDING_OPEN, POOL_LENDING_CLOSED };

/* A request that lacks memory, while it waits (pool_wait.c). */
struct pool_recall {
	struct lend_recall recall; /* .since is 0 until it asks for lent memory */
	uint64_t lacking;          /* bytes; what was taken back since it looked last is subtracted */
	bool refused;              /* no lent memory can be had for it */
	bool left;                 /* it is left to the next daemon */
	bool brief;                /* pool_await() */
};

struct pool {
	GArray *regions;     /* struct memory_region, by index in the allocator; never changes */
	struct node_map map; /* the nodes of the regions; never changes */
	uint64_t kinds
		[PAGE_ORDER_KINDS]; /* masks of the regions of each kind, by order / PAGE_ORDER_STEP; never change */
	GMutex lock;
	GCond returned;              /* signalled when memory was freed, or a piece was ended */
	GCond work;                  /* signalled when there is memory to zero, or zeroing was stopped */
	struct allocator *allocator; /* this and all that follows: under lock */
	struct allocator *clean;     /* extent_set.h: free memory that is zero; NULL: all free memory is */
	struct allocator *stale;     /* extent_set.h: taken memory that is not zero; NULL when clean is NULL */
	struct allocator *poisoned;  /* extent_set.h: all memory that is known to be bad, in every state */
	struct allocator *retired; /* extent_set.h: bad memory that belongs to no file; the allocator has it as used */
	GPtrArray *pieces;         /* struct pool_piece *: being zeroed */
	bool stopped;              /* pool_stop_zeroing() was called */
	GHashTable *pending;       /* id (owned guint64) -> GArray of struct extent */
	uint64_t pending_bytes;
	GHashTable *last_users; /* id (owned guint64) -> struct pool_user: the files of pending memory, if known */
	GSequence *pins;        /* struct pool_pin, owned, by address */
	GHashTable *
		pinned_of; /* inode number (owned guint64; 0: unknown) -> owned guint64: pinned bytes that the file had */
	uint64_t pinned_bytes;
	struct allocator *lent; /* extent_set.h: memory that is lent; the allocator has it as used */
	GArray *units;          /* struct lend_unit, by address; empty: nothing can be lent */
	GPtrArray *recalls;     /* struct pool_recall *: requests that wait for lent memory, the oldest first */
	GCond recalled;         /* signalled when there is one more, or lending ends */
	enum pool_lending_state lending;
	gint64 take_patience;                /* us */
	gint64 last_taken;                   /* when memory was taken back last: monotonic time, us */
	gint64 taking_since;                 /* monotonic time, us */
	struct pool_lending lending_counts;  /* of what cannot be counted in @units */
	GArray *former_pins;                 /* struct pool_pin, by address: in no region */
	uint64_t promised[PAGE_ORDER_KINDS]; /* bytes of each kind */
	double overcommit;
	gint64 patience_until; /* monotonic time, us */
	unsigned waiting;      /* requests, without those in pool_await() */
	unsigned max_waiting;
};

/*
 * As numa_policy_alloc(), but prefers clean memory where that costs neither the pool nor the file a large page, and changes no
 * node's share. Taken memory that is not clean becomes stale.
 */
int clean_alloc(struct pool *pool, const struct numa_policy *policy, int local, const struct allocator_request *request,
                GArray *out);
/* Waits until no piece in work overlaps @runs from index @first on, which are taken. Releases the lock meanwhile. */
void clean_wait(struct pool *pool, const GArray *runs, guint first);
/* To be called when @runs are freed. @unused: no file had them, so that parts that were clean still are. */
void clean_note_freed(struct pool *pool, const struct extent *runs, guint count, bool unused);
void clean_get_usage(struct pool *pool, struct pool_usage *usage);

/*
 * Waits for memory, of which the request lacks @lacking bytes. True: try again. False: none will come back, or it takes too long, or
 * the request was interrupted or is left to the next daemon. Releases the lock meanwhile.
 */
bool wait_for_memory(struct pool *pool, struct pool_recall *request, uint64_t lacking);
/* Ends what the first call began. Returns the error of a request for which there is no memory: -ENOSPC, -EINTR, -ERESTART. */
int wait_end(struct pool *pool, struct pool_recall *request);

/* The first unit that ends behind @address; NULL: there is none. */
struct lend_unit *units_find(const struct pool *pool, uint64_t address);
/* Calls @visit for each unit that has memory of @run. */
void units_visit(const struct pool *pool, struct extent run, void (*visit)(struct lend_unit *unit, void *data),
                 void *data);
/* Memory was freed: its units have not been idle for long. */
void units_note_freed(const struct pool *pool, struct extent run);

/* The pending runs of @id; makes an empty array if there is none. */
GArray *pool_pending_runs(struct pool *pool, uint64_t id);
/* As pool_free(); @unused: as pool_free_unused(). */
void pool_free_locked(struct pool *pool, const struct extent *runs, guint count, bool unused);
/* An empty set (extent_set.h) over the pool's regions; the caller frees it. */
struct allocator *pool_new_set(const struct pool *pool);
/* As allocator_claim(), for memory that may be bad. True when all of it was free or retired. */
bool poison_claim(struct pool *pool, struct extent run);
/* To be called when @run is freed: retires its bad parts, and appends the rest to @good. */
void poison_retire(struct pool *pool, struct extent run, GArray *good);

#endif

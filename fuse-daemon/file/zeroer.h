/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The zeroer zeroes dirty memory, so that no file gets memory with bytes of a former owner.
 *
 * In advance: for each NUMA node with regions there is a worker thread, bound to that node's CPUs. It takes piece after piece of
 * dirty free memory (pool_clean.h), and zeroes it by the backend, at idle priority and with no lock held. The memory is
 * clean then. The worker records several pieces at once, some time later. When that record is lost, the memory is only
 * zeroed again. recover.c decides whether a new daemon relies on the record.
 *
 * In need: a request whose file was given dirty memory zeroes it, together with a few helper threads, at normal priority, the
 * longest runs first.
 *
 * Locks: the zeroer's lock is a leaf. A worker writes the record under the store's lock, and asks the pool under it which memory
 * is still clean. A file that takes some of it after that also commits after that, and so corrects the record.
 */
#ifndef DMEMFS_ZEROER_H
#define DMEMFS_ZEROER_H

#include "file/file.h"

/* Bytes that a thread zeroes at a time. This takes about 10 ms, and a thread that waits for a piece waits as long. */
#define ZEROER_PIECE (UINT64_C(64) << 20)

struct zeroer_stats {
	uint64_t zeroed;  /* bytes since the start, in advance and in need */
	uint64_t rate;    /* bytes per second in the last period; 0: there was nothing to do */
	unsigned workers; /* threads that zero in advance */
};

/* A zeroer that zeroes in need only, until zeroer_start(). @storage must live longer. */
struct zeroer *zeroer_new(const struct storage *storage);
/* Starts a worker for each node, which zeroes at most @max_rate bytes per second; 0: no limit. */
void zeroer_start(struct zeroer *zeroer, uint64_t max_rate);
/* Ends the workers after their present pieces, and waits for them. Their clean memory is on record then. */
void zeroer_stop(struct zeroer *zeroer);
/* To be called after zeroer_stop(). @zeroer may be NULL. */
void zeroer_destroy(struct zeroer *zeroer);

/*
 * Zeroes the stale parts of @runs, which were taken from the pool. 0, the backend's error, or -EINTR (current_request.h). After
 * an error, parts of them are still stale.
 */
int zeroer_clean(struct zeroer *zeroer, const struct extent *runs, guint count);

void zeroer_get_stats(struct zeroer *zeroer, struct zeroer_stats *stats);

#endif

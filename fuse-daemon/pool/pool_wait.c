// SPDX-License-Identifier: GPL-2.0-or-later
/* Requests that wait for memory: that of removed files, which comes back by itself, or lent memory, which is taken back for them. */
#include <errno.h>

#include "base/current_request.h"
#include "pool/pool_internal.h"

/* How often current_request.h hears at least of a request that waits, so that it does not seem to hang. */
#define WAIT_PERIOD G_TIME_SPAN_SECOND
/* How long pool_await() waits. */
#define BRIEF_PERIOD (50 * G_TIME_SPAN_MILLISECOND)

/* Asks for lent memory of the request's regions. Returns when to give up; 0: lent memory does not help. */
static gint64 recall(struct pool *pool, struct pool_recall *request, uint64_t lacking)
{
	if (pool->lending == POOL_LENDING_NONE || request->refused ||
	    allocator_available(pool->lent, DMEMFS_PAGE_4K, request->recall.regions) < lacking)
		return 0;
	request->left = pool->lending == POOL_LENDING_CLOSED;
	if (request->left)
		return 0;
	if (!request->recall.since)
		request->recall.since = g_get_monotonic_time();
	if (!g_ptr_array_find(pool->recalls, request, NULL))
		g_ptr_array_add(pool->recalls, request);
	request->lacking = lacking;
	g_cond_signal(&pool->recalled);
	return MAX(request->recall.since, pool->last_taken) + pool->take_patience;
}

bool wait_for_memory(struct pool *pool, struct pool_recall *request, uint64_t lacking)
{
	gint64 until;

	/* Not too many threads may wait: some must bring memory back. */
	if ((!request->brief && pool->waiting >= pool->max_waiting) || current_request_is_interrupted())
		return false;
	until = MAX(pool->patience_until, recall(pool, request, lacking));
	if (request->left || g_get_monotonic_time() >= until)
		return false;
	until = MIN(until, g_get_monotonic_time() + (request->brief ? BRIEF_PERIOD : WAIT_PERIOD));
	pool->waiting += !request->brief;
	g_cond_wait_until(&pool->returned, &pool->lock, current_request_look_again(until));
	g_mutex_unlock(&pool->lock);
	current_request_check_interrupt();
	g_mutex_lock(&pool->lock);
	pool->waiting -= !request->brief;
	return true;
}

int wait_end(struct pool *pool, struct pool_recall *request)
{
	g_ptr_array_remove(pool->recalls, request);
	if (request->left)
		return -ERESTART;
	return current_request_is_interrupted() ? -EINTR : -ENOSPC;
}

int pool_await(struct pool *pool, uint64_t regions, uint64_t bytes, struct pool_wait *wait)
{
	struct pool_recall request = { .recall = { .regions = regions, .since = wait->since },
		                       .refused = wait->refused,
		                       .brief = true };
	bool again;
	int err;

	g_mutex_lock(&pool->lock);
	again = wait_for_memory(pool, &request, bytes);
	err = wait_end(pool, &request);
	g_mutex_unlock(&pool->lock);
	*wait = (struct pool_wait){ .since = request.recall.since, .refused = request.refused };
	return again ? 0 : err;
}

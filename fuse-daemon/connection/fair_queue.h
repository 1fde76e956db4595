/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who is served when the threads are fewer than the requests: users take turns, so that nobody who has many requests, or
 * such as take long, keeps the others waiting. Pure: no I/O.
 *
 * Of the threads one user has half at most, and all users but root one less than there are. What comes beyond that waits
 * here, in a queue of its user; who has waited longest is next. Root is always served at once, as is what the kernel says
 * on its own (session.c knows which requests those are).
 *
 * What waits has one limit, FAIR_QUEUE_WAITING_MAX, for all users together, and of that each may fill as much as is still free
 * ("Dynamic queue length thresholds for shared-memory packet switches", Choudhury and Hahne 1998): one user alone gets
 * half of it, two get a third each, and a newcomer finds room for a small request unless many hundred users fill theirs. A
 * request past that is refused: not to read it, so that it waits in the kernel, would have root's requests wait behind it, for
 * there is one queue for all.
 *
 * One lock, a leaf. Invariant under it: no request waits that may be served.
 */
#ifndef DMEMFS_FAIR_QUEUE_H
#define DMEMFS_FAIR_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* In bytes. The half of it that one user alone gets: 500 writes of the largest size, or a request of each of 100,000 threads. */
#define FAIR_QUEUE_WAITING_MAX (128UL * 1024 * 1024)

struct fair_queue;

enum turn { TURN_NOW, TURN_LATER, TURN_REFUSED };

/* A request that has waited. */
struct fair_queue_request {
	uid_t uid;
	size_t size;
	char data[];
};

struct fair_queue *fair_queue_new(unsigned threads);
/* With what waits. NULL is fine. */
void fair_queue_destroy(struct fair_queue *queue);
/* NOW: to be served by the caller, fair_queue_end() follows. LATER: a copy waits. REFUSED: too much waits. */
enum turn fair_queue_begin(struct fair_queue *queue, uid_t uid, const void *request, size_t size);
/* A request of @uid was served. What the caller is to serve next, for g_free(), fair_queue_end() follows; NULL: nothing. */
struct fair_queue_request *fair_queue_end(struct fair_queue *queue, uid_t uid);

#endif

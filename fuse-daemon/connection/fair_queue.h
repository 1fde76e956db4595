/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which request is served next when there are more requests than threads. Users take turns, so that a user with many or
 * slow requests does not keep other users waiting. No I/O.
 *
 * One user occupies at most half of the threads, and all users but root together at most all threads but one. Further
 * requests wait here, in a queue for each user; the user that has waited longest is next. Root's requests are always
 * served at once, and so are requests that the kernel makes on its own (session.c knows which ones).
 *
 * FAIR_QUEUE_WAITING_MAX limits the memory of all waiting requests together. One user may fill as much of it as is
 * still free ("Dynamic queue length thresholds for shared-memory packet switches", Choudhury and Hahne 1998): one
 * user alone gets half of it, two users get a third each, and a new user finds room for a small request unless many
 * hundred users fill their parts. A request above the limit is refused. It cannot be left in the kernel instead,
 * because the kernel has one queue for all users: root's requests would wait behind it.
 *
 * One lock, a leaf. Invariant under it: no request waits that may be served.
 */
#ifndef DMEMFS_FAIR_QUEUE_H
#define DMEMFS_FAIR_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* In bytes. The half that one user alone gets holds 500 writes of the largest size, or 100,000 small requests. */
#define FAIR_QUEUE_WAITING_MAX (128UL * 1024 * 1024)

struct fair_queue;

enum turn { TURN_NOW, TURN_LATER, TURN_REFUSED };

/* A request that waits or has waited: @data is what the kernel sent, @size bytes. */
struct fair_queue_request {
	uid_t uid;
	size_t size;
	char data[];
};

struct fair_queue *fair_queue_new(unsigned threads);
/* Also frees the requests that wait. NULL is fine. */
void fair_queue_destroy(struct fair_queue *queue);
/*
 * TURN_NOW: the caller serves the request, then calls fair_queue_end(). TURN_LATER: the queue keeps a copy; a later
 * fair_queue_end() returns it. TURN_REFUSED: too many requests wait. Thread-safe.
 */
enum turn fair_queue_begin(struct fair_queue *queue, uid_t uid, const void *request, size_t size);
/*
 * The caller has served a request of @uid. Returns the request that the caller serves next, owned by the caller, who
 * then calls fair_queue_end() again; NULL: none. Thread-safe.
 */
struct fair_queue_request *fair_queue_end(struct fair_queue *queue, uid_t uid);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The request loop: each thread reads a FUSE request, lets libfuse process it, which replies, and reads on.
 *
 * libfuse has loops of its own, but they hide what a takeover must know: the INIT request as the kernel sent it, the
 * number of each request, whether an earlier daemon had taken it already (current_request.h), and when the last of those was
 * answered.
 *
 * Users take turns at the threads (fair_queue.h).
 *
 * Buffers are in memory before they are read into, and stay there: a fault on one would have the kernel, when it finds
 * SIGKILL pending, fail the client's request with EIO rather than leave it to the next daemon.
 */
#ifndef DMEMFS_SESSION_H
#define DMEMFS_SESSION_H

#include <fuse_lowlevel.h>
#include <stdbool.h>
#include <stdint.h>

/* The largest request: what WRITE carries at most (FUSE's max_write), and its headers. */
#define SESSION_MAX_WRITE (128 * 1024)

struct session;

/* Called on the serving threads, with @data of session_start(). */
struct session_events {
	/* The kernel's first request, before it is answered; nothing else comes meanwhile. */
	void (*init)(const void *request, size_t size, void *data);
	/* It was answered: so will be what comes now. */
	void (*began)(void *data);
	/* Once: all requests that come again after a takeover were answered. */
	void (*replayed)(void *data);
	/* Once: no thread reads requests any more. */
	void (*ended)(void *data);
};

/* Lets libfuse answer the INIT request of @size bytes once more, for a connection that an earlier daemon began. */
void session_feed_init(struct fuse_session *fuse, const void *request, size_t size);

/*
 * @threads of them serve @fuse, which is mounted. @takeover: requests will come again (FUSE_NOTIFY_RESEND was written),
 * and come first.
 */
struct session *session_start(struct fuse_session *fuse, unsigned threads, bool takeover,
                              const struct session_events *events, void *data);
/* Each thread answers its request at hand, then ends. On the thread of the main loop, which must go on until the end. */
void session_stop(struct session *session);
/* Has anything gone on within the last @limit us (hang_detector.h)? To be asked several times in that time, by one thread. */
bool session_is_alive(struct session *session, int64_t limit);
/* How many requests threads are at, and for how long the oldest has been worked on, in us. Any thread may ask. */
unsigned session_load(struct session *session, int64_t *oldest);
/* After the end: 0, or the negative errno that ended it; frees. */
int session_finish(struct session *session);

#endif

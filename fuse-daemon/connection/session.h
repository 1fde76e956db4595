/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The request loop: each thread reads a FUSE request, lets libfuse process and answer it, then reads the next one.
 *
 * libfuse has loops of its own, but they hide what a takeover must know: the INIT request as the kernel sent it, the
 * number of each request, whether an earlier daemon had already read it (current_request.h), and when the last such
 * request was answered.
 *
 * When requests outnumber threads, users take turns (fair_queue.h). Requests are read into buffers whose pages stay in
 * memory (request_buffer.h).
 */
#ifndef DMEMFS_SESSION_H
#define DMEMFS_SESSION_H

#include <fuse_lowlevel.h>
#include <stdbool.h>
#include <stdint.h>

/* The largest data of a WRITE request in bytes (FUSE's max_write). No other request is larger. */
#define SESSION_MAX_WRITE (128 * 1024)

struct session;

/* Called on the serving threads, with @data of session_start(). */
struct session_events {
	/* INIT, the kernel's first request, was read and not answered yet. No other request comes before its answer. */
	void (*init)(const void *request, size_t size, void *data);
	/* INIT was answered: from now on requests are served. */
	void (*began)(void *data);
	/* Once, after a takeover: all requests that the kernel sent again were answered. */
	void (*replayed)(void *data);
	/* Once: no thread reads requests any more. */
	void (*ended)(void *data);
};

/*
 * Gives libfuse the INIT request of @size bytes again, for a connection that an earlier daemon began, so that libfuse
 * knows the terms of the connection. The kernel ignores the second answer.
 */
void session_feed_init(struct fuse_session *fuse, const void *request, size_t size);

/*
 * Starts @threads threads that serve @fuse, which is mounted. @takeover: the kernel was asked to send requests again
 * (FUSE_NOTIFY_RESEND); these come before all others. @events and @data must live until session_finish().
 */
struct session *session_start(struct fuse_session *fuse, unsigned threads, bool takeover,
                              const struct session_events *events, void *data);
/*
 * Each thread answers its current request, then ends. Call it on the main loop's thread; the loop must run until
 * @ended.
 */
void session_stop(struct session *session);
/* Did the threads make progress within the last @limit us? Call it several times per @limit, from one thread. */
bool session_is_alive(struct session *session, int64_t limit);
/*
 * Returns how many requests threads work on now. *@oldest: for how long the oldest has been worked on, in us.
 * Thread-safe.
 */
unsigned session_load(struct session *session, int64_t *oldest);
/* After @ended: waits for the threads and frees @session. Returns 0, or the negative errno that ended the serving. */
int session_finish(struct session *session);

#endif

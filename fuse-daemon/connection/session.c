// SPDX-License-Identifier: GPL-2.0-or-later
/* The request loop. */
#include "connection/session.h"

#include <errno.h>
#include <glib.h>
#include <linux/fuse.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/current_request.h"
#include "base/request_buffer.h"
#include "connection/fair_queue.h"
#include "connection/hang_detector.h"
#include "connection/request_count.h"
#include "connection/request_trace.h"

#ifndef FUSE_UNIQUE_RESEND /* <linux/fuse.h> of Linux 6.9 and later */
#define FUSE_UNIQUE_RESEND (UINT64_C(1) << 63)
#endif

/* libfuse's FUSE_BUFFER_HEADER_SIZE: a page for the headers. */
#define BUFFER_SIZE (SESSION_MAX_WRITE + 4096)

/* Interrupts read(2), so that a thread can end. */
#define WAKE_SIGNAL    SIGUSR1
#define WAKE_PERIOD_MS 5

struct worker {
	struct session *session;
	pthread_t thread;
	unsigned slot;
	int running;                       /* atomic */
	bool waits;                        /* the current request was sent again, and has begun to wait for memory */
	_Atomic int64_t since;             /* struct hang_detector_sample */
	_Atomic unsigned taken;            /* the same */
	_Atomic unsigned waits_for_memory; /* the same */
};

struct session {
	struct fuse_session *fuse;
	const struct session_events *events;
	void *data;
	struct worker *workers;
	struct fair_queue *queue;
	unsigned count;
	int running;                    /* atomic: threads that have not ended */
	int result;                     /* atomic: the first error */
	guint waker;                    /* source of the main loop */
	struct hang_detector *detector; /* used by the thread that calls session_is_alive() */

	/*
	 * After a takeover, until all resent requests were read: one thread reads at a time, and counts its request
	 * before the next thread reads. So no resent request is missed in the count.
	 */
	int replaying;    /* atomic */
	GMutex reading;   /* held while a request is read and counted; taken before @lock */
	GMutex lock;      /* guards the two below */
	unsigned at_work; /* resent requests that are neither answered nor wait for memory */
	bool all_read;    /* all resent requests were read */
};

static void do_nothing(int signal)
{
	(void)signal;
}

/*
 * The kernel has separate queues for FORGET and INTERRUPT: only these can be read before a resent request. An
 * INTERRUPT carries the number of the request that it interrupts, so the resend bit in it says nothing about the
 * INTERRUPT itself.
 */
static bool has_queue_of_its_own(const struct fuse_in_header *in)
{
	return in->opcode == FUSE_FORGET || in->opcode == FUSE_BATCH_FORGET || in->opcode == FUSE_INTERRUPT;
}

static bool is_resent(const struct fuse_in_header *in)
{
	return (in->unique & FUSE_UNIQUE_RESEND) && !has_queue_of_its_own(in);
}

/* All resent requests were read. The caller holds @reading. */
static void end_of_resent(struct session *session)
{
	bool replayed;

	g_mutex_lock(&session->lock);
	session->all_read = true;
	replayed = session->at_work == 0;
	g_atomic_int_set(&session->replaying, false);
	g_mutex_unlock(&session->lock);
	if (replayed)
		session->events->replayed(session->data);
}

static void count_read(struct session *session, const struct fuse_in_header *in)
{
	if (is_resent(in)) {
		g_mutex_lock(&session->lock);
		session->at_work++;
		g_mutex_unlock(&session->lock);
	} else if (!has_queue_of_its_own(in)) {
		end_of_resent(session);
	}
}

static void count_answered(struct session *session)
{
	bool replayed;

	g_mutex_lock(&session->lock);
	session->at_work--;
	replayed = session->all_read && session->at_work == 0;
	g_mutex_unlock(&session->lock);
	if (replayed)
		session->events->replayed(session->data);
}

static bool has_requests(const struct session *session)
{
	struct pollfd connection = { .fd = fuse_session_fd(session->fuse), .events = POLLIN };

	return poll(&connection, 1, 0) != 0;
}

/*
 * A resent request waits for memory, so it counts as answered. All resent requests were in the kernel's queue before
 * the first one was read; when the queue is empty, all of them were read.
 */
static gboolean on_waiting(gpointer data)
{
	struct session *session = data;

	/* The main loop must not wait for a thread in read(2): it tries again later. */
	if (!g_mutex_trylock(&session->reading))
		return G_SOURCE_CONTINUE;
	if (g_atomic_int_get(&session->replaying) && !has_requests(session))
		end_of_resent(session);
	g_mutex_unlock(&session->reading);
	count_answered(session);
	return G_SOURCE_REMOVE;
}

/*
 * A resent request may wait for the memory of a removed file that an earlier daemon left. That file is deleted only
 * when all resent requests are answered, so a waiting one counts as answered. The main loop does that, because this
 * thread holds locks.
 */
static void note_waiting(void *data)
{
	struct worker *worker = data;

	worker->waits = true;
	g_timeout_add(1, on_waiting, worker->session);
}

/* Reads one request. Returns its size, 0 when the session has ended, or a negative errno. */
static int read_request(const struct session *session, void *buffer)
{
	ssize_t got;

	for (;;) {
		if (fuse_session_exited(session->fuse))
			return 0;
		got = read(fuse_session_fd(session->fuse), buffer, BUFFER_SIZE);
		if (got >= (ssize_t)sizeof(struct fuse_in_header))
			return (int)got;
		if (got >= 0)
			return -EIO;
		if (errno == ENODEV) /* unmounted, or aborted by /sys/fs/fuse/connections */
			return 0;
		/* ENOENT: the request was interrupted before it was read. */
		if (errno != EINTR && errno != EAGAIN && errno != ENOENT)
			return -errno;
	}
}

static int receive(struct session *session, void *buffer)
{
	struct pollfd connection = { .fd = fuse_session_fd(session->fuse), .events = POLLIN };
	int got;

	while (g_atomic_int_get(&session->replaying)) {
		if (fuse_session_exited(session->fuse))
			return 0;
		poll(&connection, 1, -1);
		g_mutex_lock(&session->reading);
		/* Checked again under the lock: another thread may have read the last resent request. */
		if (g_atomic_int_get(&session->replaying) && has_requests(session)) {
			got = read_request(session, buffer);
			if (got > 0)
				count_read(session, buffer);
			g_mutex_unlock(&session->reading);
			return got;
		}
		g_mutex_unlock(&session->reading);
	}
	return read_request(session, buffer);
}

/*
 * Must this write clear set-user-id and set-group-id? For direct writes the kernel says so here; before any other
 * change of a file it clears them by SETATTR and REMOVEXATTR.
 */
static bool kills_set_id(const struct fuse_in_header *in, const void *request_data, size_t size)
{
	struct fuse_write_in write_in;

	if (in->opcode != FUSE_WRITE || size < sizeof(*in) + sizeof(write_in))
		return false;
	memcpy(&write_in, (const char *)request_data + sizeof(*in), sizeof(write_in));
	return write_in.write_flags & FUSE_WRITE_KILL_SUIDGID;
}

static void process(struct worker *worker, void *request_data, size_t size)
{
	const struct fuse_buf buffer = { .mem = request_data, .size = size };
	static const struct current_request none;
	struct session *session = worker->session;
	struct fuse_in_header in;

	memcpy(&in, request_data, sizeof(in));

	const struct current_request request = {
		.unique = in.unique & ~FUSE_UNIQUE_RESEND,
		.resent = is_resent(&in),
		.caller = (pid_t)in.pid,
		.kills_set_id = kills_set_id(&in, request_data, size),
		.slot = worker->slot,
	};

	if (in.opcode == FUSE_INIT)
		session->events->init(request_data, size, session->data);
	worker->taken++;
	worker->since = g_get_monotonic_time();
	current_request_set(&request);
	worker->waits = false;
	current_request_count_waits(&worker->waits_for_memory);
	if (request.resent)
		current_request_tell_wait(note_waiting, worker);
	fuse_session_process_buf(session->fuse, &buffer);
	request_trace(request_data, size, current_request_result(), g_get_monotonic_time() - worker->since);
	current_request_set(&none);
	if (in.opcode == FUSE_INIT)
		session->events->began(session->data);
	if (request.resent && !worker->waits)
		count_answered(session);
	request_count_add(in.opcode, g_get_monotonic_time() - worker->since);
	worker->since = 0;
}

/* Requests that the kernel makes on its own, in the name of any user. They must not wait, and take little time. */
static bool is_the_kernels(const struct fuse_in_header *in)
{
	return has_queue_of_its_own(in) || in->opcode == FUSE_RELEASE || in->opcode == FUSE_RELEASEDIR ||
	       in->opcode == FUSE_INIT || in->opcode == FUSE_DESTROY;
}

/*
 * The answer has the number as it was read: for a resent request the kernel's list has FUSE_UNIQUE_RESEND in it, too.
 */
static void refuse(struct session *session, const struct fuse_in_header *in, const void *request, size_t size)
{
	struct fuse_out_header out = { .len = sizeof(out), .error = -ENOMEM, .unique = in->unique };
	ssize_t written = write(fuse_session_fd(session->fuse), &out, sizeof(out));

	(void)written; /* it fails when the client no longer waits for the answer */
	request_trace(request, size, out.error, 0);
	if (is_resent(in))
		count_answered(session);
}

/* Serves a request if its user may be served now, then the waiting requests that fair_queue_end() returns. */
static void serve(struct worker *worker, void *request_data, size_t size)
{
	struct session *session = worker->session;
	struct fair_queue_request *next;
	struct fuse_in_header in;

	memcpy(&in, request_data, sizeof(in));

	uid_t uid = is_the_kernels(&in) ? 0 : in.uid;
	enum turn turn = fair_queue_begin(session->queue, uid, request_data, size);

	if (turn == TURN_REFUSED)
		refuse(session, &in, request_data, size);
	if (turn != TURN_NOW)
		return;
	process(worker, request_data, size);
	while ((next = fair_queue_end(session->queue, uid))) {
		/* When the session ends, waiting requests are left to the next daemon: the kernel sends them again. */
		if (!fuse_session_exited(session->fuse))
			process(worker, next->data, next->size);
		uid = next->uid;
		g_free(next);
	}
}

static gboolean stop(gpointer session)
{
	session_stop(session);
	return G_SOURCE_REMOVE;
}

static void *work(void *data)
{
	struct worker *worker = data;
	struct session *session = worker->session;
	struct request_buffer buffer;
	int got = -ENOMEM;

	if (request_buffer_init(&buffer, BUFFER_SIZE)) {
		while ((got = receive(session, buffer.data)) > 0)
			serve(worker, buffer.data, (size_t)got);
		request_buffer_clear(&buffer);
	}
	fuse_session_exit(session->fuse);
	if (got < 0 && g_atomic_int_compare_and_exchange(&session->result, 0, got))
		g_idle_add(stop, session); /* wakes the other threads, which wait for requests */
	g_atomic_int_set(&worker->running, false);
	if (g_atomic_int_dec_and_test(&session->running))
		session->events->ended(session->data);
	return NULL;
}

void session_feed_init(struct fuse_session *fuse, const void *request, size_t size)
{
	struct fuse_buf buffer = { .mem = g_memdup2(request, size), .size = size };

	/* The kernel already has an answer to INIT and ignores this one. */
	fuse_session_process_buf(fuse, &buffer);
	g_free(buffer.mem);
}

struct session *session_start(struct fuse_session *fuse, unsigned threads, bool takeover,
                              const struct session_events *events, void *data)
{
	struct session *session = g_new0(struct session, 1);
	const struct sigaction action = { .sa_handler = do_nothing }; /* no SA_RESTART: read(2) ends with EINTR */

	sigaction(WAKE_SIGNAL, &action, NULL);
	session->fuse = fuse;
	session->events = events;
	session->data = data;
	session->replaying = takeover;
	session->workers = g_new0(struct worker, threads);
	session->queue = fair_queue_new(threads);
	g_mutex_init(&session->reading);
	g_mutex_init(&session->lock);
	session->running = 1; /* counts this function, so that @ended comes after the last thread was started */
	for (unsigned i = 0; i < threads; i++) {
		struct worker *worker = &session->workers[i];
		char name[16]; /* pthread_setname_np(3) */

		*worker = (struct worker){ .session = session, .slot = i, .running = true };
		g_atomic_int_inc(&session->running);
		if (pthread_create(&worker->thread, NULL, work, worker) != 0) {
			g_atomic_int_add(&session->running, -1);
			break;
		}
		snprintf(name, sizeof(name), "fuse-%u", i);
		pthread_setname_np(worker->thread, name);
		session->count++;
	}
	session->detector = hang_detector_new(session->count);
	if (session->count == 0)
		session->result = -EAGAIN;
	if (g_atomic_int_dec_and_test(&session->running))
		events->ended(data);
	return session;
}

/* Signals again and again, because a thread that is just about to call read(2) misses the signal. */
static gboolean wake(gpointer data)
{
	struct session *session = data;

	for (unsigned i = 0; i < session->count; i++) {
		if (g_atomic_int_get(&session->workers[i].running))
			pthread_kill(session->workers[i].thread, WAKE_SIGNAL);
	}
	return G_SOURCE_CONTINUE;
}

void session_stop(struct session *session)
{
	fuse_session_exit(session->fuse);
	if (session->waker)
		return;
	session->waker = g_timeout_add(WAKE_PERIOD_MS, wake, session);
	wake(session);
}

static struct hang_detector_sample sample(struct worker *worker)
{
	struct hang_detector_sample sample = { .since = worker->since,
		                               .taken = worker->taken,
		                               .waits = worker->waits_for_memory };
	struct timespec used;
	clockid_t clock;

	/* A thread that has ended has no CPU clock. It has no request either, so its sample stays 0. */
	if (g_atomic_int_get(&worker->running) && pthread_getcpuclockid(worker->thread, &clock) == 0 &&
	    clock_gettime(clock, &used) == 0)
		sample.cpu = used.tv_sec * G_USEC_PER_SEC + used.tv_nsec / 1000;
	return sample;
}

bool session_is_alive(struct session *session, int64_t limit)
{
	g_autofree struct hang_detector_sample *samples = g_new(struct hang_detector_sample, session->count);
	struct pollfd connection = { .fd = fuse_session_fd(session->fuse), .events = POLLIN };

	for (unsigned i = 0; i < session->count; i++)
		samples[i] = sample(&session->workers[i]);
	poll(&connection, 1, 0);
	return hang_detector_look(session->detector, samples, connection.revents == POLLIN, g_get_monotonic_time(),
	                          limit);
}

unsigned session_load(struct session *session, int64_t *oldest)
{
	unsigned at_work = 0;

	*oldest = 0;
	for (unsigned i = 0; i < session->count; i++) {
		int64_t since = session->workers[i].since;

		if (since == 0)
			continue;
		at_work++;
		*oldest = MAX(*oldest, g_get_monotonic_time() - since);
	}
	return at_work;
}

int session_finish(struct session *session)
{
	int result;

	for (unsigned i = 0; i < session->count; i++)
		pthread_join(session->workers[i].thread, NULL);
	if (session->waker)
		g_source_remove(session->waker);
	while (g_source_remove_by_user_data(session))
		;
	result = session->result;
	hang_detector_free(session->detector);
	g_mutex_clear(&session->lock);
	g_mutex_clear(&session->reading);
	fair_queue_destroy(session->queue);
	g_free(session->workers);
	g_free(session);
	return result;
}

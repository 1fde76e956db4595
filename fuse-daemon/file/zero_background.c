// SPDX-License-Identifier: GPL-2.0-or-later
/* Zeroing in advance: a worker thread for each node, which also records clean memory. zero-rate limits it. */
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/crash_point.h"
#include "base/log.h"
#include "file/zeroer_internal.h"
#include "pool/numa_host.h"
#include "pool/pool_clean.h"

/* A worker records its clean memory after so many bytes or runs, or after this time. */
#define RECORD_BYTES  (UINT64_C(4) << 30)
#define RECORD_RUNS   1024
#define RECORD_PERIOD G_TIME_SPAN_SECOND
/* With a rate limit, a worker zeroes for 1/PACE of a second at a time. */
#define PACE 8
/* The pause after a failure. */
#define RETRY_PERIOD G_TIME_SPAN_SECOND

struct worker {
	struct zeroer *zeroer;
	GThread *thread;
	int node; /* -1: for regions whose node is not known */
	struct pool_piece piece;
	pid_t tid;            /* of the thread; set before it begins a piece */
	_Atomic bool hurried; /* a thread waits for the piece */
	GArray *unrecorded;   /* struct extent: zeroed and not recorded; parts may have been taken since */
	uint64_t unrecorded_bytes;
	gint64 recorded; /* when it last recorded: monotonic time, us */
	gint64 due;      /* when the next piece may begin: monotonic time, us */
};

static bool set_policy(pid_t thread, int policy)
{
	const struct sched_param none = { 0 };

	return sched_setscheduler(thread, policy, &none) == 0;
}

/* A thread waits for the piece: gives the worker normal priority, because at idle priority it may never run. */
static void hurry(void *data)
{
	struct worker *worker = data;

	atomic_store(&worker->hurried, true);
	set_policy(worker->tid, SCHED_OTHER);
}

/* Idle priority is for zeroing only: such a thread may be preempted for long, and must hold no lock then. */
static void become_idle(struct worker *worker)
{
	set_policy(worker->tid, SCHED_IDLE);
	/* hurry() may have been called in between. */
	if (atomic_load(&worker->hurried))
		set_policy(worker->tid, SCHED_OTHER);
}

static void become_normal(struct worker *worker)
{
	static struct log_limit limit = LOG_LIMIT_INIT;

	if (!set_policy(worker->tid, SCHED_OTHER))
		log_limited(&limit, LOG_LEVEL_WARNING,
		            "zeroing in advance: cannot leave idle priority: %s: give dmemfsd CAP_SYS_NICE",
		            g_strerror(errno));
}

/* Records clean memory in a transaction of its own, without the parts that files took meanwhile. */
static void record(struct worker *worker)
{
	const struct storage *storage = worker->zeroer->storage;
	g_autoptr(GArray) clean = g_array_new(FALSE, FALSE, sizeof(struct extent));

	if (worker->unrecorded->len > 0) {
		CRASH_POINT("zeroed");
		store_begin(storage->store);
		pool_list_clean(storage->pool, (const struct extent *)worker->unrecorded->data, worker->unrecorded->len,
		                clean);
		for (guint i = 0; i < clean->len; i++)
			store_put_clean(storage->store, g_array_index(clean, struct extent, i));
		CRASH_POINT("clean-recording");
		store_commit(
			storage->store); /* logs a failure; without the record, the next daemon only zeroes again */
		CRASH_POINT("clean-recorded");
	}
	g_array_set_size(worker->unrecorded, 0);
	worker->unrecorded_bytes = 0;
	worker->recorded = g_get_monotonic_time();
}

static void note_zeroed(struct worker *worker)
{
	extents_merge(worker->piece.runs);
	g_array_append_vals(worker->unrecorded, worker->piece.runs->data, worker->piece.runs->len);
	extents_merge(worker->unrecorded);
	for (guint i = 0; i < worker->piece.runs->len; i++)
		worker->unrecorded_bytes += g_array_index(worker->piece.runs, struct extent, i).length;
	if (worker->unrecorded_bytes >= RECORD_BYTES || worker->unrecorded->len >= RECORD_RUNS ||
	    g_get_monotonic_time() - worker->recorded >= RECORD_PERIOD)
		record(worker);
}

/* False: zeroer_stop() was called. */
static bool wait_until(struct zeroer *zeroer, gint64 time)
{
	bool stop;

	g_mutex_lock(&zeroer->lock);
	while (!zeroer->stop && g_cond_wait_until(&zeroer->stopping, &zeroer->lock, time))
		;
	stop = zeroer->stop;
	g_mutex_unlock(&zeroer->lock);
	return !stop;
}

static bool pace(struct worker *worker, uint64_t bytes)
{
	uint64_t rate = worker->zeroer->max_rate;
	gint64 now = g_get_monotonic_time();

	if (!rate)
		return true;
	/* A worker that had nothing to do does not catch up later. */
	worker->due = MAX(worker->due, now - G_TIME_SPAN_SECOND / PACE) + (gint64)(bytes * G_TIME_SPAN_SECOND / rate);
	if (worker->due <= now)
		return true;
	if (worker->due - now > RECORD_PERIOD)
		record(worker);
	return wait_until(worker->zeroer, worker->due);
}

/* Zeroes the runs of the piece at idle priority, with no lock held. */
static int zero_runs(struct worker *worker, uint64_t *bytes)
{
	const struct storage *storage = worker->zeroer->storage;
	const GArray *runs = worker->piece.runs;
	int err = 0;

	become_idle(worker);
	for (guint i = 0; i < runs->len && !err; i++) {
		const struct extent run = g_array_index(runs, struct extent, i);

		err = storage->ops->clean(storage->backend, run);
		*bytes += run.length;
	}
	become_normal(worker);
	return err;
}

/* Zeroes the next piece. Returns the bytes done, 0 after a failure. */
static uint64_t zero_piece(struct worker *worker)
{
	static struct log_limit limit = LOG_LIMIT_INIT;
	gint64 start = g_get_monotonic_time();
	uint64_t bytes = 0;
	int err = zero_runs(worker, &bytes);

	pool_end_zeroing(worker->zeroer->storage->pool, &worker->piece, !err);
	if (err) {
		log_limited(&limit, LOG_LEVEL_ERROR, "zeroing 0x%" G_GINT64_MODIFIER "x and on: %s",
		            g_array_index(worker->piece.runs, struct extent, 0).start, g_strerror(-err));
		return 0;
	}
	zeroer_count(worker->zeroer, bytes, start);
	note_zeroed(worker);
	return bytes;
}

static bool next_piece(struct worker *worker)
{
	struct pool *pool = worker->zeroer->storage->pool;

	atomic_store(&worker->hurried, false);
	if (pool_begin_zeroing(pool, &worker->piece, false))
		return true;
	record(worker);
	return pool_begin_zeroing(pool, &worker->piece, true);
}

static gpointer run_worker(gpointer data)
{
	struct worker *worker = data;
	struct zeroer *zeroer = worker->zeroer;
	bool go_on = true;

	worker->tid = gettid();
	numa_host_bind_thread(worker->node);
	while (go_on && next_piece(worker)) {
		uint64_t bytes = zero_piece(worker);

		go_on = bytes ? pace(worker, bytes) : wait_until(zeroer, g_get_monotonic_time() + RETRY_PERIOD);
	}
	record(worker);
	return NULL;
}

static void worker_free(gpointer data)
{
	struct worker *worker = data;

	g_array_unref(worker->piece.runs);
	g_array_unref(worker->unrecorded);
	g_free(worker);
}

struct zeroer *zeroer_new(const struct storage *storage)
{
	struct zeroer *zeroer = g_new0(struct zeroer, 1);

	zeroer->storage = storage;
	zeroer->workers = g_ptr_array_new_with_free_func(worker_free);
	g_mutex_init(&zeroer->lock);
	g_cond_init(&zeroer->stopping);
	zeroer->helpers = g_thread_pool_new(zeroer_help, zeroer, (gint)zeroer_helper_count(), FALSE, NULL);
	return zeroer;
}

static struct worker *worker_of(struct zeroer *zeroer, int node)
{
	struct worker *worker;

	for (guint i = 0; i < zeroer->workers->len; i++) {
		worker = g_ptr_array_index(zeroer->workers, i);
		if (worker->node == node)
			return worker;
	}
	worker = g_new0(struct worker, 1);
	worker->zeroer = zeroer;
	worker->node = node;
	worker->unrecorded = g_array_new(FALSE, FALSE, sizeof(struct extent));
	worker->piece.runs = g_array_new(FALSE, FALSE, sizeof(struct extent));
	worker->piece.max_bytes = ZEROER_PIECE;
	if (zeroer->max_rate)
		worker->piece.max_bytes =
			CLAMP(zeroer->max_rate / PACE / DMEMFS_PAGE_4K * DMEMFS_PAGE_4K, DMEMFS_PAGE_4K, ZEROER_PIECE);
	worker->piece.hurry = hurry;
	worker->piece.data = worker;
	g_ptr_array_add(zeroer->workers, worker);
	return worker;
}

void zeroer_start(struct zeroer *zeroer, uint64_t max_rate)
{
	g_autoptr(GArray) regions = pool_get_regions(zeroer->storage->pool);

	zeroer->max_rate = max_rate;
	for (guint i = 0; i < regions->len; i++)
		worker_of(zeroer, g_array_index(regions, struct pool_region, i).node)->piece.regions |= UINT64_C(1)
		                                                                                        << i;
	for (guint i = 0; i < zeroer->workers->len; i++) {
		struct worker *worker = g_ptr_array_index(zeroer->workers, i);

		worker->thread = g_thread_new("zeroer", run_worker, worker);
	}
	g_mutex_lock(&zeroer->lock);
	zeroer->running = zeroer->workers->len;
	g_mutex_unlock(&zeroer->lock);
}

void zeroer_stop(struct zeroer *zeroer)
{
	g_mutex_lock(&zeroer->lock);
	zeroer->stop = true;
	zeroer->running = 0;
	g_cond_broadcast(&zeroer->stopping);
	g_mutex_unlock(&zeroer->lock);
	pool_stop_zeroing(zeroer->storage->pool);
	for (guint i = 0; i < zeroer->workers->len; i++)
		g_thread_join(((struct worker *)g_ptr_array_index(zeroer->workers, i))->thread);
	g_ptr_array_set_size(zeroer->workers, 0);
}

void zeroer_destroy(struct zeroer *zeroer)
{
	if (!zeroer)
		return;
	g_thread_pool_free(zeroer->helpers, FALSE, TRUE);
	g_ptr_array_unref(zeroer->workers);
	g_cond_clear(&zeroer->stopping);
	g_mutex_clear(&zeroer->lock);
	g_free(zeroer);
}

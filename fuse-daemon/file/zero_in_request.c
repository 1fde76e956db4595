// SPDX-License-Identifier: GPL-2.0-or-later
/* Zeroing in need: a request zeroes its memory, and shares the work with helper threads. */
#include <errno.h>
#include <stdatomic.h>

#include "base/current_request.h"
#include "file/zeroer_internal.h"
#include "pool/pool_clean.h"

/* More threads would not be faster: a few saturate the memory of a node. */
#define HELPERS_MAX 8
/* Bytes. Less than this is zeroed before a helper has woken up. */
#define WORTH_SHARING (UINT64_C(8) << 20)
/* Pieces for each thread, so that they end at about the same time. */
#define PIECES_EACH 4

/* Has a reference for the request and each helper: a helper may wake up after all pieces are done. */
struct job {
	GArray *pieces; /* struct extent */
	_Atomic guint next;
	_Atomic guint refs;
	GMutex lock; /* guards all below */
	GCond all_done;
	guint done;
	int err;
};

unsigned zeroer_helper_count(void)
{
	return MIN(g_get_num_processors(), HELPERS_MAX);
}

static void job_unref(struct job *job)
{
	if (atomic_fetch_sub(&job->refs, 1) > 1)
		return;
	g_array_unref(job->pieces);
	g_mutex_clear(&job->lock);
	g_cond_clear(&job->all_done);
	g_free(job);
}

static int zero(struct zeroer *zeroer, struct extent run)
{
	gint64 start = g_get_monotonic_time();
	int err = zeroer->storage->ops->clean(zeroer->storage->backend, run);

	if (!err)
		zeroer_count(zeroer, run.length, start);
	return err;
}

/* Counts the pieces that no thread has begun as done, without zeroing them. */
static void give_up(struct job *job)
{
	guint all = job->pieces->len, next = atomic_exchange(&job->next, all), begun = MIN(next, all);

	g_mutex_lock(&job->lock);
	if (begun < all)
		job->err = -EINTR;
	job->done += all - begun;
	g_mutex_unlock(&job->lock);
}

/* Zeroes piece after piece, until all have been begun. */
static void work(struct zeroer *zeroer, struct job *job)
{
	guint index;

	while ((index = atomic_fetch_add(&job->next, 1)) < job->pieces->len) {
		int err = zero(zeroer, g_array_index(job->pieces, struct extent, index));

		g_mutex_lock(&job->lock);
		if (err)
			job->err = err;
		if (++job->done == job->pieces->len)
			g_cond_signal(&job->all_done);
		g_mutex_unlock(&job->lock);
		if (current_request_check_interrupt())
			give_up(job);
	}
}

void zeroer_help(gpointer data, gpointer zeroer)
{
	struct job *job = data;

	work(zeroer, job);
	job_unref(job);
}

static gint longest_first(gconstpointer a, gconstpointer b)
{
	uint64_t left = ((const struct extent *)a)->length, right = ((const struct extent *)b)->length;

	return left == right ? 0 : left > right ? -1 : 1;
}

/* Cuts @runs into pieces for @threads threads. */
static GArray *make_pieces(const GArray *runs, uint64_t bytes, unsigned threads)
{
	GArray *pieces = g_array_new(FALSE, FALSE, sizeof(struct extent));
	uint64_t size = bytes / (threads * PIECES_EACH) / DMEMFS_PAGE_2M * DMEMFS_PAGE_2M;

	size = CLAMP(size, DMEMFS_PAGE_2M, ZEROER_PIECE);
	for (guint i = 0; i < runs->len; i++) {
		struct extent run = g_array_index(runs, struct extent, i);

		while (run.length > 0) {
			struct extent piece = { run.start, MIN(run.length, size) };

			g_array_append_val(pieces, piece);
			run.start += piece.length;
			run.length -= piece.length;
		}
	}
	return pieces;
}

static int zero_together(struct zeroer *zeroer, GArray *pieces, unsigned helpers)
{
	struct job *job = g_new0(struct job, 1);
	int err;

	job->pieces = pieces;
	atomic_init(&job->refs, 1 + helpers);
	g_mutex_init(&job->lock);
	g_cond_init(&job->all_done);
	for (unsigned i = 0; i < helpers; i++) {
		/* An error (no thread could be created) is ignored: the job is queued anyway, and the request works, too. */
		g_thread_pool_push(zeroer->helpers, job, NULL);
	}
	work(zeroer, job);
	g_mutex_lock(&job->lock);
	while (job->done < job->pieces->len)
		g_cond_wait(&job->all_done, &job->lock);
	err = job->err;
	g_mutex_unlock(&job->lock);
	job_unref(job);
	return err;
}

static int zero_runs(struct zeroer *zeroer, GArray *runs)
{
	unsigned threads = zeroer_helper_count();
	uint64_t bytes = extents_bytes(runs);
	int err = 0;

	g_array_sort(runs, longest_first);
	if (bytes >= WORTH_SHARING) {
		GArray *pieces = make_pieces(runs, bytes, threads);

		return zero_together(zeroer, pieces, MIN(threads, pieces->len) - 1);
	}
	for (guint i = 0; i < runs->len && !err; i++)
		err = zero(zeroer, g_array_index(runs, struct extent, i));
	return err;
}

int zeroer_clean(struct zeroer *zeroer, const struct extent *runs, guint count)
{
	struct pool *pool = zeroer->storage->pool;
	g_autoptr(GArray) stale = g_array_new(FALSE, FALSE, sizeof(struct extent));
	int err;

	pool_list_stale(pool, runs, count, stale);
	if (stale->len == 0)
		return 0;
	err = zero_runs(zeroer, stale);
	if (!err)
		pool_set_zeroed(pool, (const struct extent *)stale->data, stale->len);
	return err;
}

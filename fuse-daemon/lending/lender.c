// SPDX-License-Identifier: GPL-2.0-or-later
/* Lends memory, and takes it back. */
#include "lending/lender.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>

#include "backend/pfn_lending.h"
#include "base/crash_point.h"
#include "base/log.h"
#include "base/system_file.h"
#include "pool/pool_lent.h"
#include "store/store.h"

/* At the end of the daemon, for all units together, and the one that is at work. Less than TimeoutStopSec= of dmemfsd.service. */
#define END_PATIENCE (20 * G_TIME_SPAN_SECOND)
/* The kernel needs this for a unit that is in use, however short requests wait. */
#define TAKE_MS_LEAST 3000
/* Nothing ends an attempt before: whoever restarts the daemon waits for it, and so do all requests. */
#define TAKE_MS_MOST 10000
/* How many units can be tried before a request has waited long enough. */
#define TRIES 3

struct lender {
	const struct storage *storage;
	struct lend_rules rules;
	unsigned take_ms; /* for each unit */
	GThread *thread;
	atomic_bool stop;
};

/* Nothing of the unit may be on record as clean when its first byte changes. */
static int forget_clean(struct store *store, struct extent unit)
{
	int err;

	CRASH_POINT("lend-begun");
	store_begin(store);
	store_delete_clean(store, unit);
	err = store_commit(store);
	CRASH_POINT("lend-recorded");
	return err;
}

static void say_not_lent(struct extent unit, int err)
{
	static struct log_limit limit = LOG_LIMIT_INIT;

	log_limited(&limit, LOG_LEVEL_WARNING, "memory at 0x%" PRIx64 "+0x%" PRIx64 " cannot be lent to the host: %s",
	            unit.start, unit.length, g_strerror(-err));
}

static void say_not_back(struct extent unit, int err)
{
	static struct log_limit limit = LOG_LIMIT_INIT;

	log_limited(&limit, LOG_LEVEL_INFO, "memory at 0x%" PRIx64 "+0x%" PRIx64 " stays lent to the host: %s",
	            unit.start, unit.length, lending_reason(err));
}

/* Notes in the pool what has become of the unit, which is lent there. */
static void lend_in_backend(const struct storage *storage, struct extent unit)
{
	int err = storage->ops->lend(storage->backend, unit);

	if (!err) {
		pool_lend_end(storage->pool, unit);
		log_debug("lent 0x%" PRIx64 "+0x%" PRIx64 " to the host", unit.start, unit.length);
	} else if (err == -EINPROGRESS) {
		pool_take_failed(storage->pool, unit, err);
		say_not_back(unit, err);
	} else {
		pool_lend_undo(storage->pool, unit, err);
		say_not_lent(unit, err);
	}
}

static void lend(const struct storage *storage, struct extent unit)
{
	int err = forget_clean(storage->store, unit);

	if (!err) {
		lend_in_backend(storage, unit);
		return;
	}
	pool_lend_undo(storage->pool, unit, err);
	say_not_lent(unit, err);
}

static int take(struct lender *lender, struct extent unit, unsigned timeout_ms)
{
	const struct storage *storage = lender->storage;
	int err;

	pool_take_begin(storage->pool, unit);
	CRASH_POINT("take-begun");
	err = storage->ops->take_lent(storage->backend, unit, timeout_ms);
	CRASH_POINT("taken");
	if (err && err != -ENOENT) {
		pool_take_failed(storage->pool, unit, err);
		say_not_back(unit, err);
		return err;
	}
	pool_take_back(storage->pool, unit);
	log_debug("took 0x%" PRIx64 "+0x%" PRIx64 " back from the host", unit.start, unit.length);
	return 0;
}

/* The last daemon may have died before the memory that it lent was online. */
static void complete(struct lender *lender)
{
	const struct storage *storage = lender->storage;
	g_autoptr(GArray) lent = pool_list_lent(storage->pool);

	for (guint i = 0; i < lent->len && lender->rules.on && !lender->stop; i++)
		lend_in_backend(storage, g_array_index(lent, struct lend_unit, i).extent);
}

static gpointer run(gpointer data)
{
	struct lender *lender = data;
	struct extent unit;

	complete(lender);
	while (!lender->stop) {
		switch (pool_next_lending(lender->storage->pool, &lender->rules, &unit)) {
		case LEND_REST:
			break;
		case LEND_UNIT:
			lend(lender->storage, unit);
			break;
		case LEND_TAKE:
			take(lender, unit, lender->take_ms);
			break;
		}
	}
	return NULL;
}

static bool has_lent(struct pool *pool)
{
	struct pool_usage usage;

	pool_get_usage(pool, &usage);
	return usage.lent > 0;
}

static uint64_t most(struct pool *pool)
{
	uint64_t total = system_meminfo("MemTotal");
	struct pool_usage usage;

	pool_get_usage(pool, &usage);
	return total == UINT64_MAX ? 0 : (total - MIN(total - 1, usage.lent)) * LENDING_RATIO;
}

struct lender *lender_start(const struct storage *storage, const struct lend_rules *rules, unsigned take_timeout)
{
	struct pool_lending lending;
	struct lender *lender;

	pool_get_lending(storage->pool, &lending);
	if (rules->on && !lending.unit)
		log_warning(
			"lend=on: nothing is lent: the module or the kernel cannot do it, or no region has a whole unit: "
			"run dmemfsctl doctor");
	if (!lending.unit || (!rules->on && !has_lent(storage->pool)))
		return NULL;
	lender = g_new0(struct lender, 1);
	lender->storage = storage;
	lender->rules = *rules;
	lender->rules.most = most(storage->pool);
	lender->take_ms = CLAMP(take_timeout * 1000 / TRIES, TAKE_MS_LEAST, TAKE_MS_MOST);
	pool_open_lending(storage->pool, take_timeout * G_TIME_SPAN_SECOND);
	lender->thread = g_thread_new("lender", run, lender);
	return lender;
}

static void take_all(struct lender *lender, gint64 end)
{
	g_autoptr(GArray) lent = pool_list_lent(lender->storage->pool);
	uint64_t kept = 0;
	int reason = -ETIME;

	for (guint i = 0; i < lent->len; i++) {
		const struct extent unit = g_array_index(lent, struct lend_unit, i).extent;
		gint64 left = (end - g_get_monotonic_time()) / G_TIME_SPAN_MILLISECOND;
		int err = left > 0 ? take(lender, unit, (unsigned)MIN(left, lender->take_ms)) : -ETIME;

		kept += err ? unit.length : 0;
		reason = err ? err : reason;
	}
	if (kept)
		log_warning("%" PRIu64 " MiB stay lent to the host until the next start: %s", kept >> 20,
		            lending_reason(reason));
}

void lender_leave(struct lender *lender)
{
	if (!lender)
		return;
	lender->stop = true;
	pool_close_lending(lender->storage->pool);
}

void lender_stop(struct lender *lender, bool take_back)
{
	gint64 end = g_get_monotonic_time() + END_PATIENCE;

	if (!lender)
		return;
	lender_leave(lender);
	g_thread_join(lender->thread);
	if (take_back)
		take_all(lender, end);
	g_free(lender);
}

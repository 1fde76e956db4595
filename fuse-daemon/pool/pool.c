// SPDX-License-Identifier: GPL-2.0-or-later
/* The pool: the lock around the allocator, promises, and memory of removed files that comes back. */
#include "pool/pool.h"

#include <errno.h>

#include "base/current_request.h"
#include "pool/extent_set.h"
#include "pool/numa_host.h"
#include "pool/pool_internal.h"

static uint64_t runs_bytes(const struct extent *runs, guint count)
{
	uint64_t bytes = 0;

	for (guint i = 0; i < count; i++)
		bytes += runs[i].length;
	return bytes;
}

static void runs_free(gpointer runs)
{
	g_array_unref(runs);
}

struct pool *pool_new(const GArray *regions, unsigned max_waiting, GError **error)
{
	struct pool *pool = g_new0(struct pool, 1);

	g_mutex_init(&pool->lock);
	g_cond_init(&pool->returned);
	g_cond_init(&pool->work);
	g_cond_init(&pool->recalled);
	pool->pieces = g_ptr_array_new();
	pool->regions = g_array_copy((GArray *)regions);
	pool->allocator = allocator_new();
	pool->pending = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, runs_free);
	pool->last_users = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
	pool->pins = g_sequence_new(g_free);
	pool->former_pins = g_array_new(FALSE, FALSE, sizeof(struct pool_pin));
	pool->pinned_of = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
	pool->units = g_array_new(FALSE, FALSE, sizeof(struct lend_unit));
	pool->recalls = g_ptr_array_new();
	pool->max_waiting = max_waiting;
	pool->overcommit = 1;

	for (guint i = 0; i < regions->len; i++) {
		const struct memory_region *region = &g_array_index(regions, struct memory_region, i);
		int index = allocator_add_region(pool->allocator, region->start, region->length);

		if (index < 0) {
			g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(-index),
			            "region at 0x%" G_GINT64_MODIFIER "x of %" G_GUINT64_FORMAT " bytes: %s",
			            region->start, region->length, g_strerror(-index));
			pool_destroy(pool);
			return NULL;
		}
		pool->kinds[region->order / PAGE_ORDER_STEP] |= UINT64_C(1) << index;
		pool->map.nodes[pool->map.count++] = region->node;
	}
	pool->poisoned = pool_new_set(pool);
	pool->retired = pool_new_set(pool);
	pool->lent = pool_new_set(pool);
	return pool;
}

void pool_destroy(struct pool *pool)
{
	if (!pool)
		return;
	g_hash_table_unref(pool->pending);
	g_hash_table_unref(pool->last_users);
	g_sequence_free(pool->pins);
	g_array_unref(pool->former_pins);
	g_hash_table_unref(pool->pinned_of);
	allocator_destroy(pool->allocator);
	allocator_destroy(pool->clean);
	allocator_destroy(pool->stale);
	allocator_destroy(pool->poisoned);
	allocator_destroy(pool->retired);
	allocator_destroy(pool->lent);
	g_array_unref(pool->units);
	g_ptr_array_unref(pool->recalls);
	g_ptr_array_unref(pool->pieces);
	g_array_unref(pool->regions);
	g_cond_clear(&pool->returned);
	g_cond_clear(&pool->work);
	g_cond_clear(&pool->recalled);
	g_mutex_clear(&pool->lock);
	g_free(pool);
}

/*
 * The bytes of @regions that may still be taken or promised, when @factor times their capacity may be in all, and @lent bytes of what is
 * lent count as free.
 */
static uint64_t room(const struct pool *pool, double factor, uint64_t regions, uint64_t lent)
{
	uint64_t capacity = pool_capacity(pool, regions);
	double most = factor * (double)capacity;
	uint64_t limit = factor == 1 ? capacity : most < (double)INT64_MAX ? (uint64_t)most : INT64_MAX;
	uint64_t taken = capacity - allocator_available(pool->allocator, DMEMFS_PAGE_4K, regions) - lent;

	for (unsigned i = 0; i < PAGE_ORDER_KINDS; i++)
		taken += pool->kinds[i] & regions ? pool->promised[i] : 0;
	return limit > taken ? limit - taken : 0;
}

/* What is promised of @regions, which are of one kind. */
static uint64_t *promised_of(struct pool *pool, uint64_t regions)
{
	unsigned i = 0;

	while (i + 1 < PAGE_ORDER_KINDS && !(pool->kinds[i] & regions))
		i++;
	return &pool->promised[i];
}

/* The most that a request without a promise may take of @regions, when @lent bytes of what is lent count as free. */
static uint64_t room_unpromised(const struct pool *pool, uint64_t regions, uint64_t lent)
{
	return room(pool, MAX(pool->overcommit, 1), regions, lent);
}

static int try_alloc(struct pool *pool, const struct numa_policy *policy, int local,
                     const struct allocator_request *request, bool promised, GArray *out)
{
	int err = -ENOSPC;

	if (promised || request->length <= room_unpromised(pool, request->regions, 0))
		err = clean_alloc(pool, policy, local, request, out);
	if (!err && promised)
		*promised_of(pool, request->regions) -= request->length;
	return err;
}

/* How much must come back before try_alloc() can succeed. */
static uint64_t lacking(const struct pool *pool, const struct numa_policy *policy,
                        const struct allocator_request *request, bool promised)
{
	uint64_t there = numa_policy_available(pool->allocator, &pool->map, policy, request->regions, request->unit);

	if (!promised)
		there = MIN(there, room_unpromised(pool, request->regions, 0));
	return request->length > there ? request->length - there : 0;
}

static int alloc(struct pool *pool, const struct numa_policy *policy, int local,
                 const struct allocator_request *request, bool promised, bool waits, GArray *out)
{
	struct pool_recall recall = { .recall.regions = pool_regions_allowed(pool, policy, request->regions) };
	guint first = out->len;
	int err, shortage;

	current_request_check_interrupt();
	g_mutex_lock(&pool->lock);
	err = try_alloc(pool, policy, local, request, promised, out);
	while (err == -ENOSPC && waits && wait_for_memory(pool, &recall, lacking(pool, policy, request, promised)))
		err = try_alloc(pool, policy, local, request, promised, out);
	shortage = wait_end(pool, &recall);
	if (!err)
		clean_wait(pool, out, first);
	g_mutex_unlock(&pool->lock);
	return err == -ENOSPC ? shortage : err;
}

int pool_alloc(struct pool *pool, const struct numa_policy *policy, const struct allocator_request *request,
               GArray *out)
{
	int local = policy && policy->mode == NODE_LOCAL ? numa_host_caller_node() : NODE_UNKNOWN;

	return alloc(pool, policy, local, request, false, true, out);
}

int pool_alloc_promised(struct pool *pool, const struct numa_policy *policy, int local,
                        const struct allocator_request *request, bool waits, GArray *out)
{
	return alloc(pool, policy, local, request, true, waits, out);
}

void pool_set_overcommit(struct pool *pool, double factor)
{
	pool->overcommit = factor;
}

int pool_promise(struct pool *pool, uint64_t regions, uint64_t bytes, bool waits)
{
	struct pool_recall recall = { .recall.regions = regions };
	uint64_t there;
	int err;

	current_request_check_interrupt();
	g_mutex_lock(&pool->lock);
	there = room(pool, pool->overcommit, regions, 0);
	while (bytes > there && waits && wait_for_memory(pool, &recall, bytes - there))
		there = room(pool, pool->overcommit, regions, 0);
	err = wait_end(pool, &recall);
	if (bytes <= there) {
		*promised_of(pool, regions) += bytes;
		err = 0;
	}
	g_mutex_unlock(&pool->lock);
	return err;
}

void pool_restore_promise(struct pool *pool, uint64_t regions, uint64_t bytes)
{
	g_mutex_lock(&pool->lock);
	*promised_of(pool, regions) += bytes;
	g_mutex_unlock(&pool->lock);
}

void pool_forgo(struct pool *pool, uint64_t regions, uint64_t bytes)
{
	/* Whoever waits would look in vain. If it then forgoes nothing, too, they would wake each other without a pause. */
	if (!bytes)
		return;
	g_mutex_lock(&pool->lock);
	*promised_of(pool, regions) -= bytes;
	g_cond_broadcast(&pool->returned);
	g_mutex_unlock(&pool->lock);
}

uint64_t pool_available(struct pool *pool, const struct numa_policy *policy, uint64_t regions, uint64_t unit)
{
	uint64_t there, may, bytes;

	g_mutex_lock(&pool->lock);
	there = numa_policy_available(pool->allocator, &pool->map, policy, regions, unit) +
	        numa_policy_available(pool->lent, &pool->map, policy, regions, unit);
	may = room_unpromised(pool, regions, allocator_available(pool->lent, DMEMFS_PAGE_4K, regions));
	bytes = MIN(there, may / unit * unit);
	g_mutex_unlock(&pool->lock);
	return bytes;
}

uint64_t pool_regions_allowed(const struct pool *pool, const struct numa_policy *policy, uint64_t regions)
{
	return numa_policy_regions(&pool->map, policy, regions);
}

bool pool_has_nodes(struct pool *pool, const struct numa_policy *policy)
{
	for (unsigned i = 0; i < policy->count; i++) {
		if (!node_map_regions(&pool->map, policy->nodes[i]))
			return false;
	}
	return true;
}

void pool_free_locked(struct pool *pool, const struct extent *runs, guint count, bool unused)
{
	g_autoptr(GArray) good = NULL;

	if (!count)
		return;
	good = g_array_new(FALSE, FALSE, sizeof(struct extent));
	for (guint i = 0; i < count; i++)
		poison_retire(pool, runs[i], good);
	for (guint i = 0; i < good->len; i++) {
		const struct extent *run = &g_array_index(good, struct extent, i);

		/* Freeing memory that is not in use means that it may have two owners: abort before it is given out again. */
		if (allocator_free(pool->allocator, run->start, run->length) < 0)
			g_error("allocator: run 0x%" G_GINT64_MODIFIER "x+%" G_GUINT64_FORMAT " freed but not in use",
			        run->start, run->length);
	}
	clean_note_freed(pool, (const struct extent *)good->data, good->len, unused);
	for (guint i = 0; i < count; i++)
		units_note_freed(pool, runs[i]);
	g_cond_broadcast(&pool->returned);
}

static void give_back(struct pool *pool, const struct extent *runs, guint count, bool unused)
{
	g_mutex_lock(&pool->lock);
	pool_free_locked(pool, runs, count, unused);
	g_mutex_unlock(&pool->lock);
}

void pool_free(struct pool *pool, const struct extent *runs, guint count)
{
	give_back(pool, runs, count, false);
}

void pool_free_unused(struct pool *pool, const struct extent *runs, guint count)
{
	give_back(pool, runs, count, true);
}

void pool_free_promised(struct pool *pool, const struct extent *runs, guint count)
{
	g_mutex_lock(&pool->lock);
	for (guint i = 0; i < count; i++)
		pool->promised[pool_order_at(pool, runs[i].start) / PAGE_ORDER_STEP] += runs[i].length;
	pool_free_locked(pool, runs, count, false);
	g_mutex_unlock(&pool->lock);
}

static void expect_locked(struct pool *pool)
{
	pool->patience_until = g_get_monotonic_time() + POOL_PATIENCE_MS * G_TIME_SPAN_MILLISECOND;
}

void pool_expect(struct pool *pool)
{
	g_mutex_lock(&pool->lock);
	expect_locked(pool);
	g_mutex_unlock(&pool->lock);
}

GArray *pool_pending_runs(struct pool *pool, uint64_t id)
{
	GArray *runs = g_hash_table_lookup(pool->pending, &id);

	if (!runs) {
		runs = extents_new();
		g_hash_table_insert(pool->pending, g_memdup2(&id, sizeof(id)), runs);
	}
	return runs;
}

void pool_retire(struct pool *pool, uint64_t id, GArray *runs)
{
	g_mutex_lock(&pool->lock);
	pool->pending_bytes += runs_bytes((const struct extent *)runs->data, runs->len);
	g_array_append_vals(pool_pending_runs(pool, id), runs->data, runs->len);
	expect_locked(pool);
	g_mutex_unlock(&pool->lock);
	g_array_unref(runs);
}

bool pool_claim(struct pool *pool, struct extent run)
{
	g_mutex_lock(&pool->lock);
	bool claimed = poison_claim(pool, run);

	g_mutex_unlock(&pool->lock);
	return claimed;
}

void pool_adopt(struct pool *pool, uint64_t id, struct extent run)
{
	g_mutex_lock(&pool->lock);
	if (poison_claim(pool, run)) {
		g_array_append_val(pool_pending_runs(pool, id), run);
		pool->pending_bytes += run.length;
	}
	g_mutex_unlock(&pool->lock);
}

void pool_idle(struct pool *pool, uint64_t id)
{
	g_mutex_lock(&pool->lock);
	GArray *runs = g_hash_table_lookup(pool->pending, &id);

	if (runs) {
		const struct extent *first = (const struct extent *)runs->data;

		pool->pending_bytes -= runs_bytes(first, runs->len);
		pool_free_locked(pool, first, runs->len, false);
		g_hash_table_remove(pool->pending, &id);
	}
	g_hash_table_remove(pool->last_users, &id);
	g_mutex_unlock(&pool->lock);
}

static uint64_t former_bytes(const struct pool *pool)
{
	uint64_t bytes = 0;

	for (guint i = 0; i < pool->former_pins->len; i++)
		bytes += g_array_index(pool->former_pins, struct pool_pin, i).extent.length;
	return bytes;
}

void pool_get_usage(struct pool *pool, struct pool_usage *usage)
{
	struct allocator_stats stats;

	g_mutex_lock(&pool->lock);
	allocator_get_stats(pool->allocator, &stats);
	*usage = (struct pool_usage){
		.capacity = stats.capacity,
		.free = stats.free,
		.pending = pool->pending_bytes,
		.pinned = pool->pinned_bytes,
		.pinned_former = former_bytes(pool),
		.lent = extent_set_bytes(pool->lent),
		.free_2m = stats.free_2m,
		.free_1g = stats.free_1g,
	};
	for (unsigned i = 0; i < PAGE_ORDER_KINDS; i++)
		usage->promised += pool->promised[i];
	clean_get_usage(pool, usage);
	usage->poisoned = extent_set_bytes(pool->retired);
	usage->poisoned_used = extent_set_bytes(pool->poisoned) - usage->poisoned;
	usage->allocated =
		usage->capacity - usage->free - usage->pending - usage->pinned - usage->poisoned - usage->lent;
	g_mutex_unlock(&pool->lock);
}

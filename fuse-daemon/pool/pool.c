// SPDX-License-Identifier: GPL-2.0-or-later
/* The pool of memory that is in no live file: the lock around the allocator, and memory on its way back. */
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

struct placement *placement_new(const GArray *regions, unsigned max_waiting, GError **error)
{
	struct placement *placement = g_new0(struct placement, 1);

	g_mutex_init(&placement->lock);
	g_cond_init(&placement->returned);
	g_cond_init(&placement->work);
	placement->pieces = g_ptr_array_new();
	placement->regions = g_array_copy((GArray *)regions);
	placement->allocator = allocator_new();
	placement->pending = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, runs_free);
	placement->max_waiting = max_waiting;
	placement->overcommit = 1;

	for (guint i = 0; i < regions->len; i++) {
		const struct memory_region *region = &g_array_index(regions, struct memory_region, i);
		int index = allocator_add_region(placement->allocator, region->start, region->length);

		if (index < 0) {
			g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(-index),
			            "region at 0x%" G_GINT64_MODIFIER "x of %" G_GUINT64_FORMAT " bytes: %s",
			            region->start, region->length, g_strerror(-index));
			placement_destroy(placement);
			return NULL;
		}
		placement->map.nodes[placement->map.count++] = region->node;
	}
	placement->poisoned = placement_new_set(placement);
	placement->retired = placement_new_set(placement);
	return placement;
}

void placement_destroy(struct placement *placement)
{
	if (!placement)
		return;
	g_hash_table_unref(placement->pending);
	allocator_destroy(placement->allocator);
	allocator_destroy(placement->clean);
	allocator_destroy(placement->stale);
	allocator_destroy(placement->poisoned);
	allocator_destroy(placement->retired);
	g_ptr_array_unref(placement->pieces);
	g_array_unref(placement->regions);
	g_cond_clear(&placement->returned);
	g_cond_clear(&placement->work);
	g_mutex_clear(&placement->lock);
	g_free(placement);
}

/* Memory may be on its way back, and a waiter would not take the last thread. */
static bool may_wait(const struct placement *placement)
{
	return placement->waiting < placement->max_waiting && g_get_monotonic_time() < placement->patience_until &&
	       !current_request_is_interrupted();
}

static void wait_returned(struct placement *placement)
{
	placement->waiting++;
	g_cond_wait_until(&placement->returned, &placement->lock,
	                  current_request_look_again(placement->patience_until));
	placement->waiting--;
}

/* How much more may be taken or promised, if so many times the capacity may be. */
static uint64_t room(const struct placement *placement, double factor)
{
	struct allocator_stats stats;

	allocator_get_stats(placement->allocator, &stats);

	double most = factor * (double)stats.capacity;
	uint64_t limit = factor == 1 ? stats.capacity : most < (double)INT64_MAX ? (uint64_t)most : INT64_MAX;
	uint64_t taken = stats.capacity - stats.free + placement->promised;

	return limit > taken ? limit - taken : 0;
}

static int try_alloc(struct placement *placement, const struct numa_policy *policy, int local,
                     const struct allocator_request *request, bool promised, GArray *out)
{
	int err = -ENOSPC;

	if (promised || request->length <= room(placement, MAX(placement->overcommit, 1)))
		err = clean_alloc(placement, policy, local, request, out);
	if (!err && promised)
		placement->promised -= request->length;
	return err;
}

static int alloc(struct placement *placement, const struct numa_policy *policy, int local,
                 const struct allocator_request *request, bool promised, GArray *out)
{
	guint first = out->len;
	int err;

	g_mutex_lock(&placement->lock);
	err = try_alloc(placement, policy, local, request, promised, out);
	while (err == -ENOSPC && may_wait(placement)) {
		wait_returned(placement);
		err = try_alloc(placement, policy, local, request, promised, out);
	}
	if (!err)
		clean_wait(placement, out, first);
	g_mutex_unlock(&placement->lock);
	return err == -ENOSPC && current_request_is_interrupted() ? -EINTR : err;
}

int placement_alloc(struct placement *placement, const struct numa_policy *policy,
                    const struct allocator_request *request, GArray *out)
{
	int local = policy && policy->mode == NODE_LOCAL ? numa_host_caller_node() : NODE_UNKNOWN;

	return alloc(placement, policy, local, request, false, out);
}

int placement_alloc_promised(struct placement *placement, const struct numa_policy *policy, int local,
                             const struct allocator_request *request, GArray *out)
{
	return alloc(placement, policy, local, request, true, out);
}

void placement_set_overcommit(struct placement *placement, double factor)
{
	placement->overcommit = factor;
}

int placement_promise(struct placement *placement, uint64_t bytes)
{
	int err = 0;

	g_mutex_lock(&placement->lock);
	while (bytes > room(placement, placement->overcommit) && may_wait(placement))
		wait_returned(placement);
	if (bytes > room(placement, placement->overcommit))
		err = current_request_is_interrupted() ? -EINTR : -ENOSPC;
	else
		placement->promised += bytes;
	g_mutex_unlock(&placement->lock);
	return err;
}

void placement_restore_promise(struct placement *placement, uint64_t bytes)
{
	g_mutex_lock(&placement->lock);
	placement->promised += bytes;
	g_mutex_unlock(&placement->lock);
}

void placement_forgo(struct placement *placement, uint64_t bytes)
{
	g_mutex_lock(&placement->lock);
	placement->promised -= bytes;
	g_cond_broadcast(&placement->returned);
	g_mutex_unlock(&placement->lock);
}

uint64_t placement_available(struct placement *placement, const struct numa_policy *policy, uint64_t unit)
{
	uint64_t bytes;

	g_mutex_lock(&placement->lock);
	bytes = MIN(numa_policy_available(placement->allocator, &placement->map, policy, unit),
	            room(placement, MAX(placement->overcommit, 1)) / unit * unit);
	g_mutex_unlock(&placement->lock);
	return bytes;
}

bool placement_has_nodes(struct placement *placement, const struct numa_policy *policy)
{
	for (unsigned i = 0; i < policy->count; i++) {
		if (!node_map_regions(&placement->map, policy->nodes[i]))
			return false;
	}
	return true;
}

static void free_locked(struct placement *placement, const struct extent *runs, guint count, bool unused)
{
	g_autoptr(GArray) good = NULL;

	if (!count)
		return;
	good = g_array_new(FALSE, FALSE, sizeof(struct extent));
	for (guint i = 0; i < count; i++)
		poison_retire(placement, runs[i], good);
	for (guint i = 0; i < good->len; i++) {
		const struct extent *run = &g_array_index(good, struct extent, i);

		/* A run that the allocator did not give out would mean memory with two owners: stop before it spreads. */
		if (allocator_free(placement->allocator, run->start, run->length) < 0)
			g_error("allocator: run 0x%" G_GINT64_MODIFIER "x+%" G_GUINT64_FORMAT " freed but not in use", run->start,
			        run->length);
	}
	clean_note_freed(placement, (const struct extent *)good->data, good->len, unused);
	g_cond_broadcast(&placement->returned);
}

static void give_back(struct placement *placement, const struct extent *runs, guint count, bool unused)
{
	g_mutex_lock(&placement->lock);
	free_locked(placement, runs, count, unused);
	g_mutex_unlock(&placement->lock);
}

void placement_free(struct placement *placement, const struct extent *runs, guint count)
{
	give_back(placement, runs, count, false);
}

void placement_free_unused(struct placement *placement, const struct extent *runs, guint count)
{
	give_back(placement, runs, count, true);
}

void placement_free_promised(struct placement *placement, const struct extent *runs, guint count)
{
	g_mutex_lock(&placement->lock);
	placement->promised += runs_bytes(runs, count);
	free_locked(placement, runs, count, false);
	g_mutex_unlock(&placement->lock);
}

static void expect_locked(struct placement *placement)
{
	placement->patience_until = g_get_monotonic_time() + PLACEMENT_PATIENCE_MS * G_TIME_SPAN_MILLISECOND;
}

void placement_expect(struct placement *placement)
{
	g_mutex_lock(&placement->lock);
	expect_locked(placement);
	g_mutex_unlock(&placement->lock);
}

void placement_retire(struct placement *placement, uint64_t id, GArray *runs)
{
	guint64 *key = g_memdup2(&id, sizeof(id));

	g_mutex_lock(&placement->lock);
	placement->pending_bytes += runs_bytes((const struct extent *)runs->data, runs->len);
	g_hash_table_insert(placement->pending, key, runs);
	expect_locked(placement);
	g_mutex_unlock(&placement->lock);
}

bool placement_claim(struct placement *placement, struct extent run)
{
	g_mutex_lock(&placement->lock);
	bool claimed = poison_claim(placement, run);

	g_mutex_unlock(&placement->lock);
	return claimed;
}

void placement_adopt(struct placement *placement, uint64_t id, struct extent run)
{
	g_mutex_lock(&placement->lock);
	if (poison_claim(placement, run)) {
		GArray *runs = g_hash_table_lookup(placement->pending, &id);

		if (!runs) {
			runs = g_array_new(FALSE, FALSE, sizeof(struct extent));
			g_hash_table_insert(placement->pending, g_memdup2(&id, sizeof(id)), runs);
		}
		g_array_append_val(runs, run);
		placement->pending_bytes += run.length;
	}
	g_mutex_unlock(&placement->lock);
}

void placement_idle(struct placement *placement, uint64_t id)
{
	g_mutex_lock(&placement->lock);
	GArray *runs = g_hash_table_lookup(placement->pending, &id);

	if (runs) {
		const struct extent *first = (const struct extent *)runs->data;

		placement->pending_bytes -= runs_bytes(first, runs->len);
		free_locked(placement, first, runs->len, false);
		g_hash_table_remove(placement->pending, &id);
	}
	g_mutex_unlock(&placement->lock);
}

void placement_get_usage(struct placement *placement, struct placement_usage *usage)
{
	struct allocator_stats stats;

	g_mutex_lock(&placement->lock);
	allocator_get_stats(placement->allocator, &stats);
	*usage = (struct placement_usage){
		.capacity = stats.capacity,
		.free = stats.free,
		.pending = placement->pending_bytes,
		.promised = placement->promised,
		.free_2m = stats.free_2m,
		.free_1g = stats.free_1g,
	};
	clean_get_usage(placement, usage);
	usage->poisoned = extent_set_bytes(placement->retired);
	usage->poisoned_used = extent_set_bytes(placement->poisoned) - usage->poisoned;
	usage->allocated = usage->capacity - usage->free - usage->pending - usage->poisoned;
	g_mutex_unlock(&placement->lock);
}

GArray *placement_get_regions(struct placement *placement)
{
	GArray *found = g_array_new(FALSE, FALSE, sizeof(struct placement_region));

	g_mutex_lock(&placement->lock);
	for (guint i = 0; i < placement->regions->len; i++) {
		const struct memory_region *region = &g_array_index(placement->regions, struct memory_region, i);
		struct placement_region entry = {
			.extent = { region->start, region->length },
			.node = region->node,
			.free = allocator_available(placement->allocator, DMEMFS_PAGE_4K, UINT64_C(1) << i),
		};

		g_array_append_val(found, entry);
	}
	g_mutex_unlock(&placement->lock);
	return found;
}

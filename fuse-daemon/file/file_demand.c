// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Demand allocation: a file gets memory when it is touched, and frees it when holes are punched.
 *
 * Invariants of such a file, under its lock:
 *  - memory is in whole units, none of it past the last unit of the size;
 *  - the quota tree is charged for the whole size in units when the file grows, so that a touch never fails for a quota;
 *  - the pool has promised (pool.h) the part of that which the file does not have yet, except memory on its way (inflight), and as
 *    much as devices still hold of what the file gave up (pins.h). So the file never has more than its size together with that.
 *
 * The order of changes, as file.h has it for all files:
 *   growing     the size is committed, then set in the object
 *   touching    memory is zeroed, committed, then given to the object. It is zeroed without the lock, after the pool has
 *               given it. Before the commit, the hole is checked again
 *   fallocate() punches: as shrinking
 *   a process   punches its mapping: the memory is no longer mapped, but stays in the object. The record is deleted, then
 *               the memory is taken from the object, then freed to the pool
 * A daemon that dies meanwhile leaves punched memory in the object. The next daemon removes it, also when it is on record.
 */
#include <errno.h>
#include <linux/falloc.h>

#include "base/crash_point.h"
#include "base/log.h"
#include "file/file_internal.h"

/* How often a fault is retried when the file changes meanwhile. After that the thread touches the memory again. */
#define ATTEMPTS 3

static bool is_hole(const struct file *file, uint64_t from, uint64_t to)
{
	return extent_map_next_data(file->map, from) >= to;
}

/* Frees @runs to the pool, which promises them again. file_settle() takes back what a shorter file does not need. */
static void demand_free(struct file *file, const GArray *runs)
{
	g_autoptr(GArray) extents = file_extents(runs);

	file_leave_pinned(file, extents);
	for (guint i = 0; i < extents->len; i++)
		file->promised += g_array_index(extents, struct extent, i).length;
	pool_free_promised(file->storage->pool, (const struct extent *)extents->data, extents->len);
}

/* What devices hold is charged already, and not promised: see file_charged() and file_settle_promise(). */
static int demand_grow(struct file *file, uint64_t size)
{
	const struct storage *storage = file->storage;
	uint64_t all = file_unit_up(file, size), held = extent_map_bytes(file->map) + file->pinned;
	uint64_t wanted = all - MIN(all, held + file->inflight), more = wanted - MIN(wanted, file->promised);
	int err = all > INT64_MAX ? -EFBIG : file_need_object(file);

	if (!err)
		err = quota_charge(storage->quotas, &file->account, MAX(all, held) - file_charged(file));
	if (err)
		return err;
	err = pool_promise(storage->pool, file_regions(file), more, true);
	if (!err) {
		file->promised += more;
		store_begin(storage->store);
		store_put_size(storage->store, file->ino, size);
		err = store_commit(storage->store);
	}
	CRASH_POINT("size-committed");
	if (!err)
		err = file_set_recorded_size(file, size);
	if (err)
		file_settle(file);
	return err;
}

/* May the file have @length bytes more? There are holes for them, but memory that devices still hold counts, too. */
static bool may_have(const struct file *file, uint64_t length)
{
	return extent_map_bytes(file->map) + file->pinned + length <= file_unit_up(file, file->size);
}

/*
 * Takes promised memory for @gap in units of @unit, and appends it to @runs. While memory for the same holes is on its way, the file has
 * less promised than holes: the rest must be free, because the pool has promised what it has to other files. @waits: as in
 * pool_alloc_promised().
 */
static int take_promised(struct file *file, const struct numa_policy *policy, int node, struct extent_gap gap,
                         uint64_t unit, bool waits, GArray *runs)
{
	g_autoptr(GArray) extents = g_array_new(FALSE, FALSE, sizeof(struct extent));
	const struct allocator_request request = {
		.length = gap.length,
		.unit = unit,
		.file_offset = gap.offset,
		.hint = ALLOCATOR_NO_HINT,
		.regions = file_regions(file),
	};
	struct pool *pool = file->storage->pool;
	uint64_t more = gap.length - MIN(gap.length, file->promised);
	int err;

	err = more ? pool_promise(pool, request.regions, more, waits) : 0;
	if (err)
		return err;
	file->promised += more;
	err = pool_alloc_promised(pool, policy, node, &request, waits, extents);
	if (err) {
		pool_forgo(pool, request.regions, more);
		file->promised -= more;
		return err;
	}
	file->promised -= gap.length;
	file_append_runs(runs, gap.offset, extents);
	return 0;
}

static int demand_fill(struct file *file, uint64_t from, uint64_t to, int mode)
{
	g_autoptr(GArray) gaps = g_array_new(FALSE, FALSE, sizeof(struct extent_gap));
	g_autoptr(GArray) runs = file_runs_new();
	uint64_t missing = 0;
	int err;

	/* Memory past the size is neither charged nor promised. ZERO_RANGE needs none: holes read zero. */
	if (to > file->size && !(mode & FALLOC_FL_ZERO_RANGE))
		return -EOPNOTSUPP;
	to = MIN(to, file->size);
	if (from >= to)
		return 0;
	err = file_demand_punched_locked(file, from, to);
	extent_map_gaps(file->map, file_unit_down(file, from), file_unit_up(file, to), gaps);
	for (guint i = 0; i < gaps->len; i++)
		missing += g_array_index(gaps, struct extent_gap, i).length;
	if (!err && missing && !may_have(file, missing))
		err = -ENOSPC;
	for (guint i = 0; i < gaps->len && !err; i++)
		err = take_promised(file, file->policy, NODE_UNKNOWN, g_array_index(gaps, struct extent_gap, i),
		                    file->unit, true, runs);
	if (!err && runs->len > 0)
		err = file_clean(file, runs);
	if (!err && runs->len > 0)
		err = file_commit_memory(file, runs, file->size);
	if (err)
		demand_free(file, runs);
	return err;
}

/* Takes @runs, which are no longer on record, from the object. Frees those that were taken to the pool. */
static void take_all(struct file *file, const GArray *runs)
{
	g_autoptr(GArray) taken = file_runs_new();

	for (guint i = 0; i < runs->len; i++) {
		struct extent_map_run run = g_array_index(runs, struct extent_map_run, i);
		int err = file->storage->ops->take(file->object, run.offset, run.extent.length);

		if (err)
			log_error("inode %" G_GUINT64_FORMAT ": %" G_GUINT64_FORMAT
			          " bytes are lost until the daemon starts again: %s",
			          file->ino, run.extent.length, g_strerror(-err));
		else
			g_array_append_val(taken, run);
	}
	CRASH_POINT("hole-taken");
	demand_free(file, taken);
	file_settle(file);
}

/* Deletes @runs from the record, then takes them from the object. */
static int remove_memory(struct file *file, const GArray *runs)
{
	int err;

	if (runs->len == 0)
		return 0;
	file_remove_from_map(file, runs);
	err = file_commit_removal(file, runs, file->size);
	CRASH_POINT("hole-committed");
	if (err)
		file_add_to_map(file, runs);
	else
		take_all(file, runs);
	return err;
}

static int demand_punch(struct file *file, uint64_t offset, uint64_t end)
{
	g_autoptr(GArray) runs = NULL;
	uint64_t first, last;
	int err = 0;

	end = MIN(end, file->size);
	if (offset >= end)
		return 0;
	/* Only whole units are freed. */
	first = file_unit_up(file, offset);
	last = end == file->size ? file_unit_up(file, end) : file_unit_down(file, end);
	if (first >= last)
		return file_zero(file, offset, end);
	runs = file_list_runs(file, first, last);
	err = remove_memory(file, runs);
	if (!err)
		err = file_zero(file, offset, first);
	return err ? err : file_zero(file, last, end);
}

const struct file_alloc_ops file_demand_ops = {
	.grow = demand_grow,
	.fill = demand_fill,
	.punch = demand_punch,
	.free = demand_free,
};

/* Is the run on record? Adjacent runs are merged in the map as in the object. */
static bool is_on_record(const struct file *file, const struct extent_map_run *run)
{
	struct extent_map_run found;
	uint64_t skipped;

	if (!extent_map_lookup(file->map, run->offset, &found) || found.offset > run->offset)
		return false;
	skipped = run->offset - found.offset;
	return found.extent.start + skipped == run->extent.start && run->extent.length <= found.extent.length - skipped;
}

int file_demand_punched_locked(struct file *file, uint64_t from, uint64_t to)
{
	const struct backend_ops *ops = file->storage->ops;
	g_autoptr(GArray) runs = file_runs_new();
	struct extent_map_run run;

	for (uint64_t at = from;
	     file->object && at < to && ops->next_punched(file->object, at, &run) && run.offset < to;
	     at = run.offset + run.extent.length) {
		/* Otherwise it was deleted from the record before, but could not be taken from the object then. */
		if (is_on_record(file, &run))
			g_array_append_val(runs, run);
	}
	if (runs->len > 0)
		CRASH_POINT("punched-found");
	return remove_memory(file, runs);
}

int file_demand_punched(struct file *file, uint64_t from, uint64_t to)
{
	int err;

	pthread_rwlock_wrlock(&file->lock);
	err = file_demand_punched_locked(file, from, to);
	pthread_rwlock_unlock(&file->lock);
	return err;
}

/* The policy of the file, else that of the mapping. "local" is the node of the thread that touched the memory. */
static const struct numa_policy *choose_policy(const struct file *file, const struct backend_fault *fault)
{
	if (file->policy || !fault->policy || !pool_has_nodes(file->storage->pool, fault->policy))
		return file->policy;
	return fault->policy;
}

/*
 * Takes memory for the largest page around the touched unit that is all a hole, and for which there is memory. Uses only
 * memory that was promised to this file, so that promises to other files hold. Does not wait for more, because the caller holds the
 * lock. @lacks: 0, or with -ENOSPC the regions whose memory would help.
 */
static int find_memory(struct file *file, const struct backend_fault *fault, struct extent_gap *gap, GArray *runs,
                       uint64_t *lacks)
{
	uint64_t end = file_unit_up(file, file->size), largest = MAX(file->storage->demand_extent, file->unit);
	const struct numa_policy *policy = choose_policy(file, fault);
	int err = 0;

	*lacks = 0;
	if (!file->demand)
		return -EIO;
	if (fault->offset >= end)
		return -EEXIST;
	if (!is_hole(file, fault->offset, fault->offset + 1))
		err = file_demand_punched_locked(file, fault->offset, fault->offset + file->unit);
	if (!err && !is_hole(file, fault->offset, fault->offset + 1))
		err = -EEXIST;
	if (err)
		return err;
	err = -ENOSPC;
	for (uint64_t length = largest; err == -ENOSPC && length >= file->unit; length /= 512) {
		*gap = (struct extent_gap){ fault->offset - fault->offset % length, length };
		if (gap->offset + length > end || !is_hole(file, gap->offset, gap->offset + length) ||
		    !may_have(file, length))
			continue;
		err = take_promised(file, policy, fault->node, *gap, length, false, runs);
		*lacks = err ? pool_regions_allowed(file->storage->pool, policy, file_regions(file)) : 0;
	}
	if (!err)
		file->inflight += gap->length;
	/* What is on its way may be for this hole. */
	else if (err == -ENOSPC && file->inflight && file->promised < file->unit)
		err = -EAGAIN;
	return err;
}

/* Gives @runs, which are zeroed unless @err is set, to @gap, and frees them on failure. -EAGAIN: @gap is no longer a hole. */
static int use_memory(struct file *file, struct extent_gap gap, GArray *runs, int err)
{
	uint64_t to = gap.offset + gap.length;

	file->inflight -= gap.length;
	if (!err &&
	    (to > file_unit_up(file, file->size) || !is_hole(file, gap.offset, to) || !may_have(file, gap.length)))
		err = -EAGAIN;
	if (!err)
		err = file_commit_memory(file, runs, file->size);
	if (err)
		demand_free(file, runs);
	file_settle_promise(file);
	return err;
}

int file_demand_fault(struct file *file, const struct backend_fault *fault, struct pool_wait *wait)
{
	uint64_t lacks = 0;
	int err = -EAGAIN;

	for (int i = 0; i < ATTEMPTS && err == -EAGAIN; i++) {
		g_autoptr(GArray) runs = file_runs_new();
		struct extent_gap gap;

		pthread_rwlock_wrlock(&file->lock);
		err = find_memory(file, fault, &gap, runs, &lacks);
		pthread_rwlock_unlock(&file->lock);
		if (err)
			break;
		err = file_clean(file, runs);
		pthread_rwlock_wrlock(&file->lock);
		err = use_memory(file, gap, runs, err);
		pthread_rwlock_unlock(&file->lock);
	}
	/* Without the lock: requests for the file shall not wait for its memory. */
	if (err == -ENOSPC && lacks)
		err = pool_await(file->storage->pool, lacks, file->unit, wait) ?: -EALREADY;
	return err == -EAGAIN ? -EEXIST : err;
}

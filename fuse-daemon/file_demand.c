// SPDX-License-Identifier: GPL-2.0-or-later
/* Files that get their memory as they are touched, and give it back when holes are punched. */
#include "file_demand.h"

#include <errno.h>
#include <linux/falloc.h>

#include "crash_point.h"
#include "file_internal.h"
#include "log.h"

/* How often a touch is tried again when others change the file meanwhile; then the toucher is asked to. */
#define ATTEMPTS 3

static uint64_t total(const GArray *runs)
{
	uint64_t bytes = 0;

	for (guint i = 0; i < runs->len; i++)
		bytes += g_array_index(runs, struct extent, i).length;
	return bytes;
}

bool file_demand_has_hole(const struct file *file, uint64_t from, uint64_t to)
{
	return extent_map_next_hole(file->map, from) < to;
}

static bool is_hole(const struct file *file, uint64_t from, uint64_t to)
{
	return extent_map_next_data(file->map, from) >= to;
}

void file_settle_promise(struct file *file)
{
	struct placement *placement = file->storage->placement;
	uint64_t all = file->demand ? file_unit_up(file, file->size) : 0;
	uint64_t wanted = all - MIN(all, extent_map_bytes(file->map) + file->inflight);

	if (file->promised > wanted)
		placement_forgo(placement, file->promised - wanted);
	else if (file->promised < wanted)
		placement_restore_promise(placement, wanted - file->promised);
	file->promised = wanted;
}

void file_free_promised(struct file *file, const GArray *runs)
{
	file->promised += total(runs);
	placement_free_promised(file->storage->placement, (const struct extent *)runs->data, runs->len);
}

int file_demand_grow(struct file *file, uint64_t size)
{
	const struct storage *storage = file->storage;
	uint64_t more = file_unit_up(file, size) - file_unit_up(file, file->size);
	int err = file_unit_up(file, size) > INT64_MAX ? -EFBIG : file_need_object(file);

	if (!err)
		err = quota_charge(storage->quotas, &file->account, more);
	if (err)
		return err;
	err = placement_promise(storage->placement, more);
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

/* Memory for [offset, offset + length), promised before, in pieces of @unit. */
static int take_promised(struct file *file, const struct node_policy *policy, int node, struct extent_gap gap,
                         uint64_t unit, GArray *runs)
{
	const struct allocator_request request = {
		.length = gap.length,
		.unit = unit,
		.file_offset = gap.offset,
		.hint = ALLOCATOR_NO_HINT,
		.regions = ALLOCATOR_ANY_REGION,
	};
	int err = placement_alloc_promised(file->storage->placement, policy, node, &request, runs);

	if (!err)
		file->promised -= gap.length;
	return err;
}

/* The whole of [from, to), which is inside the size. */
static int fill(struct file *file, uint64_t from, uint64_t to)
{
	g_autoptr(GArray) gaps = g_array_new(FALSE, FALSE, sizeof(struct extent_gap));
	g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof(struct extent));
	bool keep = false;
	int err = file_demand_punched_locked(file, from, to);

	from = file_unit_down(file, from);
	to = file_unit_up(file, to);
	extent_map_gaps(file->map, from, to, gaps);
	for (guint i = 0; i < gaps->len && !err; i++)
		err = take_promised(file, file->policy, NODE_UNKNOWN, g_array_index(gaps, struct extent_gap, i), file->unit,
		                    runs);
	if (!err && gaps->len > 0)
		err = file_clean(file, runs);
	if (!err && gaps->len > 0)
		err = file_commit_memory(file, from, to, file->size, gaps, runs, &keep);
	if (err && !keep)
		file_free_promised(file, runs);
	return err;
}

/* Grows the file if need be, and gives memory to the range; all or nothing. */
static int make_ready(struct file *file, uint64_t offset, uint64_t end)
{
	uint64_t old_size = file->size;
	int err = end > old_size ? file_demand_grow(file, end) : 0;

	if (err)
		return err;
	err = fill(file, offset, end);
	if (err && end > old_size)
		file_shrink(file, old_size);
	return err;
}

ssize_t file_demand_write(struct file *file, const void *data, size_t length, uint64_t offset)
{
	ssize_t done = -ENOSPC;

	/* Processes may punch what was just filled. */
	for (int i = 0; i < ATTEMPTS && done == -ENOSPC; i++) {
		int err = make_ready(file, offset, offset + length);

		if (err)
			return err;
		done = file->storage->ops->write(file->object, data, length, offset);
	}
	return done;
}

int file_demand_allocate(struct file *file, int mode, uint64_t offset, uint64_t end)
{
	int err = 0;

	if ((mode & FALLOC_FL_KEEP_SIZE) && end > file->size) {
		/* Memory past the size would not be in what was charged and promised. */
		if (!(mode & FALLOC_FL_ZERO_RANGE))
			return -EOPNOTSUPP;
		end = file->size;
	}
	if (offset < end)
		err = make_ready(file, offset, end);
	if (!err && (mode & FALLOC_FL_ZERO_RANGE))
		err = file_zero(file, offset, end);
	return err;
}

/* Takes the parts from the object. The pool gets those of @runs that are. */
static void take_all(struct file *file, const GArray *gaps, const GArray *runs)
{
	g_autoptr(GArray) taken = g_array_new(FALSE, FALSE, sizeof(struct extent));

	for (guint i = 0; i < gaps->len; i++) {
		const struct extent_gap *gap = &g_array_index(gaps, struct extent_gap, i);
		struct extent run = g_array_index(runs, struct extent, i);
		int err = file->storage->ops->take(file->object, gap->offset, gap->length);

		if (err)
			log_error("inode %" G_GUINT64_FORMAT ": %" G_GUINT64_FORMAT " bytes are lost until the daemon starts again: %s",
			          file->ino, gap->length, g_strerror(-err));
		else
			g_array_append_val(taken, run);
	}
	CRASH_POINT("hole-taken");
	file_free_promised(file, taken);
	file_settle(file);
}

/* Takes the parts, all in [from, to), off the record and then from the object. */
static int remove_memory(struct file *file, uint64_t from, uint64_t to, const GArray *gaps, const GArray *runs)
{
	int err;

	file_remove_gaps(file, gaps);
	err = file_commit_extents(file, from, to, file->size);
	CRASH_POINT("hole-committed");
	if (err)
		file_add_to_map(file, gaps, runs);
	else
		take_all(file, gaps, runs);
	return err;
}

/* Whole units. */
static int give_back(struct file *file, uint64_t from, uint64_t to)
{
	g_autoptr(GArray) gaps = g_array_new(FALSE, FALSE, sizeof(struct extent_gap));
	g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof(struct extent));

	file_list_memory(file, from, to, gaps, runs);
	return gaps->len > 0 ? remove_memory(file, from, to, gaps, runs) : 0;
}

int file_demand_punch(struct file *file, uint64_t offset, uint64_t end)
{
	uint64_t first, last;
	int err = 0;

	end = MIN(end, file->size);
	if (offset >= end)
		return 0;
	first = file_unit_up(file, offset);
	last = end == file->size ? file_unit_up(file, end) : file_unit_down(file, end);
	if (first >= last)
		return file_zero(file, offset, end);
	err = give_back(file, first, last);
	if (!err)
		err = file_zero(file, offset, first);
	return err ? err : file_zero(file, last, end);
}

/* Is the run on record? Neighbours that continue each other are one here and in the object. */
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
	g_autoptr(GArray) gaps = g_array_new(FALSE, FALSE, sizeof(struct extent_gap));
	g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof(struct extent));
	const struct extent_gap *last;
	struct extent_map_run run;

	for (uint64_t at = from; file->object && at < to && ops->next_punched(file->object, at, &run) && run.offset < to;
	     at = run.offset + run.extent.length) {
		struct extent_gap gap = { run.offset, run.extent.length };

		/* Else it was taken off the record before, and could not be taken from the object then. */
		if (is_on_record(file, &run)) {
			g_array_append_val(gaps, gap);
			g_array_append_val(runs, run.extent);
		}
	}
	if (gaps->len == 0)
		return 0;
	CRASH_POINT("punched-found");
	last = &g_array_index(gaps, struct extent_gap, gaps->len - 1);
	return remove_memory(file, g_array_index(gaps, struct extent_gap, 0).offset, last->offset + last->length, gaps, runs);
}

int file_demand_punched(struct file *file, uint64_t from, uint64_t to)
{
	int err;

	pthread_rwlock_wrlock(&file->lock);
	err = file_demand_punched_locked(file, from, to);
	pthread_rwlock_unlock(&file->lock);
	return err;
}

/* The mapping's policy stands in where the file has none; "local" is where the toucher runs. */
static const struct node_policy *choose_policy(const struct file *file, const struct backend_fault *fault)
{
	if (file->policy || !fault->policy || !placement_has_nodes(file->storage->placement, fault->policy))
		return file->policy;
	return fault->policy;
}

/*
 * The largest page that is a hole around the touched unit, and that memory can be had for. A touch of less than all the
 * file's memory leaves the others' promises whole: what it takes, it was promised.
 */
static int find_memory(struct file *file, const struct backend_fault *fault, struct extent_gap *gap, GArray *runs)
{
	uint64_t end = file_unit_up(file, file->size), largest = MAX(file->storage->demand_extent, file->unit);
	int err = 0;

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
		if (gap->offset + length <= end && is_hole(file, gap->offset, gap->offset + length))
			err = take_promised(file, choose_policy(file, fault), fault->node, *gap, length, runs);
	}
	if (!err)
		file->inflight += gap->length;
	return err;
}

/* @runs are zeroed (or @err says why not). -EAGAIN: the hole is none any more. */
static int use_memory(struct file *file, const struct extent_gap *gap, const GArray *runs, int err)
{
	g_autoptr(GArray) gaps = g_array_new(FALSE, FALSE, sizeof(struct extent_gap));
	uint64_t to = gap->offset + gap->length;
	bool keep = false;

	file->inflight -= gap->length;
	if (!err && (to > file_unit_up(file, file->size) || !is_hole(file, gap->offset, to)))
		err = -EAGAIN;
	if (!err) {
		g_array_append_val(gaps, *gap);
		err = file_commit_memory(file, gap->offset, to, file->size, gaps, runs, &keep);
	}
	if (err && !keep)
		file_free_promised(file, runs);
	file_settle_promise(file);
	return err;
}

int file_demand_fault(struct file *file, const struct backend_fault *fault)
{
	int err = -EAGAIN;

	for (int i = 0; i < ATTEMPTS && err == -EAGAIN; i++) {
		g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof(struct extent));
		struct extent_gap gap;

		pthread_rwlock_wrlock(&file->lock);
		err = find_memory(file, fault, &gap, runs);
		pthread_rwlock_unlock(&file->lock);
		if (err)
			break;
		err = file_clean(file, runs);
		pthread_rwlock_wrlock(&file->lock);
		err = use_memory(file, &gap, runs, err);
		pthread_rwlock_unlock(&file->lock);
	}
	return err == -EAGAIN ? -EEXIST : err;
}

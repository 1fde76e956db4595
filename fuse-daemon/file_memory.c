// SPDX-License-Identifier: GPL-2.0-or-later
/* How a file gets memory and loses it: from the pool, through the record, into the object, and back. */
#include <errno.h>

#include "crash_point.h"
#include "file_demand.h"
#include "file_internal.h"
#include "log.h"
#include "placement_clean.h"
#include "zeroer.h"

int file_need_object(struct file *file)
{
	int err;

	if (file->object)
		return 0;
	err = file->storage->ops->create(file->storage->backend, file->ino, &file->object);
	if (err)
		return err;
	/* A new one has neither. */
	err = file->demand || file->discard ? file_apply_mode(file) : 0;
	if (err) {
		file->storage->ops->drop(file->object);
		file->object = NULL;
	}
	return err;
}

/* Memory for one gap in the file, in as few runs as can be had. */
static int allocate_gap(struct file *file, const struct extent_gap *gap, GArray *runs)
{
	struct extent_map_run before;
	struct allocator_request request = {
		.length = gap->length,
		.unit = file->unit,
		.file_offset = gap->offset,
		.hint = ALLOCATOR_NO_HINT,
		.regions = ALLOCATOR_ANY_REGION,
	};

	if (gap->offset > 0 && extent_map_lookup(file->map, gap->offset - 1, &before) && before.offset < gap->offset)
		request.hint = before.extent.start + before.extent.length;
	return placement_alloc(file->storage->placement, file->policy, &request, runs);
}

/* Takes what give_runs() gave to @gaps back from the object, as far as it got: @given bytes. */
static void take_back(struct file *file, const GArray *gaps, uint64_t given)
{
	for (guint i = 0; i < gaps->len && given > 0; i++) {
		const struct extent_gap *gap = &g_array_index(gaps, struct extent_gap, i);
		uint64_t length = MIN(gap->length, given);

		file->storage->ops->take(file->object, gap->offset, length);
		given -= length;
	}
}

/* Hands @runs to the object: they fill @gaps exactly, in order. */
static int give_runs(struct file *file, const GArray *gaps, const GArray *runs)
{
	uint64_t given = 0;
	guint next = 0;

	for (guint i = 0; i < gaps->len; i++) {
		const struct extent_gap *gap = &g_array_index(gaps, struct extent_gap, i);

		for (uint64_t done = 0; done < gap->length; next++) {
			struct extent run = g_array_index(runs, struct extent, next);
			int err = file->storage->ops->give(file->object, gap->offset + done, run);

			if (err) {
				take_back(file, gaps, given);
				return err;
			}
			done += run.length;
			given += run.length;
		}
	}
	return 0;
}

void file_add_to_map(struct file *file, const GArray *gaps, const GArray *runs)
{
	guint next = 0;

	for (guint i = 0; i < gaps->len; i++) {
		const struct extent_gap *gap = &g_array_index(gaps, struct extent_gap, i);

		for (uint64_t done = 0; done < gap->length; next++) {
			struct extent run = g_array_index(runs, struct extent, next);

			extent_map_insert(file->map, gap->offset + done, run);
			done += run.length;
		}
	}
	atomic_store_explicit(&file->allocated, extent_map_bytes(file->map), memory_order_relaxed);
}

void file_list_memory(const struct file *file, uint64_t from, uint64_t to, GArray *gaps, GArray *runs)
{
	struct extent_map_run run;

	for (uint64_t at = from; extent_map_lookup(file->map, at, &run) && run.offset < to;
	     at = run.offset + run.extent.length) {
		uint64_t first = MAX(run.offset, from);
		uint64_t length = MIN(run.offset + run.extent.length, to) - first;
		struct extent_gap gap = { first, length };
		struct extent extent = { run.extent.start + (first - run.offset), length };

		g_array_append_val(gaps, gap);
		g_array_append_val(runs, extent);
	}
}

/* Makes the record of [from, to) what the map says: runs there, cut or grown by the change, are written whole. */
static void put_extents(struct file *file, uint64_t from, uint64_t to)
{
	struct store *store = file->storage->store;
	struct extent_map_run run;

	store_delete_extents(store, file->ino, from, to);
	if (from > 0 && extent_map_lookup(file->map, from - 1, &run) && run.offset < from)
		store_put_extent(store, file->ino, &run);
	for (uint64_t at = from; extent_map_lookup(file->map, at, &run) && run.offset < to;
	     at = run.offset + run.extent.length)
		store_put_extent(store, file->ino, &run);
	if (extent_map_lookup(file->map, to, &run) && run.offset <= to)
		store_put_extent(store, file->ino, &run);
}

int file_commit_extents(struct file *file, uint64_t from, uint64_t to, uint64_t size)
{
	struct store *store = file->storage->store;

	store_begin(store);
	put_extents(file, from, to);
	store_put_size(store, file->ino, size);
	return store_commit(store);
}

void file_remove_gaps(struct file *file, const GArray *gaps)
{
	g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof(struct extent));

	/* The last one first: what is behind a run moves when it goes. */
	for (guint i = gaps->len; i-- > 0;) {
		const struct extent_gap *gap = &g_array_index(gaps, struct extent_gap, i);

		extent_map_remove(file->map, gap->offset, gap->length, runs);
	}
	atomic_store_explicit(&file->allocated, extent_map_bytes(file->map), memory_order_relaxed);
}

int file_clean(struct file *file, const GArray *runs)
{
	return zeroer_clean(file->storage->zeroer, (const struct extent *)runs->data, runs->len);
}

/* Allocate = commit, then module; zeroed before the commit, so that what is on record never needs it again. */
int file_commit_memory(struct file *file, uint64_t from, uint64_t to, uint64_t size, const GArray *gaps,
                       const GArray *runs, bool *keep)
{
	int err;

	*keep = false;
	CRASH_POINT("cleaned");
	file_add_to_map(file, gaps, runs);
	err = file_commit_extents(file, from, to, size);
	if (err) {
		file_remove_gaps(file, gaps);
		return err;
	}
	CRASH_POINT("extents-committed");
	err = give_runs(file, gaps, runs);
	CRASH_POINT("extents-given");
	if (!err)
		return 0;
	file_remove_gaps(file, gaps);
	if (file_commit_extents(file, from, to, file->size) < 0) {
		/* Still the file's on record, so nobody else's until the file goes. */
		file_add_to_map(file, gaps, runs);
		*keep = true;
	}
	return err;
}

/* On failure @runs are free again. */
static int take_memory(struct file *file, uint64_t from, uint64_t to, uint64_t size, const GArray *gaps,
                       const GArray *runs)
{
	bool keep = false;
	int err = file_clean(file, runs);

	if (!err)
		err = file_commit_memory(file, from, to, size, gaps, runs, &keep);
	if (err && !keep)
		placement_free(file->storage->placement, (const struct extent *)runs->data, runs->len);
	return err;
}

/* @gaps are charged already. */
static int fill_gaps(struct file *file, uint64_t from, uint64_t to, uint64_t size, const GArray *gaps)
{
	g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof(struct extent));
	int err = 0;

	for (guint i = 0; i < gaps->len && !err; i++)
		err = allocate_gap(file, &g_array_index(gaps, struct extent_gap, i), runs);
	/* The last unit may reach past the largest file, where neither the map nor the backend has a place for it. */
	if (!err && to > INT64_MAX)
		err = -EFBIG;
	if (err) {
		placement_free_unused(file->storage->placement, (const struct extent *)runs->data, runs->len);
		return err;
	}
	return take_memory(file, from, to, size, gaps, runs);
}

/* What is charged and did not become the file's, or is no longer, is given back. */
void file_settle(struct file *file)
{
	quota_settle(file->storage->quotas, &file->account, file_charged(file));
	file_settle_promise(file);
}

int file_need_memory(struct file *file, uint64_t from, uint64_t to, uint64_t size)
{
	g_autoptr(GArray) gaps = g_array_new(FALSE, FALSE, sizeof(struct extent_gap));
	uint64_t missing = 0;
	int err = file_need_object(file);

	if (err)
		return err;
	from = file_unit_down(file, from);
	to = file_unit_up(file, to);
	extent_map_gaps(file->map, from, to, gaps);
	if (gaps->len == 0 && size == file->size)
		return 0;
	for (guint i = 0; i < gaps->len; i++)
		missing += g_array_index(gaps, struct extent_gap, i).length;
	err = quota_charge(file->storage->quotas, &file->account, missing);
	if (err)
		return err;
	err = fill_gaps(file, from, to, size, gaps);
	if (err)
		file_settle(file);
	return err;
}

bool file_renew(struct file *file)
{
	struct store *store = file->storage->store;
	const struct extent_gap all = { 0, file_unit_up(file, file->size) };
	g_autoptr(GArray) gaps = g_array_new(FALSE, FALSE, sizeof(struct extent_gap));
	g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof(struct extent));
	bool enough = all.length == 0 || file->demand || allocate_gap(file, &all, runs) == 0;

	store_delete_extents(store, file->ino, 0, UINT64_MAX);
	if (all.length == 0 || file->demand)
		return true;
	if (enough) {
		g_array_append_val(gaps, all);
		file_add_to_map(file, gaps, runs);
		put_extents(file, 0, all.length);
		file->renewed = true;
	} else {
		file_restore(file, 0);
		store_put_size(store, file->ino, 0);
	}
	return enough;
}

static int set_size(struct file *file, uint64_t size)
{
	uint64_t kept = MIN(extent_map_end(file->map), file_unit_up(file, size));
	int err = file->storage->ops->resize(file->object, file->size, size, kept);

	if (!err)
		atomic_store_explicit(&file->size, size, memory_order_relaxed);
	return err;
}

int file_set_recorded_size(struct file *file, uint64_t size)
{
	struct store *store = file->storage->store;
	int err = set_size(file, size);

	if (err) {
		store_begin(store);
		store_put_size(store, file->ino, file->size);
		store_commit(store);
	}
	return err;
}

int file_grow(struct file *file, uint64_t size)
{
	if (file->demand)
		return file_demand_grow(file, size);

	int err = file_need_memory(file, file->size, size, size);

	return err ? err : file_set_recorded_size(file, size);
}

/*
 * Free = commit, then module, then the pool: whoever dies in between leaves memory in the module that is on no record, and the
 * next daemon takes it away before anybody else can have it. The size comes after the memory: what is left then is the last
 * unit, whose rest is to be zeroed.
 */
int file_shrink(struct file *file, uint64_t size)
{
	g_autoptr(GArray) gaps = g_array_new(FALSE, FALSE, sizeof(struct extent_gap));
	g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof(struct extent));
	uint64_t from = file_unit_up(file, size), end = extent_map_end(file->map);
	int err;

	if (!file->object || (size == file->size && end <= from))
		return 0;
	file_list_memory(file, from, UINT64_MAX, gaps, runs);
	file_remove_gaps(file, gaps);
	err = file_commit_extents(file, from, MAX(end, from), size);
	CRASH_POINT("shrunk");
	if (err) {
		file_add_to_map(file, gaps, runs);
		return err;
	}
	if (end > from)
		err = file->storage->ops->take(file->object, from, end - from);
	CRASH_POINT("memory-taken");
	if (!err)
		err = set_size(file, size);
	CRASH_POINT("resized");
	if (err) { /* the module's: the memory stays the file's */
		file_add_to_map(file, gaps, runs);
		if (give_runs(file, gaps, runs) < 0 || file_commit_extents(file, from, MAX(end, from), file->size) < 0)
			log_error("inode %" G_GUINT64_FORMAT ": has other memory than on record until the daemon starts again", file->ino);
		return err;
	}
	if (file->demand) /* some of it may be for the size that is left: file_settle() sees to the difference */
		file_free_promised(file, runs);
	else
		placement_free(file->storage->placement, (const struct extent *)runs->data, runs->len);
	file_settle(file);
	return 0;
}

void file_restore(struct file *file, uint64_t size)
{
	file->restored = true;
	atomic_store_explicit(&file->size, size, memory_order_relaxed);
}

bool file_restore_extent(struct file *file, struct extent_map_run run)
{
	if (!placement_claim(file->storage->placement, run.extent))
		return false;
	while ((run.offset | run.extent.start | run.extent.length) % file->unit)
		file->unit = file->unit == DMEMFS_PAGE_1G ? DMEMFS_PAGE_2M : DMEMFS_PAGE_4K;
	extent_map_insert(file->map, run.offset, run.extent);
	atomic_store_explicit(&file->allocated, extent_map_bytes(file->map), memory_order_relaxed);
	return true;
}

static GArray *all_runs(const struct file *file)
{
	GArray *runs = g_array_new(FALSE, FALSE, sizeof(struct extent_map_run));
	struct extent_map_run run;

	for (uint64_t at = 0; extent_map_lookup(file->map, at, &run); at = run.offset + run.extent.length)
		g_array_append_val(runs, run);
	return runs;
}

int file_attach(struct file *file)
{
	const struct storage *storage = file->storage;
	g_autoptr(GArray) runs = all_runs(file);
	int err = 0;

	for (guint i = 0; i < runs->len && file->renewed && !err; i++)
		err = zeroer_clean(storage->zeroer, &g_array_index(runs, struct extent_map_run, i).extent, 1);
	if (err)
		return err;
	file->renewed = false;
	err = storage->ops->attach(storage->backend, file->ino, (const struct extent_map_run *)runs->data, runs->len,
	                               file->size, &file->object);
	if (!err)
		err = file_demand_attach(file);
	return err;
}

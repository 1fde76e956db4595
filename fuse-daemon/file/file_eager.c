// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Eager allocation: a file gets memory when it grows, so that all of [0, size) has memory. Punching a hole zeroes the memory
 * and keeps it, because a later touch might find none. The quota tree is charged for the memory.
 */
#include <errno.h>

#include "file/file_internal.h"
#include "pool/pool_clean.h"

int file_eager_alloc(struct file *file, uint64_t offset, uint64_t length, GArray *runs)
{
	g_autoptr(GArray) extents = g_array_new(FALSE, FALSE, sizeof(struct extent));
	struct extent_map_run before;
	struct allocator_request request = {
		.length = length,
		.unit = file->unit,
		.file_offset = offset,
		.hint = ALLOCATOR_NO_HINT,
		.regions = file_regions(file),
	};
	int err;

	if (offset > 0 && extent_map_lookup(file->map, offset - 1, &before) && before.offset < offset)
		request.hint = before.extent.start + before.extent.length;
	err = pool_alloc(file->storage->pool, file->policy, &request, extents);
	if (!err)
		file_append_runs(runs, offset, extents);
	return err;
}

static void eager_free(struct file *file, const GArray *runs)
{
	g_autoptr(GArray) extents = file_extents(runs);

	file_leave_pinned(file, extents);
	pool_free(file->storage->pool, (const struct extent *)extents->data, extents->len);
}

static int fill_gaps(struct file *file, const GArray *gaps, uint64_t to, uint64_t size)
{
	g_autoptr(GArray) runs = file_runs_new();
	int err = 0;

	for (guint i = 0; i < gaps->len && !err; i++) {
		const struct extent_gap *gap = &g_array_index(gaps, struct extent_gap, i);

		err = file_eager_alloc(file, gap->offset, gap->length, runs);
	}
	/* The last unit may end past the largest offset, which neither the map nor the backend can represent. */
	if (!err && to > INT64_MAX)
		err = -EFBIG;
	if (err) {
		g_autoptr(GArray) extents = file_extents(runs);

		pool_free_unused(file->storage->pool, (const struct extent *)extents->data, extents->len);
		return err;
	}
	err = file_clean(file, runs);
	if (!err)
		err = file_commit_memory(file, runs, size);
	if (err)
		eager_free(file, runs);
	return err;
}

/* Gives memory to all units of [from, to), and records @size. */
static int need_memory(struct file *file, uint64_t from, uint64_t to, uint64_t size)
{
	g_autoptr(GArray) gaps = g_array_new(FALSE, FALSE, sizeof(struct extent_gap));
	uint64_t missing = 0;
	int err = file_need_object(file);

	if (err)
		return err;
	to = file_unit_up(file, to);
	extent_map_gaps(file->map, file_unit_down(file, from), to, gaps);
	if (gaps->len == 0 && size == file->size)
		return 0;
	for (guint i = 0; i < gaps->len; i++)
		missing += g_array_index(gaps, struct extent_gap, i).length;
	err = quota_charge(file->storage->quotas, &file->account, missing);
	if (err)
		return err;
	err = fill_gaps(file, gaps, to, size);
	if (err)
		file_settle(file);
	return err;
}

static int eager_grow(struct file *file, uint64_t size)
{
	int err = need_memory(file, file->size, size, size);

	return err ? err : file_set_recorded_size(file, size);
}

static int eager_fill(struct file *file, uint64_t from, uint64_t to, int mode)
{
	(void)mode;
	return need_memory(file, from, to, file->size);
}

/* The largest size that free memory and the quota allow. */
static uint64_t eager_reach(struct file *file)
{
	const struct storage *storage = file->storage;
	uint64_t allowed = file_unit_down(file, quota_room(storage->quotas, &file->account));
	uint64_t there = pool_available(storage->pool, file->policy, file_regions(file), file->unit);

	return extent_map_end(file->map) + MIN(there, allowed);
}

const struct file_alloc_ops file_eager_ops = {
	.grow = eager_grow,
	.fill = eager_fill,
	.punch = file_zero,
	.free = eager_free,
	.reach = eager_reach,
};

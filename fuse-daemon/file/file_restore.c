// SPDX-License-Identifier: GPL-2.0-or-later
/* Loads a file from the record at the start of the daemon. Takes no lock: no other thread uses the file yet. */
#include <errno.h>

#include "file/file_internal.h"

void file_restore(struct file *file, uint64_t size)
{
	file->restored = true;
	/* Files of earlier versions have no order on record: no memory had struct pages. */
	file->order = PAGE_ORDER_NONE;
	atomic_store_explicit(&file->size, size, memory_order_relaxed);
}

int file_restore_extent(struct file *file, struct extent_map_run run)
{
	unsigned order = pool_order_at(file->storage->pool, run.extent.start);
	g_autoptr(GArray) runs = file_runs_new();

	if (!pool_claim(file->storage->pool, run.extent))
		return -EBUSY;
	while ((run.offset | run.extent.start | run.extent.length) % file->unit)
		file->unit = file->unit == DMEMFS_PAGE_1G ? DMEMFS_PAGE_2M : DMEMFS_PAGE_4K;
	if (extent_map_bytes(file->map) == 0) {
		file->other_pages = order != file->order;
		file->order = order;
	}
	if (order != file->order || file->unit % page_order_bytes(order))
		return -EINVAL;
	g_array_append_val(runs, run);
	file_add_to_map(file, runs);
	return 0;
}

bool file_restore_pages(struct file *file, bool may_change)
{
	const struct storage *storage = file->storage;

	if (may_change && extent_map_bytes(file->map) == 0 &&
	    (!file->has_pages || !pool_regions_of(storage->pool, file->order))) {
		file->other_pages = file->order != storage->order;
		file->order = storage->order;
	}
	file->unit = MAX(file->unit, page_order_bytes(file->order));
	return file->other_pages;
}

bool file_renew(struct file *file)
{
	struct store *store = file->storage->store;
	uint64_t all = file->demand ? 0 : file_unit_up(file, file->size);
	g_autoptr(GArray) runs = file_runs_new();

	store_delete_extents(store, file->ino, 0, UINT64_MAX);
	if (all == 0)
		return true;
	if (file_eager_alloc(file, 0, all, runs) < 0) {
		atomic_store_explicit(&file->size, 0, memory_order_relaxed);
		store_put_size(store, file->ino, 0);
		return false;
	}
	file_add_to_map(file, runs);
	file_put_extents(file, 0, all);
	file->renewed = true;
	return true;
}

int file_attach(struct file *file)
{
	const struct storage *storage = file->storage;
	const struct object_kind kind = file_kind(file);
	g_autoptr(GArray) runs = file_list_runs(file, 0, UINT64_MAX);
	int err = file->renewed ? file_clean(file, runs) : 0;

	if (err)
		return err;
	file->renewed = false;
	err = storage->ops->attach(storage->backend, file->ino, &kind, (const struct extent_map_run *)runs->data,
	                           runs->len, file->size, &file->object);
	if (!err)
		err = file_apply_alloc(file);
	if (!err && file->demand)
		err = file_demand_punched_locked(file, 0, INT64_MAX);
	/* Also of a removed file, whose object cannot be attached: processes may still map it, and touch its holes. */
	file_settle_promise(file);
	return err;
}

void file_restore_pinned(struct file *file)
{
	struct quotas *quotas = file->storage->quotas;

	file->pinned = pool_pinned_bytes(file->storage->pool, file->ino);
	quota_assign(quotas, &file->account, quota_tree_of(quotas, &file->account), file_charged(file));
	file_settle_promise(file);
}

void file_inherit(struct file *file, int backing_id)
{
	file->backing_id = backing_id;
}

int file_backing_id(const struct file *file)
{
	return file->backing_id;
}

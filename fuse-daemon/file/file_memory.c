// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Owns size, map and object of a file: changes the map, the record and the object in the order that file.h describes.
 * file_eager.c and file_demand.c get the memory from the pool.
 */
#include <errno.h>

#include "base/crash_point.h"
#include "base/log.h"
#include "file/file_internal.h"
#include "file/pins.h"
#include "file/zeroer.h"

struct file *file_new(const struct storage *storage, uint64_t ino)
{
	struct file *file = g_new0(struct file, 1);

	file->storage = storage;
	file->ino = ino;
	file->unit = storage->page_size;
	file->order = storage->order;
	file->map = extent_map_new();
	pthread_rwlock_init(&file->lock, NULL);
	return file;
}

void file_release(struct file *file)
{
	if (file->object)
		file->storage->ops->release(file->object);
	extent_map_destroy(file->map);
	numa_policy_unref(file->policy);
	g_free(file->last_name);
	pthread_rwlock_destroy(&file->lock);
	g_free(file);
}

uint64_t file_unit(const struct file *file)
{
	return file->unit;
}

void file_set_unit(struct file *file, uint64_t unit)
{
	file->unit = unit;
}

unsigned file_order(const struct file *file)
{
	return file->order;
}

void file_set_order(struct file *file, unsigned order)
{
	file->order = order;
	file->has_pages = true;
	file->unit = MAX(file->unit, page_order_bytes(order));
}

void file_note_name(struct file *file, const char *name)
{
	/* Only memory with compound pages can be held. Files without memory could take any amount of the daemon's for names. */
	if (!file->last_name && file->order != PAGE_ORDER_NONE && file_allocated(file) + file->pinned > 0)
		file->last_name = g_strndup(name, sizeof(((struct pool_user *)NULL)->name) - 1);
}

struct pool_user file_last_user(const struct file *file)
{
	struct pool_user last = {
		.ino = file->ino,
		.pid = atomic_load_explicit(&file->opener, memory_order_relaxed),
	};
	const char *name = file->last_name;

	g_strlcpy(last.name, name ? name : "", sizeof(last.name));
	return last;
}

void file_leave_pinned(struct file *file, GArray *extents)
{
	const struct pool_user last = file_last_user(file);
	uint64_t before = extents_bytes(extents);

	pins_check(file->storage, &last, file->gave_up, extents);
	file->pinned += before - extents_bytes(extents);
}

void file_unpinned(struct file *file, const struct unpinned *memory)
{
	struct pool *pool = file->storage->pool;

	pthread_rwlock_wrlock(&file->lock);
	file->pinned -= MIN(memory->bytes, file->pinned);
	if (memory->order == file->order)
		file->promised += memory->promised;
	else
		pool_forgo(pool, pool_regions_of(pool, memory->order), memory->promised);
	file_settle(file);
	pthread_rwlock_unlock(&file->lock);
}

struct quota_account *file_account(struct file *file)
{
	return &file->account;
}

uint64_t file_size(const struct file *file)
{
	return atomic_load_explicit(&file->size, memory_order_relaxed);
}

uint64_t file_allocated(const struct file *file)
{
	return atomic_load_explicit(&file->allocated, memory_order_relaxed);
}

uint64_t file_charged(const struct file *file)
{
	uint64_t all = file_unit_up(file, file_size(file));
	uint64_t held = file_allocated(file) + atomic_load_explicit(&file->pinned, memory_order_relaxed);

	return file->demand ? MAX(all, held) : held;
}

void file_settle_promise(struct file *file)
{
	struct pool *pool = file->storage->pool;
	uint64_t all = file->demand ? file_unit_up(file, file->size) : 0;
	uint64_t wanted = all - MIN(all, extent_map_bytes(file->map) + file->inflight + file->pinned);

	if (file->promised > wanted)
		pool_forgo(pool, file_regions(file), file->promised - wanted);
	else if (file->promised < wanted)
		pool_restore_promise(pool, file_regions(file), wanted - file->promised);
	file->promised = wanted;
}

void file_settle(struct file *file)
{
	quota_settle(file->storage->quotas, &file->account, file_charged(file));
	file_settle_promise(file);
}

struct object_kind file_kind(const struct file *file)
{
	return (struct object_kind){
		.mode = (file->demand ? BACKEND_DEMAND : 0u) | (file->discard ? BACKEND_DISCARD : 0u),
		.unit = file->unit,
		.order = file->order,
	};
}

int file_apply_alloc(struct file *file)
{
	const struct object_kind kind = file_kind(file);
	const struct backend_ops *ops = file->storage->ops;

	return file->object && ops->set_mode ? ops->set_mode(file->object, &kind) : 0;
}

int file_need_object(struct file *file)
{
	const struct object_kind kind = file_kind(file);

	if (file->object)
		return 0;
	return file->storage->ops->create(file->storage->backend, file->ino, &kind, &file->object);
}

static const struct extent_map_run *run_at(const GArray *runs, guint i)
{
	return &g_array_index(runs, struct extent_map_run, i);
}

GArray *file_runs_new(void)
{
	return g_array_new(FALSE, FALSE, sizeof(struct extent_map_run));
}

GArray *file_list_runs(const struct file *file, uint64_t from, uint64_t to)
{
	GArray *runs = file_runs_new();
	struct extent_map_run run;

	for (uint64_t at = from; at < to && extent_map_lookup(file->map, at, &run) && run.offset < to;
	     at = run.offset + run.extent.length) {
		uint64_t first = MAX(run.offset, from);
		uint64_t length = MIN(run.offset + run.extent.length, to) - first;
		struct extent_map_run part = { first, { run.extent.start + (first - run.offset), length } };

		g_array_append_val(runs, part);
	}
	return runs;
}

void file_append_runs(GArray *runs, uint64_t offset, const GArray *extents)
{
	for (guint i = 0; i < extents->len; i++) {
		struct extent_map_run run = { offset, g_array_index(extents, struct extent, i) };

		g_array_append_val(runs, run);
		offset += run.extent.length;
	}
}

GArray *file_extents(const GArray *runs)
{
	GArray *extents = g_array_sized_new(FALSE, FALSE, sizeof(struct extent), runs->len);

	for (guint i = 0; i < runs->len; i++)
		g_array_append_val(extents, run_at(runs, i)->extent);
	return extents;
}

static void count_allocated(struct file *file)
{
	atomic_store_explicit(&file->allocated, extent_map_bytes(file->map), memory_order_relaxed);
}

void file_add_to_map(struct file *file, const GArray *runs)
{
	for (guint i = 0; i < runs->len; i++)
		extent_map_insert(file->map, run_at(runs, i)->offset, run_at(runs, i)->extent);
	count_allocated(file);
}

void file_remove_from_map(struct file *file, const GArray *runs)
{
	g_autoptr(GArray) extents = g_array_new(FALSE, FALSE, sizeof(struct extent));

	/* From the last run on: a removal moves the runs after it in the array. */
	for (guint i = runs->len; i-- > 0;)
		extent_map_remove(file->map, run_at(runs, i)->offset, run_at(runs, i)->extent.length, extents);
	count_allocated(file);
}

int file_clean(struct file *file, const GArray *runs)
{
	g_autoptr(GArray) extents = file_extents(runs);

	return zeroer_clean(file->storage->zeroer, (const struct extent *)extents->data, extents->len);
}

/* Gives @runs to the object: all or none. */
static int give(struct file *file, const GArray *runs)
{
	const struct backend_ops *ops = file->storage->ops;

	for (guint i = 0; i < runs->len; i++) {
		int err = ops->give(file->object, run_at(runs, i)->offset, run_at(runs, i)->extent);

		if (err) {
			while (i-- > 0)
				ops->take(file->object, run_at(runs, i)->offset, run_at(runs, i)->extent.length);
			return err;
		}
	}
	return 0;
}

/* Records runs that overlap the range as a whole, because the change may have cut or extended them. */
void file_put_extents(struct file *file, uint64_t from, uint64_t to)
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

static void put_change(struct file *file, const GArray *runs, uint64_t size)
{
	if (runs->len > 0) {
		const struct extent_map_run *last = run_at(runs, runs->len - 1);

		file_put_extents(file, run_at(runs, 0)->offset, last->offset + last->extent.length);
	}
	store_put_size(file->storage->store, file->ino, size);
}

int file_commit_extents(struct file *file, const GArray *runs, uint64_t size)
{
	struct store *store = file->storage->store;

	store_begin(store);
	put_change(file, runs, size);
	return store_commit(store);
}

int file_commit_removal(struct file *file, const GArray *runs, uint64_t size)
{
	const struct storage *storage = file->storage;
	struct store_held held = {
		.since = file->gave_up = g_get_real_time(),
		.ino = file->ino,
		.pid = atomic_load_explicit(&file->opener, memory_order_relaxed),
	};

	store_begin(storage->store);
	put_change(file, runs, size);
	for (guint i = 0; i < runs->len && storage->ops->list_pinned && file->order != PAGE_ORDER_NONE; i++) {
		held.extent = run_at(runs, i)->extent;
		store_put_held(storage->store, &held);
	}
	return store_commit(storage->store);
}

/* Order: zeroed before, then commit, then the object. So memory on record is zeroed. */
int file_commit_memory(struct file *file, GArray *runs, uint64_t size)
{
	int err;

	CRASH_POINT("cleaned");
	file_add_to_map(file, runs);
	err = file_commit_extents(file, runs, size);
	if (err) {
		file_remove_from_map(file, runs);
		return err;
	}
	CRASH_POINT("extents-committed");
	err = give(file, runs);
	CRASH_POINT("extents-given");
	if (!err)
		return 0;
	file_remove_from_map(file, runs);
	if (file_commit_removal(file, runs, file->size) < 0) {
		/* The record says that the file has it, so no other file may get it until this one is removed. */
		file_add_to_map(file, runs);
		g_array_set_size(runs, 0);
	}
	return err;
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

/*
 * Order: commit, then the object, then the pool. A daemon that dies in between leaves memory in the object that is not on
 * record; the next daemon takes it away before another file can get it. The object's size is set after its memory was
 * taken: only the rest of the last unit is past the size then, and is zeroed.
 */
int file_cut(struct file *file, uint64_t size, GArray *cut)
{
	uint64_t from = file_unit_up(file, size), end = extent_map_end(file->map);
	g_autoptr(GArray) runs = file_list_runs(file, from, UINT64_MAX);
	int err;

	if (!file->object || (size == file->size && runs->len == 0))
		return 0;
	file_remove_from_map(file, runs);
	err = file_commit_removal(file, runs, size);
	CRASH_POINT("shrunk");
	if (err) {
		file_add_to_map(file, runs);
		return err;
	}
	if (end > from)
		err = file->storage->ops->take(file->object, from, end - from);
	CRASH_POINT("memory-taken");
	if (!err)
		err = set_size(file, size);
	CRASH_POINT("resized");
	if (err) { /* the backend failed: the file keeps the memory */
		file_add_to_map(file, runs);
		if (give(file, runs) < 0 || file_commit_extents(file, runs, file->size) < 0)
			log_error("inode %" G_GUINT64_FORMAT
			          ": its memory differs from the record until the daemon is restarted",
			          file->ino);
		return err;
	}
	g_array_append_vals(cut, runs->data, runs->len);
	return 0;
}

int file_zero(struct file *file, uint64_t offset, uint64_t end)
{
	g_autoptr(GArray) runs = file_list_runs(file, offset, MIN(end, file->size));
	int err = 0;

	for (guint i = 0; i < runs->len && !err; i++)
		err = file->storage->ops->zero(file->object, run_at(runs, i)->offset, run_at(runs, i)->extent.length);
	return err;
}

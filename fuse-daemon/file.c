// SPDX-License-Identifier: GPL-2.0-or-later
/* The contents of one regular file: size, memory, object, registration. */
#include "file.h"

#include <errno.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "extent_map.h"
#include "log.h"

struct file {
	const struct storage *storage;
	uint64_t ino;
	pthread_rwlock_t lock;         /* guards all below */
	struct backend_object *object; /* NULL until the first open or byte */
	struct extent_map *map;
	_Atomic uint64_t size;
	_Atomic uint64_t allocated; /* bytes in map */
	unsigned opens;
	int backing_id; /* 0: not registered */
};

static uint64_t unit_down(const struct file *file, uint64_t bytes)
{
	return bytes - bytes % file->storage->page_size;
}

static uint64_t unit_up(const struct file *file, uint64_t bytes)
{
	return unit_down(file, bytes + file->storage->page_size - 1);
}

struct file *file_new(const struct storage *storage, uint64_t ino)
{
	struct file *file = g_new0(struct file, 1);

	file->storage = storage;
	file->ino = ino;
	file->map = extent_map_new();
	pthread_rwlock_init(&file->lock, NULL);
	return file;
}

void file_destroy(struct file *file)
{
	const struct storage *storage = file->storage;

	if (file->object) {
		GArray *runs = g_array_new(FALSE, FALSE, sizeof(struct extent));

		/* Retired before the object is dropped: its idle event may come at once. */
		extent_map_remove(file->map, 0, UINT64_MAX, runs);
		placement_retire(storage->placement, file->ino, runs);
		if (storage->ops->drop(file->object))
			placement_idle(storage->placement, file->ino);
	}
	extent_map_destroy(file->map);
	pthread_rwlock_destroy(&file->lock);
	g_free(file);
}

uint64_t file_size(const struct file *file)
{
	return atomic_load_explicit(&file->size, memory_order_relaxed);
}

uint64_t file_allocated(const struct file *file)
{
	return atomic_load_explicit(&file->allocated, memory_order_relaxed);
}

static void lock_shared(struct file *file)
{
	pthread_rwlock_rdlock(&file->lock);
}

static void lock_exclusive(struct file *file)
{
	pthread_rwlock_wrlock(&file->lock);
}

static void unlock(struct file *file)
{
	pthread_rwlock_unlock(&file->lock);
}

/* Under the exclusive lock. */
static int need_object(struct file *file)
{
	if (file->object)
		return 0;
	return file->storage->ops->create(file->storage->backend, file->ino, &file->object);
}

/* Under the exclusive lock: an object that nobody has open keeps no descriptor. */
static void rest(struct file *file)
{
	if (file->object && file->opens == 0)
		file->storage->ops->close_fd(file->object);
}

static int register_backing(struct file *file, void *request)
{
	const struct storage *storage = file->storage;
	int err = need_object(file);

	if (err)
		return err;

	int fd = storage->ops->get_fd(file->object);

	if (fd < 0)
		return fd;

	int id = storage->backing_open(request, fd);

	if (id <= 0) {
		log_error("FUSE passthrough: inode %" G_GUINT64_FORMAT ": %s", file->ino, g_strerror(id ? -id : EIO));
		return id ? id : -EIO;
	}
	file->backing_id = id;
	return 0;
}

int file_open(struct file *file, void *request, int *backing_id)
{
	int err = 0;

	lock_exclusive(file);
	if (!file->backing_id)
		err = register_backing(file, request);
	if (!err) {
		file->opens++;
		*backing_id = file->backing_id;
	}
	rest(file);
	unlock(file);
	return err;
}

void file_close(struct file *file, void *request)
{
	lock_exclusive(file);
	if (--file->opens == 0) {
		file->storage->backing_close(request, file->backing_id);
		file->backing_id = 0;
	}
	rest(file);
	unlock(file);
}

/* Memory for one gap in the file, in as few runs as can be had. */
static int allocate_gap(struct file *file, const struct extent_gap *gap, GArray *runs)
{
	struct extent_map_run before;
	struct allocator_request request = {
		.length = gap->length,
		.unit = file->storage->page_size,
		.file_offset = gap->offset,
		.hint = ALLOCATOR_NO_HINT,
		.regions = ALLOCATOR_ANY_REGION,
	};

	if (gap->offset > 0 && extent_map_lookup(file->map, gap->offset - 1, &before) && before.offset < gap->offset)
		request.hint = before.extent.start + before.extent.length;
	return placement_alloc(file->storage->placement, &request, runs);
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

static void add_to_map(struct file *file, const GArray *gaps, const GArray *runs)
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

/* Sees to it that all units of [from, to) have memory. Under the exclusive lock. */
static int need_memory(struct file *file, uint64_t from, uint64_t to)
{
	g_autoptr(GArray) gaps = g_array_new(FALSE, FALSE, sizeof(struct extent_gap));
	g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof(struct extent));
	int err = need_object(file);

	if (err)
		return err;
	extent_map_gaps(file->map, unit_down(file, from), unit_up(file, to), gaps);
	for (guint i = 0; i < gaps->len && !err; i++)
		err = allocate_gap(file, &g_array_index(gaps, struct extent_gap, i), runs);
	/* The last unit may reach past the largest file, where neither the map nor the backend has a place for it. */
	if (!err && unit_up(file, to) > INT64_MAX)
		err = -EFBIG;
	if (!err)
		err = give_runs(file, gaps, runs);
	if (err)
		placement_free(file->storage->placement, (const struct extent *)runs->data, runs->len);
	else
		add_to_map(file, gaps, runs);
	return err;
}

/* Gives back the memory of all units from @from on. Under the exclusive lock. */
static int drop_memory(struct file *file, uint64_t from)
{
	g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof(struct extent));
	uint64_t end = extent_map_end(file->map);
	int err;

	from = unit_up(file, from);
	if (end <= from)
		return 0;
	err = file->storage->ops->take(file->object, from, end - from);
	if (err)
		return err;
	extent_map_remove(file->map, from, end - from, runs);
	atomic_store_explicit(&file->allocated, extent_map_bytes(file->map), memory_order_relaxed);
	placement_free(file->storage->placement, (const struct extent *)runs->data, runs->len);
	return 0;
}

/* Under the exclusive lock; the memory for a larger @size is there. */
static int set_size(struct file *file, uint64_t size)
{
	uint64_t kept = MIN(extent_map_end(file->map), unit_up(file, size));
	int err = file->storage->ops->resize(file->object, file->size, size, kept);

	if (!err)
		atomic_store_explicit(&file->size, size, memory_order_relaxed);
	return err;
}

static int grow(struct file *file, uint64_t size)
{
	int err = need_memory(file, file->size, size);

	return err ? err : set_size(file, size);
}

/* Memory first: what is left when the size changes is the last unit, whose rest is to be zeroed. */
static int shrink(struct file *file, uint64_t size)
{
	int err = drop_memory(file, size);

	return err || !file->object ? err : set_size(file, size);
}

int file_truncate(struct file *file, uint64_t size)
{
	int err;

	lock_exclusive(file);
	err = size > file->size ? grow(file, size) : shrink(file, size);
	rest(file);
	unlock(file);
	return err;
}

ssize_t file_read(struct file *file, void *buffer, size_t length, uint64_t offset)
{
	ssize_t done = 0;

	lock_shared(file);
	if (offset < file->size)
		done = file->storage->ops->read(file->object, buffer, MIN(length, file->size - offset), offset);
	unlock(file);
	return done;
}

/* How far the file could grow if it got all that is free. */
static uint64_t reachable_end(struct file *file)
{
	return extent_map_end(file->map) +
	       placement_available(file->storage->placement, file->storage->page_size);
}

/* A write past the end. As much of it as there is memory for, as on any file system. */
static ssize_t write_growing(struct file *file, const void *data, size_t length, uint64_t offset)
{
	int err = offset + length > file->size ? grow(file, offset + length) : 0;

	if (err == -ENOSPC) {
		uint64_t end = reachable_end(file);

		if (end > offset && end < offset + length) {
			length = end - offset;
			err = grow(file, end);
		}
	}
	return err ? err : file->storage->ops->write(file->object, data, length, offset);
}

ssize_t file_write(struct file *file, const void *data, size_t length, uint64_t offset)
{
	ssize_t done;

	lock_shared(file);
	if (offset + length <= file->size) {
		done = file->storage->ops->write(file->object, data, length, offset);
		unlock(file);
		return done;
	}
	unlock(file);

	lock_exclusive(file);
	done = write_growing(file, data, length, offset);
	unlock(file);
	return done;
}

/* Zeroes what there is of [offset, end): holes read zero anyway. */
static int zero(struct file *file, uint64_t offset, uint64_t end)
{
	struct extent_map_run run;
	int err = 0;

	end = MIN(end, file->size);
	while (!err && offset < end && extent_map_lookup(file->map, offset, &run) && run.offset < end) {
		uint64_t from = MAX(offset, run.offset);
		uint64_t to = MIN(end, run.offset + run.extent.length);

		err = file->storage->ops->zero(file->object, from, to - from);
		offset = to;
	}
	return err;
}

static int allocate_range(struct file *file, int mode, uint64_t offset, uint64_t end)
{
	bool extends = !(mode & FALLOC_FL_KEEP_SIZE) && end > file->size;
	/* Memory is contiguous up to the size, so a file that ends later has it from its old end on. */
	int err = need_memory(file, extends ? MIN(offset, file->size) : offset, end);

	if (!err && (mode & FALLOC_FL_ZERO_RANGE))
		err = zero(file, offset, end);
	if (!err && extends)
		err = set_size(file, end);
	return err;
}

int file_allocate(struct file *file, int mode, uint64_t offset, uint64_t length)
{
	uint64_t end = offset + length;
	int err;

	if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		return -EOPNOTSUPP;
	if (mode & FALLOC_FL_PUNCH_HOLE) {
		/* Zeroed in place: a hole would need memory again at its next touch, when there may be none. */
		lock_shared(file);
		err = zero(file, offset, end);
		unlock(file);
		return err;
	}
	lock_exclusive(file);
	err = allocate_range(file, mode, offset, end);
	unlock(file);
	return err;
}

int64_t file_seek(struct file *file, uint64_t offset, int whence)
{
	int64_t found = -EINVAL;

	lock_shared(file);
	if (offset >= file->size)
		found = -ENXIO;
	else if (whence == SEEK_DATA)
		found = (int64_t)extent_map_next_data(file->map, offset);
	else if (whence == SEEK_HOLE)
		found = (int64_t)MIN(extent_map_next_hole(file->map, offset), file->size);
	/* No data before the end, which is itself a hole (lseek(2)). */
	if (found >= 0 && whence == SEEK_DATA && (uint64_t)found >= file->size)
		found = -ENXIO;
	unlock(file);
	return found;
}

char *file_describe_extents(struct file *file)
{
	GString *text = g_string_new(NULL);
	struct extent_map_run run;

	lock_shared(file);
	for (uint64_t offset = 0; extent_map_lookup(file->map, offset, &run); offset = run.offset + run.extent.length) {
		g_string_append_printf(text, "%s%" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT,
		                       text->len ? "\n" : "", run.offset, run.extent.start, run.extent.length);
	}
	unlock(file);
	return g_string_free(text, FALSE);
}

char *file_describe_faults(struct file *file)
{
	char *text = NULL;

	lock_shared(file);
	if (file->object && file->storage->ops->describe_faults)
		text = file->storage->ops->describe_faults(file->object);
	unlock(file);
	return text;
}

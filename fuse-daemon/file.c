// SPDX-License-Identifier: GPL-2.0-or-later
/* The contents of one regular file: size, memory, object, registration. */
#include <errno.h>
#include <linux/falloc.h>
#include <unistd.h>

#include "crash_point.h"
#include "file_demand.h"
#include "file_internal.h"
#include "log.h"

struct file *file_new(const struct storage *storage, uint64_t ino)
{
	struct file *file = g_new0(struct file, 1);

	file->storage = storage;
	file->ino = ino;
	file->unit = storage->page_size;
	file->map = extent_map_new();
	pthread_rwlock_init(&file->lock, NULL);
	return file;
}

void file_release(struct file *file)
{
	if (file->object)
		file->storage->ops->release(file->object);
	extent_map_destroy(file->map);
	node_policy_unref(file->policy);
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

/* What the next daemon has to know of the registration. */
static int put_backing(struct file *file, int id)
{
	struct store *store = file->storage->store;

	store_begin(store);
	store_put_backing(store, file->ino, id);
	return store_commit(store);
}

static int register_backing(struct file *file, void *request)
{
	static struct log_limit limit = LOG_LIMIT_INIT;
	const struct storage *storage = file->storage;
	int err = file_need_object(file);

	if (err)
		return err;

	backend_fd fd = storage->ops->open_fd(file->object);

	if (fd < 0)
		return fd;

	int id = storage->backing_open(request, fd);

	if (id <= 0) {
		log_error("FUSE passthrough: inode %" G_GUINT64_FORMAT ": %s", file->ino, g_strerror(id ? -id : EIO));
		return id ? id : -EIO;
	}
	CRASH_POINT("registered");
	file->backing_id = id;
	err = put_backing(file, id);
	/* Reading and mapping goes on when the state directory is full; a takeover could not know of this user. */
	if (err)
		log_limited(&limit, LOG_LEVEL_WARNING, "inode %" G_GUINT64_FORMAT ": no record of its registration: %s: once "
		            "another daemon has taken over, it cannot be opened until all who use it now have closed it",
		            file->ino, g_strerror(-err));
	return 0;
}

int file_open(struct file *file, void *request, int *backing_id)
{
	int err = 0;

	pthread_rwlock_wrlock(&file->lock);
	if (!file->backing_id)
		err = register_backing(file, request);
	*backing_id = file->backing_id;
	pthread_rwlock_unlock(&file->lock);
	return err;
}

void file_inherit(struct file *file, int backing_id)
{
	file->backing_id = backing_id;
}

int file_backing_id(const struct file *file)
{
	return file->backing_id;
}

int file_truncate(struct file *file, uint64_t size)
{
	int err;

	pthread_rwlock_wrlock(&file->lock);
	err = size > file->size ? file_grow(file, size) : file_shrink(file, size);
	pthread_rwlock_unlock(&file->lock);
	return err;
}

ssize_t file_read(struct file *file, void *buffer, size_t length, uint64_t offset)
{
	ssize_t done = 0;

	pthread_rwlock_rdlock(&file->lock);
	if (offset < file->size)
		done = file->storage->ops->read(file->object, buffer, MIN(length, file->size - offset), offset);
	pthread_rwlock_unlock(&file->lock);
	return done;
}

/* How far the file could grow if it got all that is free and that it may have. */
static uint64_t reachable_end(struct file *file)
{
	const struct storage *storage = file->storage;
	uint64_t allowed = file_unit_down(file, quota_room(storage->quotas, &file->account));
	uint64_t there = placement_available(storage->placement, file->policy, file->unit);

	return extent_map_end(file->map) + MIN(there, allowed);
}

/* A write past the end. As much of it as there is memory for, as on any file system. */
static ssize_t write_growing(struct file *file, const void *data, size_t length, uint64_t offset)
{
	int err = offset + length > file->size ? file_grow(file, offset + length) : 0;

	if (err == -ENOSPC || err == -EDQUOT) {
		uint64_t end = reachable_end(file);

		if (end > offset && end < offset + length) {
			length = end - offset;
			err = file_grow(file, end);
		}
	}
	return err ? err : file->storage->ops->write(file->object, data, length, offset);
}

ssize_t file_write(struct file *file, const void *data, size_t length, uint64_t offset)
{
	ssize_t done;

	pthread_rwlock_rdlock(&file->lock);
	if (offset + length <= file->size && !(file->demand && file_demand_has_hole(file, offset, offset + length))) {
		done = file->storage->ops->write(file->object, data, length, offset);
		if (done != -ENOSPC || !file->demand) {
			pthread_rwlock_unlock(&file->lock);
			return done;
		}
	}
	pthread_rwlock_unlock(&file->lock);

	pthread_rwlock_wrlock(&file->lock);
	if (file->demand)
		done = file_demand_write(file, data, length, offset);
	else
		done = write_growing(file, data, length, offset);
	pthread_rwlock_unlock(&file->lock);
	return done;
}

int file_zero(struct file *file, uint64_t offset, uint64_t end)
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
	uint64_t from = extends ? MIN(offset, file->size) : offset;
	int err = file_need_memory(file, from, end, extends ? end : file->size);

	/* What is past the size reads zero when the file grows over it. */
	if (!err && extends)
		err = file_set_recorded_size(file, end);
	if (!err && (mode & FALLOC_FL_ZERO_RANGE))
		err = file_zero(file, offset, end);
	return err;
}

static int allocate_on_demand(struct file *file, int mode, uint64_t offset, uint64_t end)
{
	int err;

	pthread_rwlock_wrlock(&file->lock);
	if (mode & FALLOC_FL_PUNCH_HOLE)
		err = file_demand_punch(file, offset, end);
	else
		err = file_demand_allocate(file, mode, offset, end);
	pthread_rwlock_unlock(&file->lock);
	return err;
}

int file_allocate(struct file *file, int mode, uint64_t offset, uint64_t length)
{
	uint64_t end = offset + length;
	int err;

	if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		return -EOPNOTSUPP;
	if (file->demand)
		return allocate_on_demand(file, mode, offset, end);
	if (mode & FALLOC_FL_PUNCH_HOLE) {
		/* Zeroed in place: a hole would need memory again at its next touch, when there may be none. */
		pthread_rwlock_rdlock(&file->lock);
		err = file_zero(file, offset, end);
		pthread_rwlock_unlock(&file->lock);
		return err;
	}
	pthread_rwlock_wrlock(&file->lock);
	err = allocate_range(file, mode, offset, end);
	pthread_rwlock_unlock(&file->lock);
	return err;
}

int64_t file_seek(struct file *file, uint64_t offset, int whence)
{
	int64_t found = -EINVAL;

	pthread_rwlock_rdlock(&file->lock);
	if (offset >= file->size)
		found = -ENXIO;
	else if (whence == SEEK_DATA)
		found = (int64_t)extent_map_next_data(file->map, offset);
	else if (whence == SEEK_HOLE)
		found = (int64_t)MIN(extent_map_next_hole(file->map, offset), file->size);
	/* No data before the end, which is itself a hole (lseek(2)). */
	if (found >= 0 && whence == SEEK_DATA && (uint64_t)found >= file->size)
		found = -ENXIO;
	pthread_rwlock_unlock(&file->lock);
	return found;
}

char *file_describe_extents(struct file *file)
{
	GString *text = g_string_new(NULL);
	struct extent_map_run run;

	pthread_rwlock_rdlock(&file->lock);
	for (uint64_t offset = 0; extent_map_lookup(file->map, offset, &run); offset = run.offset + run.extent.length) {
		g_string_append_printf(text, "%s%" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT,
		                       text->len ? "\n" : "", run.offset, run.extent.start, run.extent.length);
	}
	pthread_rwlock_unlock(&file->lock);
	return g_string_free(text, FALSE);
}

char *file_describe_poison(struct file *file)
{
	g_autoptr(GArray) bad = g_array_new(FALSE, FALSE, sizeof(struct extent));
	GString *text = g_string_new(NULL);
	struct extent_map_run run;

	pthread_rwlock_rdlock(&file->lock);
	for (uint64_t offset = 0; extent_map_lookup(file->map, offset, &run); offset = run.offset + run.extent.length) {
		g_array_set_size(bad, 0);
		placement_list_poisoned(file->storage->placement, run.extent, bad);
		for (guint i = 0; i < bad->len; i++) {
			const struct extent *part = &g_array_index(bad, struct extent, i);

			g_string_append_printf(text, "%s%" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT,
			                       text->len ? "\n" : "", run.offset + (part->start - run.extent.start), part->start,
			                       part->length);
		}
	}
	pthread_rwlock_unlock(&file->lock);
	return g_string_free(text, FALSE);
}

char *file_describe_faults(struct file *file)
{
	char *text = NULL;

	pthread_rwlock_rdlock(&file->lock);
	if (file->object && file->storage->ops->describe_faults)
		text = file->storage->ops->describe_faults(file->object);
	pthread_rwlock_unlock(&file->lock);
	return text;
}

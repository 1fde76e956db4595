// SPDX-License-Identifier: GPL-2.0-or-later
/* Operations of clients on a regular file: open, read, write, size, punch, query. Takes the file's lock. */
#include <errno.h>
#include <linux/falloc.h>
#include <unistd.h>

#include "base/crash_point.h"
#include "base/current_request.h"
#include "base/log.h"
#include "file/file_internal.h"

/* How often a write is tried when processes punch the range meanwhile. */
#define ATTEMPTS 3

static const struct file_alloc_ops *alloc_ops(const struct file *file)
{
	return file->demand ? &file_demand_ops : &file_eager_ops;
}

/* Records the registration for the next daemon. */
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
	/* Not an error: files must stay readable when the state directory is full. The next daemon does not know this id. */
	if (err)
		log_limited(
			&limit, LOG_LEVEL_WARNING,
			"inode %" G_GUINT64_FORMAT ": its FUSE registration cannot be recorded: %s: after a restart of "
			"the daemon, the file cannot be opened until all processes have closed it: free space in state-dir",
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
	if (!err)
		atomic_store_explicit(&file->opener, current_request()->caller, memory_order_relaxed);
	return err;
}

static int shrink(struct file *file, uint64_t size)
{
	g_autoptr(GArray) runs = file_runs_new();
	int err = file_cut(file, size, runs);

	if (!err) {
		alloc_ops(file)->free(file, runs);
		file_settle(file);
	}
	return err;
}

int file_truncate(struct file *file, uint64_t size)
{
	int err;

	pthread_rwlock_wrlock(&file->lock);
	err = size > file->size ? alloc_ops(file)->grow(file, size) : shrink(file, size);
	pthread_rwlock_unlock(&file->lock);
	return err;
}

/* Grows the file if necessary, and gives memory to the range, as fallocate(2) with @mode. All or nothing. */
static int make_ready(struct file *file, uint64_t offset, uint64_t end, int mode)
{
	uint64_t old_size = file->size;
	bool grows = end > old_size && !(mode & FALLOC_FL_KEEP_SIZE);
	int err = grows ? alloc_ops(file)->grow(file, end) : 0;

	if (err)
		return err;
	err = alloc_ops(file)->fill(file, offset, end, mode);
	if (err && grows)
		shrink(file, old_size);
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

/* As make_ready(), for a write, which may be short: shortens *@length to what there is memory for. */
static int make_room(struct file *file, uint64_t offset, size_t *length)
{
	const struct file_alloc_ops *ops = alloc_ops(file);
	int err = make_ready(file, offset, offset + *length, 0);

	if ((err == -ENOSPC || err == -EDQUOT) && ops->reach) {
		uint64_t end = ops->reach(file);

		if (end > offset && end < offset + *length) {
			*length = end - offset;
			err = make_ready(file, offset, end, 0);
		}
	}
	return err;
}

static ssize_t write_into_holes(struct file *file, const void *data, size_t length, uint64_t offset)
{
	ssize_t done = -ENOSPC;

	/* Processes may punch the range after make_room() has filled it. */
	for (int i = 0; i < ATTEMPTS && done == -ENOSPC; i++) {
		int err = make_room(file, offset, &length);

		if (err)
			return err;
		done = file->storage->ops->write(file->object, data, length, offset);
	}
	return done;
}

ssize_t file_write(struct file *file, const void *data, size_t length, uint64_t offset)
{
	uint64_t end = offset + length;
	ssize_t done = -ENOSPC;

	pthread_rwlock_rdlock(&file->lock);
	if (end <= file->size && extent_map_next_hole(file->map, offset) >= end)
		done = file->storage->ops->write(file->object, data, length, offset);
	pthread_rwlock_unlock(&file->lock);
	if (done != -ENOSPC)
		return done;

	pthread_rwlock_wrlock(&file->lock);
	done = write_into_holes(file, data, length, offset);
	pthread_rwlock_unlock(&file->lock);
	return done;
}

static int punch(struct file *file, uint64_t offset, uint64_t end)
{
	bool in_place;
	int err = 0;

	/* An eager file is zeroed under the shared lock, so that reads and writes continue. */
	pthread_rwlock_rdlock(&file->lock);
	in_place = !file->demand;
	if (in_place)
		err = file_zero(file, offset, end);
	pthread_rwlock_unlock(&file->lock);
	if (in_place)
		return err;
	pthread_rwlock_wrlock(&file->lock);
	err = alloc_ops(file)->punch(file, offset, end);
	pthread_rwlock_unlock(&file->lock);
	return err;
}

int file_allocate(struct file *file, int mode, uint64_t offset, uint64_t length)
{
	uint64_t end = offset + length;
	int err;

	if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		return -EOPNOTSUPP;
	if (mode & FALLOC_FL_PUNCH_HOLE)
		return punch(file, offset, end);
	pthread_rwlock_wrlock(&file->lock);
	err = make_ready(file, offset, end, mode);
	if (!err && (mode & FALLOC_FL_ZERO_RANGE))
		err = file_zero(file, offset, end);
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
	/* No data before the end of the file: -ENXIO (lseek(2)). */
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
		pool_list_poisoned(file->storage->pool, run.extent, bad);
		for (guint i = 0; i < bad->len; i++) {
			const struct extent *part = &g_array_index(bad, struct extent, i);

			g_string_append_printf(text, "%s%" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT,
			                       text->len ? "\n" : "", run.offset + (part->start - run.extent.start),
			                       part->start, part->length);
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

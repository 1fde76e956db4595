// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The memory backend: the bytes of each file are in a file on tmpfs, whose name is the inode number.
 *
 * Regions and their addresses are made up: placement and accounting are as for reserved RAM, but tmpfs decides where the
 * bytes are. tmpfs allocates zeroed pages, and frees them when the last mapping is gone. So this backend never zeroes
 * memory, and all free memory is clean. An object is idle when its tmpfs inode is gone, which inotify reports
 * (IN_DELETE_SELF).
 *
 * The files outlive the daemon. The next daemon does not count removed files that are still mapped, because a file without
 * a name cannot be watched. Their pages still belong to tmpfs, so no other file can get them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/backend.h"
#include "base/log.h"
#include "base/page_order.h"
#include "base/private.h"

/* The address of the made-up region when the configuration has none: above the devices of a PC. */
#define IMAGINARY_START (UINT64_C(4) << 30)
#define TMPFS_PAGE      4096

struct backend {
	int dir; /* memory-dir */
	int inotify;
	bool populate;
	backend_idle_fn idle;
	void *idle_data;
	GMutex lock;         /* guards watches */
	GHashTable *watches; /* inotify watch -> object id (owned guint64) */
};

struct backend_object {
	struct backend *backend;
	uint64_t id;
	uint64_t given; /* bytes */
};

struct object_name {
	char text[21]; /* 2^64 - 1 in decimal */
};

static struct object_name object_name(uint64_t id)
{
	struct object_name name;

	g_snprintf(name.text, sizeof(name.text), "%" G_GUINT64_FORMAT, id);
	return name;
}

static bool set_error(GError **error, const char *what, const char *name, int err)
{
	g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(err), "%s: %s: %s", what, name, g_strerror(err));
	return false;
}

static void report_regions(const struct config *config, GArray *regions)
{
	for (guint i = 0; i < config->regions->len; i++) {
		const struct region_config *wanted = g_ptr_array_index(config->regions, i);
		struct memory_region region = { wanted->start, wanted->size, wanted->node, wanted->order };

		g_array_append_val(regions, region);
	}
	if (config->regions->len == 0) {
		struct memory_region region = { IMAGINARY_START, config->size, 0, PAGE_ORDER_NONE };

		g_array_append_val(regions, region);
	}
}

static void memory_close(struct backend *backend)
{
	if (!backend)
		return;
	if (backend->inotify >= 0)
		close(backend->inotify);
	if (backend->dir >= 0)
		close(backend->dir);
	g_hash_table_unref(backend->watches);
	g_mutex_clear(&backend->lock);
	g_free(backend);
}

/*
 * Replaces the default directory when another user made it: everybody can create files in /dev/shm. Swaps it with a new
 * directory.
 */
static void win_back(const char *path)
{
	g_autofree char *other = g_strconcat(path, ".XXXXXX", NULL);
	struct stat st;

	if (lstat(path, &st) < 0 || (st.st_uid == geteuid() && S_ISDIR(st.st_mode)) || !g_mkdtemp(other))
		return;
	if (renameat2(AT_FDCWD, other, AT_FDCWD, path, RENAME_EXCHANGE) == 0)
		log_warning("%s was made by user %u: renamed to %s, remove that; the daemon uses a new directory", path,
		            st.st_uid, other);
	else
		rmdir(other);
}

static bool open_descriptors(struct backend *backend, const struct config *config, GError **error)
{
	const char *path = config->memory_dir;

	if (!config->memory_dir_given)
		win_back(path);
	backend->dir = private_directory(path, true, error);
	if (backend->dir < 0) {
		g_prefix_error(error, "memory-dir: ");
		return false;
	}
	/* Without the lock, this daemon would remove the files of another daemon that runs. */
	if (flock(backend->dir, LOCK_EX | LOCK_NB) < 0) {
		g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(errno),
		            "memory-dir: %s: another daemon uses it: name another directory", path);
		return false;
	}
	backend->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (backend->inotify < 0)
		return set_error(error, "cannot watch memory-dir", path, errno);
	return true;
}

static struct backend *memory_open(const struct config *config, GArray *regions, GError **error)
{
	struct backend *backend = g_new0(struct backend, 1);

	backend->dir = backend->inotify = -1;
	backend->populate = config->populate;
	backend->watches = g_hash_table_new_full(NULL, NULL, NULL, g_free);
	g_mutex_init(&backend->lock);
	if (!open_descriptors(backend, config, error)) {
		memory_close(backend);
		return NULL;
	}
	report_regions(config, regions);
	return backend;
}

static void memory_set_idle_callback(struct backend *backend, backend_idle_fn idle, void *data)
{
	backend->idle = idle;
	backend->idle_data = data;
}

static int memory_event_fd(struct backend *backend)
{
	return backend->inotify;
}

/* Removes the watch, and finds the id of its object. False: there is no such watch any more. */
static bool take_watch(struct backend *backend, int watch, uint64_t *id)
{
	gpointer value = NULL;

	g_mutex_lock(&backend->lock);
	bool known = g_hash_table_steal_extended(backend->watches, GINT_TO_POINTER(watch), NULL, &value);

	g_mutex_unlock(&backend->lock);
	if (known)
		*id = *(guint64 *)value;
	g_free(value);
	return known;
}

static void object_is_idle(struct backend *backend, int watch)
{
	uint64_t id;

	if (take_watch(backend, watch, &id))
		backend->idle(id, backend->idle_data);
}

/*
 * To be called when the inotify queue overflowed, and events were lost. Finds the watches that have ended: those that the
 * descriptor's fdinfo does not list (proc_pid_fdinfo(5)). Their events may still be in the queue, and are then ignored.
 */
static void find_lost_ends(struct backend *backend)
{
	g_autofree char *path = g_strdup_printf("/proc/self/fdinfo/%d", backend->inotify);
	g_autofree char *text = NULL;
	g_autoptr(GHashTable) alive = g_hash_table_new(NULL, NULL);
	g_autoptr(GList) watches = NULL;

	/* Lists the watches before reading fdinfo: a watch that is added meanwhile must not seem to have ended. */
	g_mutex_lock(&backend->lock);
	watches = g_hash_table_get_keys(backend->watches);
	g_mutex_unlock(&backend->lock);
	if (!g_file_get_contents(path, &text, NULL, NULL))
		return;
	for (const char *line = text; (line = strstr(line, "inotify wd:")); line++)
		g_hash_table_add(alive, GINT_TO_POINTER((int)strtol(line + strlen("inotify wd:"), NULL, 16)));
	for (GList *watch = watches; watch; watch = watch->next) {
		if (!g_hash_table_contains(alive, watch->data))
			object_is_idle(backend, GPOINTER_TO_INT(watch->data));
	}
}

static void memory_dispatch(struct backend *backend)
{
	_Alignas(struct inotify_event) char buffer[4096];
	ssize_t length;

	while ((length = read(backend->inotify, buffer, sizeof(buffer))) > 0) {
		for (char *at = buffer; at < buffer + length;) {
			const struct inotify_event *event = (const struct inotify_event *)at;

			if (event->mask & IN_DELETE_SELF)
				object_is_idle(backend, event->wd);
			else if (event->mask & IN_Q_OVERFLOW)
				find_lost_ends(backend);
			at += sizeof(*event) + event->len;
		}
	}
}

/* In the same directory as the objects, whose names are numbers. */
#define MARK_FILE "mark"

static int memory_get_mark(struct backend *backend, struct store_mark *mark)
{
	int fd = openat(backend->dir, MARK_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t length = -1;

	*mark = (struct store_mark){ 0 };
	if (fd >= 0) {
		length = read(fd, mark, sizeof(*mark));
		close(fd);
	}
	if (length != sizeof(*mark))
		*mark = (struct store_mark){ 0 };
	return fd < 0 && errno != ENOENT ? -errno : 0;
}

static int memory_set_mark(struct backend *backend, const struct store_mark *mark)
{
	int fd = openat(backend->dir, MARK_FILE, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	int err = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, mark, sizeof(*mark)) != sizeof(*mark))
		err = -EIO;
	close(fd);
	return err;
}

static bool parse_id(const char *name, uint64_t *id)
{
	char *end;

	*id = g_ascii_strtoull(name, &end, 10);
	return *id != 0 && *end == '\0' && g_ascii_isdigit(name[0]) && name[0] != '0';
}

static uint64_t memory_give_up_unknown(struct backend *backend, bool (*is_known)(uint64_t id, void *data),
                                       backend_leftover_fn leftover, void *data)
{
	g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", backend->dir);
	g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
	const char *name;
	unsigned removed = 0;
	uint64_t id;

	(void)leftover;
	while (dir && (name = g_dir_read_name(dir))) {
		if (parse_id(name, &id) && !is_known(id, data) && unlinkat(backend->dir, name, 0) == 0)
			removed++;
	}
	if (removed)
		log_info("removed the memory of %u files of an earlier run that are not on record", removed);
	return 0;
}

static struct backend_object *new_object(struct backend *backend, uint64_t id)
{
	struct backend_object *object = g_new(struct backend_object, 1);

	*object = (struct backend_object){ .backend = backend, .id = id };
	return object;
}

static int memory_create(struct backend *backend, uint64_t id, const struct object_kind *kind,
                         struct backend_object **object)
{
	int fd = openat(backend->dir, object_name(id).text, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	(void)kind;
	if (fd < 0)
		return -errno;
	close(fd);
	*object = new_object(backend, id);
	return 0;
}

/* Opens the tmpfs file by its name, which it has until the object is dropped. */
static int memory_open_fd(struct backend_object *object)
{
	int fd = openat(object->backend->dir, object_name(object->id).text, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

	return fd < 0 ? -errno : fd;
}

/* Watches for the end of the tmpfs inode. False when the kernel refuses the watch. */
static bool watch_end(struct backend_object *object)
{
	static struct log_limit limit = LOG_LIMIT_INIT;
	struct backend *backend = object->backend;
	g_autofree char *path = g_strdup_printf("/proc/self/fd/%d/%s", backend->dir, object_name(object->id).text);
	guint64 *id = g_new(guint64, 1);

	*id = object->id;
	g_mutex_lock(&backend->lock);
	int watch = inotify_add_watch(backend->inotify, path, IN_DELETE_SELF);

	if (watch >= 0)
		g_hash_table_insert(backend->watches, GINT_TO_POINTER(watch), id);
	g_mutex_unlock(&backend->lock);
	if (watch >= 0)
		return true;

	/* The mappings keep their pages, which are tmpfs's. Only the accounting is too early. */
	log_limited(&limit, LOG_LEVEL_WARNING,
	            "inotify: %s: %s: memory counts as free before its last mapping is gone; raise "
	            "fs.inotify.max_user_watches",
	            path, g_strerror(errno));
	g_free(id);
	return false;
}

static bool memory_drop(struct backend_object *object)
{
	bool watched = object->given > 0 && watch_end(object);

	unlinkat(object->backend->dir, object_name(object->id).text, 0);
	g_free(object);
	return !watched;
}

/* An object that was not dropped has its name, so that the end of its memory can still be watched. */
static bool memory_discard(struct backend *backend, uint64_t id)
{
	struct stat attr;

	if (fstatat(backend->dir, object_name(id).text, &attr, AT_SYMLINK_NOFOLLOW) < 0)
		return true;

	struct backend_object *object = new_object(backend, id);

	object->given = (uint64_t)attr.st_size;
	return memory_drop(object);
}

static void memory_release(struct backend_object *object)
{
	g_free(object);
}

/* Allocates pages for a range now, so that a shortage is an error here instead of SIGBUS later. */
static int populate(const struct backend_object *object, int fd, uint64_t offset, uint64_t length)
{
	if (!object->backend->populate || length == 0)
		return 0;
	if (fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)length) < 0)
		return errno == EINTR ? -EINTR : -ENOSPC;
	return 0;
}

static int punch(int fd, uint64_t offset, uint64_t length)
{
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)length) < 0)
		return -errno;
	return 0;
}

static int memory_attach(struct backend *backend, uint64_t id, const struct object_kind *kind,
                         const struct extent_map_run *runs, guint count, uint64_t size, struct backend_object **object)
{
	int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | (count ? O_CREAT : 0);
	backend_fd fd = openat(backend->dir, object_name(id).text, flags, 0600);
	int err = 0;

	(void)kind;
	if (fd < 0)
		return errno == ENOENT && !count ? 0 : -errno;

	struct backend_object *found = new_object(backend, id);

	if (ftruncate(fd, (off_t)size) < 0)
		err = -errno;
	for (guint i = 0; i < count && !err; i++) {
		found->given += runs[i].extent.length;
		err = populate(found, fd, runs[i].offset, runs[i].extent.length);
	}
	if (err)
		memory_release(found);
	else
		*object = found;
	return err;
}

/* For tests: with DMEMFS_PRETEND_DIRTY the daemon treats free memory as dirty, and memory_clean() does nothing. */
static bool memory_needs_zeroing(const struct backend *backend)
{
	(void)backend;
#ifndef NDEBUG
	return g_getenv("DMEMFS_PRETEND_DIRTY");
#else
	return false;
#endif
}

static int memory_clean(struct backend *backend, struct extent extent)
{
	(void)backend;
	(void)extent;
	return 0;
}

static int memory_give(struct backend_object *object, uint64_t offset, struct extent extent)
{
	backend_fd fd = memory_open_fd(object);
	int err = fd < 0 ? fd : populate(object, fd, offset, extent.length);

	if (err < 0)
		return err;
	object->given += extent.length;
	return 0;
}

static int memory_take(struct backend_object *object, uint64_t offset, uint64_t length)
{
	backend_fd fd = memory_open_fd(object);
	int err = fd < 0 ? fd : punch(fd, offset, length);

	if (err < 0)
		return err;
	object->given -= length;
	return 0;
}

/* Zeroes the rest of the last page past the old size: a mapping may have written there, and the file grows over it. */
static int zero_tail(int fd, uint64_t old_size, uint64_t size)
{
	static const char zeroes[TMPFS_PAGE];
	uint64_t tail = MIN(size, (old_size + TMPFS_PAGE - 1) / TMPFS_PAGE * TMPFS_PAGE) - old_size;

	if (tail > 0 && pwrite(fd, zeroes, tail, (off_t)old_size) != (ssize_t)tail)
		return -EIO;
	return 0;
}

static int memory_resize(struct backend_object *object, uint64_t old_size, uint64_t size, uint64_t allocated)
{
	backend_fd fd = memory_open_fd(object);
	int err = MIN(fd, 0);

	if (!err && size > old_size)
		err = zero_tail(fd, old_size, size);
	if (err)
		return err;
	if (ftruncate(fd, (off_t)size) < 0)
		return -errno;
	/* ftruncate() has also freed the rest of the last unit, which must stay allocated. */
	if (size < old_size && size < allocated)
		return populate(object, fd, size, allocated - size);
	return 0;
}

static int memory_zero(struct backend_object *object, uint64_t offset, uint64_t length)
{
	static const char zeroes[256 * 1024];
	backend_fd fd = memory_open_fd(object);

	if (fd < 0)
		return fd;
	if (!object->backend->populate)
		return punch(fd, offset, length);
	/* Not by punching a hole: that would free the pages, and a later touch could fail. */
	while (length > 0) {
		ssize_t done = pwrite(fd, zeroes, MIN(length, sizeof(zeroes)), (off_t)offset);

		if (done < 0)
			return -errno;
		offset += (uint64_t)done;
		length -= (uint64_t)done;
	}
	return 0;
}

static ssize_t memory_read(struct backend_object *object, void *buffer, size_t length, uint64_t offset)
{
	backend_fd fd = memory_open_fd(object);
	ssize_t done = fd < 0 ? fd : pread(fd, buffer, length, (off_t)offset);

	return fd >= 0 && done < 0 ? -errno : done;
}

static ssize_t memory_write(struct backend_object *object, const void *buffer, size_t length, uint64_t offset)
{
	backend_fd fd = memory_open_fd(object);
	ssize_t done = fd < 0 ? fd : pwrite(fd, buffer, length, (off_t)offset);

	return fd >= 0 && done < 0 ? -errno : done;
}

const struct backend_ops backend_memory_ops = {
	.name = "memory",
	.open = memory_open,
	.close = memory_close,
	.set_idle_callback = memory_set_idle_callback,
	.get_mark = memory_get_mark,
	.set_mark = memory_set_mark,
	.give_up_unknown = memory_give_up_unknown,
	.event_fd = memory_event_fd,
	.dispatch = memory_dispatch,
	.attach = memory_attach,
	.discard = memory_discard,
	.release = memory_release,
	.create = memory_create,
	.drop = memory_drop,
	.open_fd = memory_open_fd,
	.needs_zeroing = memory_needs_zeroing,
	.clean = memory_clean,
	.give = memory_give,
	.take = memory_take,
	.resize = memory_resize,
	.zero = memory_zero,
	.read = memory_read,
	.write = memory_write,
};

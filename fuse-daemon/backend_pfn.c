// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The pfn backend: the bytes of each file in reserved RAM, mapped by dmemfs.ko (shared/dmemfs_ioctl.h).
 *
 * The module's objects, extents and regions outlive the daemon. What an earlier daemon left and nobody reaches is
 * taken down at the start; objects that are still mapped keep their memory, which is pending until they are idle.
 */
#include <errno.h>
#include <unistd.h>

#include "backend.h"
#include "log.h"
#include "pfn_device.h"

struct backend {
	int device;
	backend_idle_fn idle;
	void *idle_data;
};

struct backend_object {
	struct backend *backend;
	uint64_t id;
	int fd; /* -1: closed */
};

static int object_call(struct backend *backend, unsigned long request, uint64_t id, uint32_t *state)
{
	struct dmemfs_object_op op = { .id = id };
	int result = pfn_call(backend->device, request, &op);

	if (state)
		*state = op.state;
	return result;
}

/* True when nobody can reach the object any more, and the module has forgotten it. */
static bool give_up(struct backend *backend, uint64_t id)
{
	uint32_t state = 0;
	int err = object_call(backend, DMEMFS_IOC_OBJECT_DROP, id, &state);

	if (err)
		log_error("object %" G_GUINT64_FORMAT ": drop: %s", id, g_strerror(-err));
	if (err || state != DMEMFS_OBJECT_IDLE)
		return false;
	err = object_call(backend, DMEMFS_IOC_OBJECT_REAP, id, NULL);
	if (err)
		log_error("object %" G_GUINT64_FORMAT ": reap: %s", id, g_strerror(-err));
	return !err;
}

static void report_extents(struct backend *backend, uint64_t id, backend_leftover_fn leftover, void *data)
{
	struct dmemfs_extent extent = { .id = id };

	while (pfn_call(backend->device, DMEMFS_IOC_EXTENT_NEXT, &extent) == 0) {
		leftover(id, (struct extent){ extent.start, extent.length }, data);
		extent = (struct dmemfs_extent){ .id = id, .offset = extent.offset + extent.length };
	}
}

static uint64_t pfn_leftovers(struct backend *backend, backend_leftover_fn leftover, void *data)
{
	struct dmemfs_object_info info = { .id = 1 };
	uint64_t highest = 0;

	while (pfn_call(backend->device, DMEMFS_IOC_OBJECT_NEXT, &info) == 0) {
		uint64_t id = info.id;
		bool gone;

		highest = id;
		if (info.state == DMEMFS_OBJECT_NAMED)
			gone = give_up(backend, id);
		else
			gone = info.state == DMEMFS_OBJECT_IDLE &&
			       object_call(backend, DMEMFS_IOC_OBJECT_REAP, id, NULL) == 0;
		if (!gone) {
			log_info("object %" G_GUINT64_FORMAT " of an earlier run is still mapped: its %" G_GUINT64_FORMAT
			         " MiB come back when it is not", id, (guint64)info.allocated >> 20);
			report_extents(backend, id, leftover, data);
		}
		info = (struct dmemfs_object_info){ .id = id + 1 };
	}
	return highest;
}

static struct backend *pfn_open(const struct config *config, GArray *regions, GError **error)
{
	int device = pfn_device_open(error);

	if (device < 0)
		return NULL;
	if (!pfn_claim_regions(device, config, regions, error)) {
		close(device);
		return NULL;
	}

	struct backend *backend = g_new0(struct backend, 1);

	backend->device = device;
	return backend;
}

static void pfn_close(struct backend *backend)
{
	close(backend->device);
	g_free(backend);
}

static void pfn_set_idle_callback(struct backend *backend, backend_idle_fn idle, void *data)
{
	backend->idle = idle;
	backend->idle_data = data;
}

static int pfn_event_fd(struct backend *backend)
{
	return backend->device;
}

static void on_idle(struct backend *backend, uint64_t id)
{
	int err = object_call(backend, DMEMFS_IOC_OBJECT_REAP, id, NULL);

	/* ENOENT: it was idle as soon as it was dropped, and reaped there. */
	if (err == -ENOENT)
		return;
	if (err)
		log_error("object %" G_GUINT64_FORMAT ": reap: %s", id, g_strerror(-err));
	else
		backend->idle(id, backend->idle_data);
}

static void on_event(struct backend *backend, const struct dmemfs_event *event)
{
	static struct log_limit unaligned = LOG_LIMIT_INIT, private = LOG_LIMIT_INIT;
	const int comm_size = sizeof(event->comm);

	switch (event->kind) {
	case DMEMFS_EVENT_IDLE:
		on_idle(backend, event->id);
		break;
	case DMEMFS_EVENT_UNALIGNED:
		log_limited(&unaligned, LOG_LEVEL_WARNING,
		            "inode %" G_GUINT64_FORMAT ": %.*s (pid %d) maps it at an address that allows pages of %s only: add "
		            "%s to QEMU's memory-backend-file", (guint64)event->id, comm_size, event->comm, event->pid,
		            event->page_size < DMEMFS_PAGE_2M ? "4K" : "2M",
		            event->page_size < DMEMFS_PAGE_2M ? "align=2M or align=1G" : "align=1G");
		break;
	case DMEMFS_EVENT_PRIVATE:
		log_limited(&private, LOG_LEVEL_WARNING,
		            "inode %" G_GUINT64_FORMAT ": %.*s (pid %d) was refused a private mapping: use share=on",
		            (guint64)event->id, comm_size, event->comm, event->pid);
		break;
	default:
		break; /* a newer module (shared/dmemfs_ioctl.h: unknown kinds must be ignored) */
	}
}

static void pfn_dispatch(struct backend *backend)
{
	struct dmemfs_event events[64];
	ssize_t length;

	while ((length = read(backend->device, events, sizeof(events))) > 0) {
		for (size_t i = 0; i < (size_t)length / sizeof(events[0]); i++)
			on_event(backend, &events[i]);
	}
}

static int pfn_create(struct backend *backend, uint64_t id, struct backend_object **object)
{
	int err = object_call(backend, DMEMFS_IOC_OBJECT_CREATE, id, NULL);

	if (err)
		return err;
	*object = g_new(struct backend_object, 1);
	**object = (struct backend_object){ .backend = backend, .id = id, .fd = -1 };
	return 0;
}

static int pfn_get_fd(struct backend_object *object)
{
	if (object->fd < 0) {
		int fd = object_call(object->backend, DMEMFS_IOC_OBJECT_OPEN, object->id, NULL);

		if (fd < 0)
			return fd;
		object->fd = fd;
	}
	return object->fd;
}

static void pfn_close_fd(struct backend_object *object)
{
	if (object->fd >= 0)
		close(object->fd);
	object->fd = -1;
}

static bool pfn_drop(struct backend_object *object)
{
	struct backend *backend = object->backend;
	uint64_t id = object->id;

	pfn_close_fd(object);
	g_free(object);
	return give_up(backend, id);
}

static int zero(struct backend *backend, uint64_t id, uint64_t offset, uint64_t length)
{
	struct dmemfs_object_zero request = { .id = id, .offset = offset, .length = length };

	return pfn_call(backend->device, DMEMFS_IOC_OBJECT_ZERO, &request);
}

/* Zeroed while nobody owns it, so that no mapping can see what the last owner left. */
static int pfn_give(struct backend_object *object, uint64_t offset, struct extent extent)
{
	struct dmemfs_extent request = {
		.id = object->id, .offset = offset, .start = extent.start, .length = extent.length
	};
	int err = zero(object->backend, 0, extent.start, extent.length);

	if (!err)
		err = pfn_call(object->backend->device, DMEMFS_IOC_EXTENT_ADD, &request);
	if (err)
		log_error("inode %" G_GUINT64_FORMAT ": memory at 0x%" G_GINT64_MODIFIER "x+0x%" G_GINT64_MODIFIER "x: %s",
		          object->id, extent.start, extent.length, g_strerror(-err));
	return err;
}

static int pfn_take(struct backend_object *object, uint64_t offset, uint64_t length)
{
	struct dmemfs_extent request = { .id = object->id, .offset = offset, .length = length };

	return pfn_call(object->backend->device, DMEMFS_IOC_EXTENT_REMOVE, &request);
}

static int pfn_resize(struct backend_object *object, uint64_t old_size, uint64_t size, uint64_t allocated)
{
	struct dmemfs_object_resize request = { .id = object->id, .size = size };

	(void)old_size;
	(void)allocated;
	return pfn_call(object->backend->device, DMEMFS_IOC_OBJECT_RESIZE, &request);
}

static int pfn_zero(struct backend_object *object, uint64_t offset, uint64_t length)
{
	return zero(object->backend, object->id, offset, length);
}

static ssize_t pfn_read(struct backend_object *object, void *buffer, size_t length, uint64_t offset)
{
	ssize_t done = pread(object->fd, buffer, length, (off_t)offset);

	return done < 0 ? -errno : done;
}

static ssize_t pfn_write(struct backend_object *object, const void *buffer, size_t length, uint64_t offset)
{
	ssize_t done = pwrite(object->fd, buffer, length, (off_t)offset);

	return done < 0 ? -errno : done;
}

/* How often each page size served a fault. */
static char *pfn_describe_faults(struct backend_object *object)
{
	struct dmemfs_object_info info = { .id = object->id };

	if (pfn_call(object->backend->device, DMEMFS_IOC_OBJECT_NEXT, &info) < 0 || info.id != object->id)
		return NULL;
	return g_strdup_printf("4K %" G_GUINT64_FORMAT "\n2M %" G_GUINT64_FORMAT "\n1G %" G_GUINT64_FORMAT,
	                       (guint64)info.faults_4k, (guint64)info.faults_2m, (guint64)info.faults_1g);
}

const struct backend_ops backend_pfn_ops = {
	.name = "pfn",
	.open = pfn_open,
	.close = pfn_close,
	.set_idle_callback = pfn_set_idle_callback,
	.leftovers = pfn_leftovers,
	.event_fd = pfn_event_fd,
	.dispatch = pfn_dispatch,
	.create = pfn_create,
	.drop = pfn_drop,
	.get_fd = pfn_get_fd,
	.close_fd = pfn_close_fd,
	.give = pfn_give,
	.take = pfn_take,
	.resize = pfn_resize,
	.zero = pfn_zero,
	.read = pfn_read,
	.write = pfn_write,
	.describe_faults = pfn_describe_faults,
};

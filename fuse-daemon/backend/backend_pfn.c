// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The pfn backend: the bytes of each file are in reserved RAM, which dmemfs.ko maps (shared/dmemfs_ioctl.h).
 *
 * The module's objects, extents and regions outlive the daemon. At its start, the daemon makes the objects of files on record
 * equal to the record, and drops all others. Those keep their memory until no process maps it.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "backend/backend.h"
#include "backend/owner_mark.h"
#include "backend/memmap_cmdline.h"
#include "backend/pfn_device.h"
#include "backend/pfn_events.h"
#include "backend/pfn_lending.h"
#include "backend/pfn_regions.h"
#include "base/log.h"

struct backend {
	int device;
	GArray *former; /* struct extent: claimed regions of an earlier configuration; the releaser's while it works */
	GThread *releaser; /* NULL: none was started */
	gint is_releasing; /* whether it works; atomic */
	gint is_closing;   /* it is to take no more lent memory back; atomic */
	unsigned claimed;  /* how many @former were when it was started */
	struct pfn_listeners listeners;
};

struct backend_object {
	struct backend *backend;
	uint64_t id;
};

static int object_call(struct backend *backend, unsigned long request, uint64_t id, uint32_t *state)
{
	struct dmemfs_object_op op = { .id = id };
	int result = pfn_call(backend->device, request, &op);

	if (state)
		*state = op.state;
	return result;
}

/* The module's information on the object; its state is 0 when there is no such object. */
static struct dmemfs_object_info look(struct backend *backend, uint64_t id)
{
	struct dmemfs_object_info info = { .id = id };

	if (pfn_call(backend->device, DMEMFS_IOC_OBJECT_NEXT, &info) < 0 || info.id != id)
		info = (struct dmemfs_object_info){ .id = id };
	return info;
}

static bool reap(struct backend *backend, uint64_t id)
{
	int err = object_call(backend, DMEMFS_IOC_OBJECT_REAP, id, NULL);

	if (err)
		log_error("object %" G_GUINT64_FORMAT ": reap: %s", id, g_strerror(-err));
	return !err;
}

/* Drops the object. True when no process maps it, and the module has deleted it. */
static bool give_up(struct backend *backend, uint64_t id)
{
	uint32_t state = 0;
	int err = object_call(backend, DMEMFS_IOC_OBJECT_DROP, id, &state);

	if (err)
		log_error("object %" G_GUINT64_FORMAT ": drop: %s", id, g_strerror(-err));
	if (err || state != DMEMFS_OBJECT_IDLE)
		return false;
	return reap(backend, id);
}

static bool pfn_discard(struct backend *backend, uint64_t id)
{
	switch (look(backend, id).state) {
	case 0:
		return true;
	case DMEMFS_OBJECT_NAMED:
		return give_up(backend, id);
	case DMEMFS_OBJECT_IDLE:
		return reap(backend, id);
	default:
		return false; /* the module's event for it follows */
	}
}

static void report_extents(struct backend *backend, uint64_t id, backend_leftover_fn leftover, void *data)
{
	struct dmemfs_extent extent = { .id = id };

	while (pfn_call(backend->device, DMEMFS_IOC_EXTENT_NEXT, &extent) == 0) {
		leftover(id, (struct extent){ extent.start, extent.length }, data);
		extent = (struct dmemfs_extent){ .id = id, .offset = extent.offset + extent.length };
	}
}

static uint64_t pfn_give_up_unknown(struct backend *backend, bool (*is_known)(uint64_t id, void *data),
                                    backend_leftover_fn leftover, void *data)
{
	struct dmemfs_object_info info = { .id = 1 };
	uint64_t highest = 0;

	while (pfn_call(backend->device, DMEMFS_IOC_OBJECT_NEXT, &info) == 0) {
		uint64_t id = info.id;

		if (!is_known(id, data) && !pfn_discard(backend, id)) {
			log_info("object %" G_GUINT64_FORMAT
			         " of an earlier run is still mapped: its %" G_GUINT64_FORMAT
			         " MiB are free when no process maps it",
			         id, (guint64)info.allocated >> 20);
			report_extents(backend, id, leftover, data);
			highest = id;
		}
		info = (struct dmemfs_object_info){ .id = id + 1 };
	}
	return highest;
}

static int pfn_get_mark(struct backend *backend, struct store_mark *mark)
{
	return owner_mark_get(backend->device, mark);
}

static int pfn_set_mark(struct backend *backend, const struct store_mark *mark)
{
	return owner_mark_set(backend->device, mark);
}

static struct backend *pfn_open(const struct config *config, GArray *regions, GError **error)
{
	g_autoptr(GArray) former = extents_new();
	g_autoptr(GArray) reserved = memmap_cmdline_read(error);
	int device = reserved ? pfn_device_open(error) : -1;

	if (device < 0)
		return NULL;
	if (!pfn_claim_regions(device, config, reserved, regions, former, error)) {
		close(device);
		return NULL;
	}

	struct backend *backend = g_new0(struct backend, 1);

	backend->device = device;
	backend->former = g_steal_pointer(&former);
	return backend;
}

static void join_releaser(struct backend *backend)
{
	if (backend->releaser)
		g_thread_join(backend->releaser);
	backend->releaser = NULL;
}

static void pfn_close(struct backend *backend)
{
	g_atomic_int_set(&backend->is_closing, TRUE);
	join_releaser(backend);
	close(backend->device);
	g_array_unref(backend->former);
	g_free(backend);
}

static void pfn_set_idle_callback(struct backend *backend, backend_idle_fn idle, void *data)
{
	backend->listeners.idle = idle;
	backend->listeners.idle_data = data;
}

static int pfn_event_fd(struct backend *backend)
{
	return backend->device;
}

static void pfn_dispatch(struct backend *backend)
{
	pfn_events_dispatch(backend->device, &backend->listeners);
}

static struct backend_object *new_object(struct backend *backend, uint64_t id)
{
	struct backend_object *object = g_new(struct backend_object, 1);

	*object = (struct backend_object){ .backend = backend, .id = id };
	return object;
}

static int set_kind(struct backend *backend, uint64_t id, const struct object_kind *kind)
{
	struct dmemfs_object_mode request = { .id = id, .unit = kind->unit, .order = kind->order };

	request.mode |= kind->mode & BACKEND_DEMAND ? DMEMFS_MODE_DEMAND : 0;
	request.mode |= kind->mode & BACKEND_DISCARD ? DMEMFS_MODE_DISCARD : 0;
	return pfn_call(backend->device, DMEMFS_IOC_OBJECT_MODE, &request);
}

/* Creates an object of @kind: the module gives memory only to objects of the same order. */
static int create(struct backend *backend, uint64_t id, const struct object_kind *kind)
{
	int err = object_call(backend, DMEMFS_IOC_OBJECT_CREATE, id, NULL);

	if (err || (!kind->mode && !kind->order))
		return err;
	err = set_kind(backend, id, kind);
	if (err)
		give_up(backend, id);
	return err;
}

static int pfn_create(struct backend *backend, uint64_t id, const struct object_kind *kind,
                      struct backend_object **object)
{
	int err = create(backend, id, kind);

	if (err)
		return err;
	*object = new_object(backend, id);
	return 0;
}

static int add_extent(struct backend *backend, uint64_t id, uint64_t offset, struct extent extent)
{
	struct dmemfs_extent request = { .id = id, .offset = offset, .start = extent.start, .length = extent.length };

	return pfn_call(backend->device, DMEMFS_IOC_EXTENT_ADD, &request);
}

static int remove_extents(struct backend *backend, uint64_t id, uint64_t offset, uint64_t length)
{
	struct dmemfs_extent request = { .id = id, .offset = offset, .length = length };

	return pfn_call(backend->device, DMEMFS_IOC_EXTENT_REMOVE, &request);
}

/* Does one of @runs contain all of @extent, at the same address? */
static bool is_on_record(const struct dmemfs_extent *extent, const struct extent_map_run *runs, guint count)
{
	for (guint i = 0; i < count; i++) {
		uint64_t skipped = extent->offset - runs[i].offset;

		if (extent->offset >= runs[i].offset && skipped < runs[i].extent.length &&
		    extent->length <= runs[i].extent.length - skipped &&
		    extent->start == runs[i].extent.start + skipped)
			return true;
	}
	return false;
}

/* Removes the object's extents that are not on record. */
static int remove_surplus(struct backend *backend, uint64_t id, const struct extent_map_run *runs, guint count)
{
	struct dmemfs_extent extent = { .id = id };
	int err = 0;

	while (!err && pfn_call(backend->device, DMEMFS_IOC_EXTENT_NEXT, &extent) == 0) {
		if (!is_on_record(&extent, runs, count))
			err = remove_extents(backend, id, extent.offset, extent.length);
		extent = (struct dmemfs_extent){ .id = id, .offset = extent.offset + extent.length };
	}
	return err;
}

/* Adds the parts of @run that the object does not have. Those that it has are at the same addresses. */
static int add_missing(struct backend *backend, uint64_t id, const struct extent_map_run *run)
{
	uint64_t at = run->offset, end = run->offset + run->extent.length;
	int err = 0;

	while (!err && at < end) {
		struct dmemfs_extent next = { .id = id, .offset = at };
		uint64_t from = end, to = end;

		if (pfn_call(backend->device, DMEMFS_IOC_EXTENT_NEXT, &next) == 0 && next.offset < end) {
			from = MAX(next.offset, at);
			to = next.offset + next.length;
		}
		if (from > at)
			err = add_extent(backend, id, at,
			                 (struct extent){ run->extent.start + (at - run->offset), from - at });
		at = to;
	}
	return err;
}

static int pfn_attach(struct backend *backend, uint64_t id, const struct object_kind *kind,
                      const struct extent_map_run *runs, guint count, uint64_t size, struct backend_object **object)
{
	struct dmemfs_object_info info = look(backend, id);
	struct dmemfs_object_resize resize = { .id = id, .size = size };
	int err = 0;

	/*
	 * The object was made for other pages. It has no memory, because else the region would still have these pages. It must not be
	 * dropped for another one: if a process still reaches it, its id, which is that of a file on record, would become idle later.
	 */
	if (info.state == DMEMFS_OBJECT_NAMED && info.order != kind->order && !info.allocated)
		err = set_kind(backend, id, kind);
	if (err)
		return err == -EBUSY ? -ETXTBSY : err;
	if (!info.state && !count && !size)
		return 0;
	/* A dropped object can still be touched. Memory on record that the last daemon did not give to it is added. */
	for (guint i = 0; i < count && info.state == DMEMFS_OBJECT_DROPPED && !err; i++)
		err = add_missing(backend, id, &runs[i]);
	if (info.state && info.state != DMEMFS_OBJECT_NAMED)
		return err ? err : -ESTALE;
	if (!info.state)
		err = create(backend, id, kind);
	if (!err)
		err = remove_surplus(backend, id, runs, count);
	/* The size comes last: to make it smaller zeroes what lies past it, and that must not be memory on record. */
	for (guint i = 0; i < count && !err; i++)
		err = add_missing(backend, id, &runs[i]);
	if (!err && info.size != size)
		err = pfn_call(backend->device, DMEMFS_IOC_OBJECT_RESIZE, &resize);
	if (!err)
		*object = new_object(backend, id);
	return err;
}

static void pfn_release(struct backend_object *object)
{
	g_free(object);
}

static int pfn_open_fd(struct backend_object *object)
{
	return object_call(object->backend, DMEMFS_IOC_OBJECT_OPEN, object->id, NULL);
}

static bool pfn_drop(struct backend_object *object)
{
	struct backend *backend = object->backend;
	uint64_t id = object->id;

	g_free(object);
	return give_up(backend, id);
}

static int zero(struct backend *backend, uint64_t id, uint64_t offset, uint64_t length)
{
	struct dmemfs_object_zero request = { .id = id, .offset = offset, .length = length };

	return pfn_call(backend->device, DMEMFS_IOC_OBJECT_ZERO, &request);
}

static bool pfn_needs_zeroing(const struct backend *backend)
{
	(void)backend;
	return true;
}

static int pfn_clean(struct backend *backend, struct extent extent)
{
	return zero(backend, 0, extent.start, extent.length);
}

static int pfn_give(struct backend_object *object, uint64_t offset, struct extent extent)
{
	int err = add_extent(object->backend, object->id, offset, extent);

	if (err)
		log_error("inode %" G_GUINT64_FORMAT ": memory at 0x%" G_GINT64_MODIFIER "x+0x%" G_GINT64_MODIFIER
		          "x: %s",
		          object->id, extent.start, extent.length, g_strerror(-err));
	return err;
}

static int pfn_take(struct backend_object *object, uint64_t offset, uint64_t length)
{
	return remove_extents(object->backend, object->id, offset, length);
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
	backend_fd fd = pfn_open_fd(object);
	ssize_t done = fd < 0 ? fd : pread(fd, buffer, length, (off_t)offset);

	return fd >= 0 && done < 0 ? -errno : done;
}

static ssize_t pfn_write(struct backend_object *object, const void *buffer, size_t length, uint64_t offset)
{
	backend_fd fd = pfn_open_fd(object);
	ssize_t done = fd < 0 ? fd : pwrite(fd, buffer, length, (off_t)offset);

	return fd >= 0 && done < 0 ? -errno : done;
}

static void pfn_set_demand(struct backend *backend, const struct backend_demand_fns *fns, void *data)
{
	backend->listeners.demand = fns;
	backend->listeners.demand_data = data;
}

static int pfn_set_mode(struct backend_object *object, const struct object_kind *kind)
{
	return set_kind(object->backend, object->id, kind);
}

static int pfn_answer(struct backend *backend, uint64_t id, uint64_t offset, uint64_t length, int err)
{
	struct dmemfs_fault_answer request = { .id = id, .offset = offset, .length = length, .error = (uint32_t)-err };

	return pfn_call(backend->device, DMEMFS_IOC_FAULT_ANSWER, &request);
}

static bool pfn_next_punched(struct backend_object *object, uint64_t from, struct extent_map_run *run)
{
	struct dmemfs_extent extent = { .id = object->id, .offset = from };

	while (pfn_call(object->backend->device, DMEMFS_IOC_EXTENT_NEXT, &extent) == 0) {
		if (extent.flags & DMEMFS_EXTENT_PUNCHED) {
			*run = (struct extent_map_run){ extent.offset, { extent.start, extent.length } };
			return true;
		}
		extent = (struct dmemfs_extent){ .id = object->id, .offset = extent.offset + extent.length };
	}
	return false;
}

static void pfn_set_poison(struct backend *backend, void (*poisoned)(void *data), void *data)
{
	backend->listeners.poisoned = poisoned;
	backend->listeners.poisoned_data = data;
}

static int pfn_list_poison(struct backend *backend, GArray *runs)
{
	struct dmemfs_poison poison = { 0 };
	int err;

	while ((err = pfn_call(backend->device, DMEMFS_IOC_POISON_NEXT, &poison)) == 0) {
		struct extent run = { poison.start, poison.length };

		g_array_append_val(runs, run);
		poison = (struct dmemfs_poison){ .start = run.start + run.length };
	}
	return err == -ENOENT ? 0 : err;
}

static int pfn_add_poison(struct backend *backend, struct extent extent)
{
	struct dmemfs_poison request = { .start = extent.start, .length = extent.length };

	return pfn_call(backend->device, DMEMFS_IOC_POISON_ADD, &request);
}

static int list_pinned(struct backend *backend, struct extent range, GArray *runs)
{
	return pfn_list_pinned(backend->device, range, runs);
}

static gpointer release_in_background(gpointer data)
{
	struct backend *backend = data;

	pfn_release_former(backend->device, backend->former, &backend->is_closing);
	g_atomic_int_set(&backend->is_releasing, FALSE);
	return NULL;
}

/*
 * Not in the caller's thread, the main loop, which answers the service manager's watchdog: the kernel waits for RCU several times
 * for the struct pages of each gigabyte, and nothing interrupts it.
 */
static unsigned release_former(struct backend *backend)
{
	if (g_atomic_int_get(&backend->is_releasing))
		return backend->claimed;
	join_releaser(backend);
	backend->claimed = backend->former->len;
	if (backend->claimed) {
		g_atomic_int_set(&backend->is_releasing, TRUE);
		backend->releaser = g_thread_new("release", release_in_background, backend);
	}
	return backend->claimed;
}

static bool is_unmapped(struct backend *backend, uint64_t start)
{
	struct dmemfs_region region = { .start = start };

	return pfn_call(backend->device, DMEMFS_IOC_REGION_NEXT, &region) == 0 && region.start == start &&
	       (region.flags & DMEMFS_REGION_UNMAPPED);
}

static uint64_t lend_unit(struct backend *backend)
{
	return pfn_lend_unit(backend->device);
}

static int lend(struct backend *backend, struct extent unit)
{
	return pfn_lend(backend->device, unit);
}

static int take_lent(struct backend *backend, struct extent unit, unsigned timeout_ms)
{
	return pfn_take_lent(backend->device, unit, timeout_ms);
}

static void list_lent(struct backend *backend, GArray *units)
{
	pfn_list_lent(backend->device, (struct extent){ 0, INT64_MAX }, units);
}

/* How many faults were served with each page size. */
static char *pfn_describe_faults(struct backend_object *object)
{
	struct dmemfs_object_info info = look(object->backend, object->id);

	if (!info.state)
		return NULL;
	return g_strdup_printf("4K %" G_GUINT64_FORMAT "\n2M %" G_GUINT64_FORMAT "\n1G %" G_GUINT64_FORMAT,
	                       (guint64)info.faults_4k, (guint64)info.faults_2m, (guint64)info.faults_1g);
}

const struct backend_ops backend_pfn_ops = {
	.name = "pfn",
	.open = pfn_open,
	.close = pfn_close,
	.set_idle_callback = pfn_set_idle_callback,
	.get_mark = pfn_get_mark,
	.set_mark = pfn_set_mark,
	.give_up_unknown = pfn_give_up_unknown,
	.event_fd = pfn_event_fd,
	.dispatch = pfn_dispatch,
	.attach = pfn_attach,
	.discard = pfn_discard,
	.release = pfn_release,
	.create = pfn_create,
	.drop = pfn_drop,
	.open_fd = pfn_open_fd,
	.needs_zeroing = pfn_needs_zeroing,
	.clean = pfn_clean,
	.give = pfn_give,
	.take = pfn_take,
	.resize = pfn_resize,
	.zero = pfn_zero,
	.read = pfn_read,
	.write = pfn_write,
	.set_demand = pfn_set_demand,
	.set_mode = pfn_set_mode,
	.answer = pfn_answer,
	.next_punched = pfn_next_punched,
	.follow = new_object,
	.set_poison = pfn_set_poison,
	.list_poison = pfn_list_poison,
	.add_poison = pfn_add_poison,
	.list_pinned = list_pinned,
	.release_former = release_former,
	.is_unmapped = is_unmapped,
	.lend_unit = lend_unit,
	.lend = lend,
	.take_lent = take_lent,
	.list_lent = list_lent,
	.describe_faults = pfn_describe_faults,
};

// SPDX-License-Identifier: GPL-2.0-or-later
/* A backend in plain memory for unit tests. */
#include "unit/backend/fake_backend.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>

#include "base/page_order.h"
#include "file/unlinked_mapped.h"
#include "file/zeroer.h"
#include "pool/pool_clean.h"
#include "pool/pool_lent.h"

#define FAKE_START (UINT64_C(4) << 30)
#define PUNCHED    2

struct backend {
	struct fake *fake;
};

struct backend_object {
	struct fake *fake;
	uint64_t id;
	struct object_kind kind;
	GByteArray *bytes; /* the contents, as far as memory was given */
	GByteArray *has;   /* for each 4 KiB page: has it memory? PUNCHED: it has, but a process punched it */
	GArray *at;        /* guint64 for each page: the address of its memory */
	uint64_t size;
	bool open;
	bool followed; /* was dropped, and has no record: its memory does not count as released */
};

static struct backend the_backend;

static int fake_create(struct backend *backend, uint64_t id, const struct object_kind *kind,
                       struct backend_object **object)
{
	struct backend_object *made = g_new0(struct backend_object, 1);

	made->kind = *kind;
	made->fake = backend->fake;
	made->fake->mode = kind->mode;
	made->id = id;
	made->bytes = g_byte_array_new();
	made->has = g_byte_array_new();
	made->at = g_array_new(FALSE, FALSE, sizeof(guint64));
	made->fake->objects++;
	*object = made->fake->last = made;
	return 0;
}

static int fake_open_fd(struct backend_object *object)
{
	(void)object;
	return open("/dev/null", O_RDWR | O_CLOEXEC);
}

static void free_object(struct backend_object *object)
{
	struct fake *fake = object->fake;

	for (guint i = 0; i < object->has->len; i++)
		fake->given -= object->has->data[i] ? DMEMFS_PAGE_4K : 0;
	g_byte_array_unref(object->bytes);
	g_byte_array_unref(object->has);
	g_array_unref(object->at);
	if (fake->last == object)
		fake->last = NULL;
	g_free(object);
	fake->objects--;
}

static bool fake_drop(struct backend_object *object)
{
	struct fake *fake = object->fake;
	bool held = fake->hold;

	if (held)
		g_array_append_val(fake->held, object->id);
	free_object(object);
	return !held;
}

/* Counts the memory that stays on record. The object of the fake, and its contents, are freed. */
static void fake_release(struct backend_object *object)
{
	uint64_t given = object->fake->given;
	struct fake *fake = object->fake;
	bool followed = object->followed;

	free_object(object);
	fake->released += followed ? 0 : given - fake->given;
}

static bool fake_discard(struct backend *backend, uint64_t id)
{
	if (backend->fake->hold)
		g_array_append_val(backend->fake->held, id);
	return !backend->fake->hold;
}

static bool fake_needs_zeroing(const struct backend *backend)
{
	(void)backend;
	return true;
}

/* The pages of @extent in fake->dirty. */
static guint8 *pages_of(const struct fake *fake, struct extent extent)
{
	g_assert_cmpuint(extent.length, >, 0);
	g_assert_cmpuint(extent.start, >=, FAKE_START);
	g_assert_cmpuint(extent.start + extent.length, <=, FAKE_START + fake->capacity);
	return fake->dirty->data + (extent.start - FAKE_START) / DMEMFS_PAGE_4K;
}

static bool is_pinned(const struct fake *fake, struct extent extent)
{
	for (guint i = 0; i < fake->pinned->len; i++) {
		const struct extent *held = &g_array_index(fake->pinned, struct extent, i);

		if (extent.start < held->start + held->length && held->start < extent.start + extent.length)
			return true;
	}
	return false;
}

static int fake_list_pinned(struct backend *backend, struct extent range, GArray *runs)
{
	backend->fake->asked++;
	for (guint i = 0; i < backend->fake->pinned->len; i++) {
		const struct extent *held = &g_array_index(backend->fake->pinned, struct extent, i);
		uint64_t from = MAX(held->start, range.start);
		uint64_t to = MIN(held->start + held->length, range.start + range.length);
		struct extent run = { from, to - from };

		if (from < to)
			g_array_append_val(runs, run);
	}
	return 0;
}

static unsigned fake_release_former(struct backend *backend)
{
	if (backend->fake->pinned->len == 0)
		backend->fake->former = 0;
	return backend->fake->former;
}

void fake_pin(struct fake *fake, struct extent extent)
{
	g_array_append_val(fake->pinned, extent);
	g_array_sort(fake->pinned, extents_compare);
}

void fake_unpin(struct fake *fake)
{
	g_array_set_size(fake->pinned, 0);
}

static int fake_clean(struct backend *backend, struct extent extent)
{
	g_assert_false(is_pinned(backend->fake, extent));
	if (g_atomic_int_get(&backend->fake->fail_cleans) > 0) {
		g_atomic_int_add(&backend->fake->fail_cleans, -1);
		return -ENOMEM;
	}
	memset(pages_of(backend->fake, extent), 0, extent.length / DMEMFS_PAGE_4K);
	return 0;
}

/* With @give, no page of the range may have memory, and all have it afterwards; without, the other way round. */
static void flip_pages(struct backend_object *object, uint64_t offset, uint64_t length, bool give)
{
	for (uint64_t at = offset; at < offset + length; at += DMEMFS_PAGE_4K) {
		guint page = (guint)(at / DMEMFS_PAGE_4K);

		if (give) {
			g_assert_cmpuint(object->has->data[page], ==, 0);
			/* Given memory is zero: hides what a former owner left. */
			memset(object->bytes->data + at, 0, DMEMFS_PAGE_4K);
		} else {
			memset(object->bytes->data + at, 0xee, DMEMFS_PAGE_4K);
		}
		object->fake->given += give ? DMEMFS_PAGE_4K : (object->has->data[page] ? -DMEMFS_PAGE_4K : 0);
		object->has->data[page] = give;
	}
}

static void add_memory(struct backend_object *object, uint64_t offset, struct extent extent)
{
	unsigned order = pool_order_at(object->fake->storage.pool, extent.start);
	guint pages = (guint)((offset + extent.length) / DMEMFS_PAGE_4K), had = object->has->len;

	if (pages > had) {
		g_byte_array_set_size(object->has, pages);
		memset(object->has->data + had, 0, pages - had);
		g_byte_array_set_size(object->bytes, pages * DMEMFS_PAGE_4K);
		g_array_set_size(object->at, pages);
	}
	/* The memory is whole compound pages of the order that the object has. The order of a followed object is not known. */
	g_assert_true(object->followed || object->kind.order == order);
	g_assert_cmpuint((offset | extent.start | extent.length) % page_order_bytes(order), ==, 0);
	flip_pages(object, offset, extent.length, true);
	for (uint64_t done = 0; done < extent.length; done += DMEMFS_PAGE_4K)
		g_array_index(object->at, guint64, (offset + done) / DMEMFS_PAGE_4K) = extent.start + done;
}

/* Asserts that no object is given memory with bytes of another one. */
static int fake_give(struct backend_object *object, uint64_t offset, struct extent extent)
{
	guint8 *dirty = pages_of(object->fake, extent);

	g_assert_false(is_pinned(object->fake, extent));
	if (object->fake->fail_give_in && --object->fake->fail_give_in == 0)
		return -ENOSPC;
	for (uint64_t i = 0; i < extent.length / DMEMFS_PAGE_4K; i++) {
		g_assert_cmpuint(dirty[i], ==, 0);
		dirty[i] = 1;
	}
	add_memory(object, offset, extent);
	return 0;
}

static int fake_attach(struct backend *backend, uint64_t id, const struct object_kind *kind,
                       const struct extent_map_run *runs, guint count, uint64_t size, struct backend_object **object)
{
	if (backend->fake->attach_error)
		return backend->fake->attach_error;
	fake_create(backend, id, kind, object);
	for (guint i = 0; i < count; i++) {
		g_assert_false(is_pinned(backend->fake, runs[i].extent));
		add_memory(*object, runs[i].offset, runs[i].extent);
	}
	(*object)->size = size;
	return 0;
}

static int fake_take(struct backend_object *object, uint64_t offset, uint64_t length)
{
	if (offset < object->bytes->len)
		flip_pages(object, offset, MIN(length, object->bytes->len - offset), false);
	return 0;
}

static int fake_resize(struct backend_object *object, uint64_t old_size, uint64_t size, uint64_t allocated)
{
	uint64_t from = MIN(old_size, size);

	g_assert_cmpuint(old_size, ==, object->size);
	object->size = size;
	if (from < allocated && from < object->bytes->len)
		memset(object->bytes->data + from, 0, MIN(allocated, object->bytes->len) - from);
	return 0;
}

static void check_inside(const struct backend_object *object, uint64_t offset, uint64_t length)
{
	g_assert_cmpuint(offset + length, <=, object->size);
	for (uint64_t at = offset / DMEMFS_PAGE_4K; at * DMEMFS_PAGE_4K < offset + length; at++)
		g_assert_cmpuint(object->has->data[at], ==, 1);
}

static int fake_zero(struct backend_object *object, uint64_t offset, uint64_t length)
{
	check_inside(object, offset, length);
	memset(object->bytes->data + offset, 0, length);
	return 0;
}

static ssize_t fake_read(struct backend_object *object, void *buffer, size_t length, uint64_t offset)
{
	check_inside(object, offset, length);
	if (length > 0)
		memcpy(buffer, object->bytes->data + offset, length);
	return (ssize_t)length;
}

static ssize_t fake_write(struct backend_object *object, const void *buffer, size_t length, uint64_t offset)
{
	check_inside(object, offset, length);
	memcpy(object->bytes->data + offset, buffer, length);
	return (ssize_t)length;
}

static void fake_set_demand(struct backend *backend, const struct backend_demand_fns *fns, void *data)
{
	backend->fake->demand = fns;
	backend->fake->demand_data = data;
}

static int fake_answer(struct backend *backend, uint64_t id, uint64_t offset, uint64_t length, int err)
{
	(void)id;
	(void)offset;
	(void)length;
	backend->fake->answer = err;
	g_atomic_int_inc(&backend->fake->answers);
	return 0;
}

static int fake_set_mode(struct backend_object *object, const struct object_kind *kind)
{
	if (kind->order != object->kind.order && object->has->len > 0)
		return -EBUSY;
	g_assert_cmpuint(kind->unit, >=, DMEMFS_PAGE_4K);
	g_assert_cmpuint(kind->unit % page_order_bytes(kind->order), ==, 0);
	object->kind = *kind;
	object->fake->mode = kind->mode;
	return 0;
}

static bool fake_next_punched(struct backend_object *object, uint64_t from, struct extent_map_run *run)
{
	guint first = (guint)(from / DMEMFS_PAGE_4K), last;

	while (first < object->has->len && object->has->data[first] != PUNCHED)
		first++;
	if (first >= object->has->len)
		return false;
	for (last = first;
	     last + 1 < object->has->len && object->has->data[last + 1] == PUNCHED &&
	     g_array_index(object->at, guint64, last + 1) == g_array_index(object->at, guint64, last) + DMEMFS_PAGE_4K;)
		last++;
	*run = (struct extent_map_run){
		first * DMEMFS_PAGE_4K,
		{ g_array_index(object->at, guint64, first), (last - first + 1) * DMEMFS_PAGE_4K },
	};
	return true;
}

static struct backend_object *fake_follow(struct backend *backend, uint64_t id)
{
	struct backend_object *object;

	fake_create(backend, id, &(struct object_kind){ .unit = DMEMFS_PAGE_4K }, &object);
	object->followed = true;
	return object;
}

void fake_punch(struct fake *fake, uint64_t offset, uint64_t length)
{
	for (uint64_t at = offset; at < offset + length; at += DMEMFS_PAGE_4K) {
		guint page = (guint)(at / DMEMFS_PAGE_4K);

		if (page < fake->last->has->len && fake->last->has->data[page])
			fake->last->has->data[page] = PUNCHED;
	}
}

static uint64_t fake_lend_unit(struct backend *backend)
{
	return backend->fake->lend_unit;
}

static guint find_unit(const GArray *units, struct extent unit)
{
	guint i = 0;

	while (i < units->len && g_array_index(units, struct extent, i).start != unit.start)
		i++;
	return i;
}

/* A crash after this must find nothing of the unit on record as clean. */
static void assert_not_clean(const struct fake *fake, struct extent unit)
{
	g_autoptr(GArray) clean = extents_new();

	g_assert_cmpint(store_list_clean(fake->storage.store, clean), ==, 0);
	for (guint i = 0; i < clean->len; i++)
		g_assert_cmpuint(extent_overlap(&unit, &g_array_index(clean, struct extent, i)).length, ==, 0);
}

static int fake_lend(struct backend *backend, struct extent unit)
{
	struct fake *fake = backend->fake;

	assert_not_clean(fake, unit);
	g_mutex_lock(&fake->lending);
	fake->lends++;
	if ((!fake->lend_error || fake->lend_error == -EINPROGRESS) && find_unit(fake->lent, unit) == fake->lent->len) {
		memset(pages_of(fake, unit), 1, unit.length / DMEMFS_PAGE_4K);
		g_array_append_val(fake->lent, unit);
	}
	g_mutex_unlock(&fake->lending);
	return fake->lend_error;
}

static int fake_take_lent(struct backend *backend, struct extent unit, unsigned timeout_ms)
{
	struct fake *fake = backend->fake;
	int err = -ENOENT;
	guint at;

	/* For so long nothing stops the daemon. */
	g_assert_cmpuint(timeout_ms, >, 0);
	g_assert_cmpuint(timeout_ms, <=, 10000);
	g_mutex_lock(&fake->lending);
	fake->takes++;
	fake->take_ms = timeout_ms;
	at = find_unit(fake->lent, unit);
	if (find_unit(fake->stuck, unit) < fake->stuck->len) {
		err = -EBUSY;
	} else if (at < fake->lent->len) {
		g_array_remove_index(fake->lent, at);
		err = 0;
	}
	g_mutex_unlock(&fake->lending);
	return err;
}

static void fake_list_lent(struct backend *backend, GArray *units)
{
	g_array_append_vals(units, backend->fake->lent->data, backend->fake->lent->len);
}

static const struct backend_ops fake_ops = {
	.name = "fake",
	.create = fake_create,
	.drop = fake_drop,
	.open_fd = fake_open_fd,
	.attach = fake_attach,
	.discard = fake_discard,
	.release = fake_release,
	.needs_zeroing = fake_needs_zeroing,
	.clean = fake_clean,
	.give = fake_give,
	.take = fake_take,
	.resize = fake_resize,
	.zero = fake_zero,
	.read = fake_read,
	.write = fake_write,
	.set_demand = fake_set_demand,
	.set_mode = fake_set_mode,
	.answer = fake_answer,
	.next_punched = fake_next_punched,
	.follow = fake_follow,
	.list_pinned = fake_list_pinned,
	.release_former = fake_release_former,
	.lend_unit = fake_lend_unit,
	.lend = fake_lend,
	.take_lent = fake_take_lent,
	.list_lent = fake_list_lent,
};

static int backing_open(void *request, int fd)
{
	struct fake *fake = request;

	g_assert_cmpint(fd, >=, 0);
	fake->registrations++;
	return fake->next_backing_id++;
}

static void backing_close(int id)
{
	g_assert_cmpint(id, >, 0);
	the_backend.fake->registrations--;
}

static struct pool *new_placement(uint64_t capacity, unsigned order)
{
	struct memory_region region = { FAKE_START, capacity, 0, order };
	g_autoptr(GArray) regions = g_array_new(FALSE, FALSE, sizeof(region));

	g_array_append_val(regions, region);

	struct pool *pool = pool_new(regions, 1, NULL);

	pool_need_zeroing(pool);
	return pool;
}

static void open_store(struct fake *fake)
{
	GError *error = NULL;

	fake->storage.store = store_open(fake->state_dir, 0, 0, &error);
	g_assert_no_error(error);
	store_set_deleted_callback(fake->storage.store, storage_deleted, &fake->storage);
}

struct fake *fake_new(uint64_t capacity, uint64_t page_size)
{
	return fake_new_paged(capacity, page_size, PAGE_ORDER_NONE);
}

struct fake *fake_new_paged(uint64_t capacity, uint64_t page_size, unsigned order)
{
	struct fake *fake = g_new0(struct fake, 1);

	the_backend.fake = fake;
	fake->capacity = capacity;
	fake->next_backing_id = 1;
	fake->dirty = g_byte_array_new();
	g_byte_array_set_size(fake->dirty, (guint)(capacity / DMEMFS_PAGE_4K));
	memset(fake->dirty->data, 1, fake->dirty->len);
	fake->held = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	fake->pinned = extents_new();
	fake->lent = extents_new();
	fake->stuck = extents_new();
	g_mutex_init(&fake->lending);
	fake->order = order;
	fake->state_dir = g_dir_make_tmp("dmemfs-unit-XXXXXX", NULL);
	fake->storage = (struct storage){
		.ops = &fake_ops,
		.backend = &the_backend,
		.pool = new_placement(capacity, order),
		.order = order,
		.quotas = quotas_new(1),
		.unlinked_mapped = unlinked_mapped_new(),
		.page_size = page_size,
		.max_metadata = UINT64_C(1) << 30,
		.backing_open = backing_open,
		.backing_close = backing_close,
	};
	fake->storage.zeroer = zeroer_new(&fake->storage);
	open_store(fake);
	return fake;
}

void fake_allow_lending(struct fake *fake, uint64_t bytes)
{
	fake->lend_unit = bytes;
	pool_set_lend_unit(fake->storage.pool, bytes);
}

void fake_restart(struct fake *fake)
{
	store_close(fake->storage.store);
	pool_destroy(fake->storage.pool);
	quotas_destroy(fake->storage.quotas);
	fake->storage.pool = new_placement(fake->capacity, fake->order);
	fake->storage.quotas = quotas_new(1);
	fake->released = 0;
	open_store(fake);
}

uint64_t fake_free_bytes(struct fake *fake)
{
	struct pool_usage usage;

	pool_get_usage(fake->storage.pool, &usage);
	g_assert_cmpuint(usage.free + usage.pending + usage.pinned + fake->given, ==, usage.capacity);
	return usage.free;
}

uint64_t fake_promised_bytes(struct fake *fake)
{
	struct pool_usage usage;

	pool_get_usage(fake->storage.pool, &usage);
	return usage.promised;
}

void fake_release_held(struct fake *fake)
{
	for (guint i = 0; i < fake->held->len; i++)
		storage_idle(&fake->storage, g_array_index(fake->held, uint64_t, i));
	g_array_set_size(fake->held, 0);
}

static void remove_state(const char *path)
{
	g_autofree char *database = g_build_filename(path, STORE_FILE, NULL);

	g_assert_cmpint(g_unlink(database), ==, 0);
	g_assert_cmpint(g_rmdir(path), ==, 0); /* fails when another file is left in it */
}

void fake_destroy(struct fake *fake)
{
	struct pool_usage usage;

	g_assert_cmpint(store_flush(fake->storage.store), ==, 0);
	pool_get_usage(fake->storage.pool, &usage);
	g_assert_cmpuint(usage.free + fake->released, ==, usage.capacity);
	unlinked_mapped_destroy(fake->storage.unlinked_mapped);
	g_assert_cmpuint(fake->objects, ==, 0);
	zeroer_destroy(fake->storage.zeroer);
	pool_destroy(fake->storage.pool);
	store_close(fake->storage.store);
	quotas_destroy(fake->storage.quotas);
	remove_state(fake->state_dir);
	g_free(fake->state_dir);
	g_array_unref(fake->held);
	g_array_unref(fake->pinned);
	g_array_unref(fake->lent);
	g_array_unref(fake->stuck);
	g_mutex_clear(&fake->lending);
	g_byte_array_unref(fake->dirty);
	g_free(fake);
}

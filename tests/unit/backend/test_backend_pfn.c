// SPDX-License-Identifier: GPL-2.0-or-later
/* The pfn backend finds what an earlier daemon left in the module. The functions of pfn_device.h, which reach the module, are below. */
#include <errno.h>
#include <fcntl.h>

#include "backend/backend.h"
#include "backend/pfn_device.h"
#include "base/page_order.h"

#define GIB (UINT64_C(1) << 30)
#define ID  2

static const struct backend_ops *const ops = &backend_pfn_ops;

/* The only object of the module. */
static struct dmemfs_object_info object;
static bool in_use; /* a process reaches it */

/* The region of an earlier configuration; length 0: none. Its release waits for the lock, which a test takes to keep it waiting. */
static struct dmemfs_region former;
static GMutex releasing;
static gint releases; /* number of requests; atomic */

static int object_next(struct dmemfs_object_info *info)
{
	if (!object.state || info->id > ID)
		return -ENOENT;
	*info = object;
	return 0;
}

static int object_mode(const struct dmemfs_object_mode *mode)
{
	if (in_use && mode->order != object.order)
		return -EBUSY;
	object.order = mode->order;
	object.unit = mode->unit;
	object.mode = mode->mode;
	return 0;
}

static int object_create(void)
{
	if (object.state)
		return -EEXIST;
	object = (struct dmemfs_object_info){ .id = ID, .state = DMEMFS_OBJECT_NAMED };
	return 0;
}

static int object_drop(struct dmemfs_object_op *op)
{
	object.state = op->state = in_use ? DMEMFS_OBJECT_DROPPED : DMEMFS_OBJECT_IDLE;
	return 0;
}

static int region_next(struct dmemfs_region *region)
{
	if (!former.length || region->start > former.start)
		return -ENOENT;
	*region = former;
	return 0;
}

static int region_release(void)
{
	g_atomic_int_inc(&releases);
	if (former.owned)
		return -EBUSY;
	g_mutex_lock(&releasing);
	former.length = 0;
	g_mutex_unlock(&releasing);
	return 0;
}

int pfn_call(int device, unsigned long request, void *argument)
{
	(void)device;
	switch (request) {
	case DMEMFS_IOC_REGION_CLAIM:
		((struct dmemfs_region *)argument)->node_length = GIB;
		return 0;
	case DMEMFS_IOC_REGION_NEXT:
		return region_next(argument);
	case DMEMFS_IOC_REGION_RELEASE:
		return region_release();
	case DMEMFS_IOC_OBJECT_NEXT:
		return object_next(argument);
	case DMEMFS_IOC_OBJECT_MODE:
		return object_mode(argument);
	case DMEMFS_IOC_OBJECT_CREATE:
		return object_create();
	case DMEMFS_IOC_OBJECT_DROP:
		return object_drop(argument);
	case DMEMFS_IOC_OBJECT_REAP:
		object.state = 0;
		return 0;
	case DMEMFS_IOC_OBJECT_RESIZE:
		object.size = ((struct dmemfs_object_resize *)argument)->size;
		return 0;
	case DMEMFS_IOC_EXTENT_NEXT:
		return -ENOENT;
	default:
		return -ENOTTY;
	}
}

bool pfn_hello(int device, struct dmemfs_hello *hello, GError **error)
{
	(void)device;
	(void)error;
	*hello = (struct dmemfs_hello){ .abi = DMEMFS_ABI_VERSION, .features = DMEMFS_FEATURE_PAGES };
	return true;
}

int pfn_device_open(GError **error)
{
	(void)error;
	return open("/dev/null", O_RDWR | O_CLOEXEC);
}

int pfn_list_pinned(int device, struct extent range, GArray *runs)
{
	(void)device;
	(void)range;
	(void)runs;
	return 0;
}

static struct backend *start(unsigned order)
{
	struct region_config region = {
		.name = (char *)"all", .start = 4 * GIB, .size = GIB, .node = -1, .order = order
	};
	struct config config = { .backend = BACKEND_PFN, .page_size = GIB, .regions = g_ptr_array_new() };
	g_autoptr(GArray) regions = g_array_new(FALSE, FALSE, sizeof(struct memory_region));
	g_autoptr(GError) error = NULL;
	struct backend *backend;

	g_ptr_array_add(config.regions, &region);
	backend = ops->open(&config, regions, &error);
	g_assert_no_error(error);
	g_ptr_array_unref(config.regions);
	return backend;
}

/* Starts a daemon, which attaches the file: demand allocation, 1 GiB, no memory yet. Returns the result of attach(). */
static int attach(unsigned order)
{
	const struct object_kind kind = { .mode = BACKEND_DEMAND, .unit = GIB, .order = order };
	struct backend *backend = start(order);
	struct backend_object *attached = NULL;
	int err;

	err = ops->attach(backend, ID, &kind, NULL, 0, GIB, &attached);
	g_assert_true(!err == !!attached);
	if (attached)
		ops->release(attached);
	ops->close(backend);
	return err;
}

static void made_for(unsigned order, bool reached)
{
	object = (struct dmemfs_object_info){ .id = ID,
		                              .state = DMEMFS_OBJECT_NAMED,
		                              .size = GIB,
		                              .mode = DMEMFS_MODE_DEMAND,
		                              .unit = GIB,
		                              .order = order };
	in_use = reached;
}

static void an_object_at_rest_gets_the_other_pages(void)
{
	made_for(PAGE_ORDER_2M, false);
	g_assert_cmpint(attach(PAGE_ORDER_1G), ==, 0);
	g_assert_cmpuint(object.state, ==, DMEMFS_OBJECT_NAMED);
	g_assert_cmpuint(object.order, ==, PAGE_ORDER_1G);
	g_assert_cmpuint(object.size, ==, GIB);
}

/* If it were dropped, the record of the file would be deleted when the process ends. */
static void an_object_in_use_stays_that_of_its_file(void)
{
	made_for(PAGE_ORDER_2M, true);
	g_assert_cmpint(attach(PAGE_ORDER_1G), ==, -ETXTBSY);
	g_assert_cmpuint(object.state, ==, DMEMFS_OBJECT_NAMED);
	/* Either of the remedies that the log names helps. */
	g_assert_cmpint(attach(PAGE_ORDER_2M), ==, 0);
	in_use = false;
	g_assert_cmpint(attach(PAGE_ORDER_1G), ==, 0);
}

/* A daemon that has found the region while it was in use, which it is not any more. */
static struct backend *start_with_former_region(void)
{
	struct backend *backend;

	former = (struct dmemfs_region){ .start = 8 * GIB, .length = GIB, .order = PAGE_ORDER_1G, .owned = GIB };
	backend = start(PAGE_ORDER_1G);
	former.owned = 0;
	g_atomic_int_set(&releases, 0);
	return backend;
}

static void a_slow_release_keeps_nobody_waiting(void)
{
	struct backend *backend = start_with_former_region();

	g_mutex_lock(&releasing);
	for (int i = 0; i < 3; i++)
		g_assert_cmpuint(ops->release_former(backend), ==, 1);
	while (g_atomic_int_get(&releases) == 0)
		g_usleep(1000);
	g_assert_cmpuint(ops->release_former(backend), ==, 1);
	g_assert_cmpint(g_atomic_int_get(&releases), ==, 1);
	g_mutex_unlock(&releasing);
	while (ops->release_former(backend) > 0)
		g_usleep(1000);
	g_assert_cmpuint(former.length, ==, 0);
	g_assert_cmpint(g_atomic_int_get(&releases), ==, 1);
	ops->close(backend);
}

static void a_region_that_stays_in_use_is_tried_again(void)
{
	struct backend *backend = start_with_former_region();

	former.owned = GIB;
	for (int i = 1; i < 4; i++) {
		while (g_atomic_int_get(&releases) < i)
			g_assert_cmpuint(ops->release_former(backend), ==, 1);
	}
	ops->close(backend);
	g_assert_cmpuint(former.length, ==, GIB);
	former.length = 0;
}

/* The next daemon could not open the module before that. */
static void the_end_waits_for_the_release(void)
{
	struct backend *backend = start_with_former_region();

	g_assert_cmpuint(ops->release_former(backend), ==, 1);
	ops->close(backend);
	g_assert_cmpuint(former.length, ==, 0);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/backend_pfn/attach/at_rest", an_object_at_rest_gets_the_other_pages);
	g_test_add_func("/backend_pfn/attach/in_use", an_object_in_use_stays_that_of_its_file);
	g_test_add_func("/backend_pfn/release/slow", a_slow_release_keeps_nobody_waiting);
	g_test_add_func("/backend_pfn/release/again", a_region_that_stays_in_use_is_tried_again);
	g_test_add_func("/backend_pfn/release/end", the_end_waits_for_the_release);
	return g_test_run();
}

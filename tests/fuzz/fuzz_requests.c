// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * FUSE requests as the kernel sends them, with whatever values a process can bring about: each gets exactly one reply, and
 * afterwards the books are right: memory, quotas, references, and the record, from which a next daemon loads the same.
 */
#include <errno.h>
#include <fuse_lowlevel.h>
#include <string.h>

#include "base/log.h"
#include "base/page_order.h"
#include "fuzz.h"
#include "kernel.h"
#include "pool/pool_clean.h"
#include "requests/ops.h"
#include "unit/backend/fake_backend.h"

#define CAPACITY (8 * DMEMFS_PAGE_2M)

struct world {
	struct fake *fake;
	struct server server;
	struct fuse_session *fuse;
	struct kernel *kernel;
};

static struct fake *the_fake;

static int register_backing(void *request, int fd)
{
	(void)request;
	(void)fd;
	the_fake->registrations++;
	return the_fake->next_backing_id++;
}

/* Nobody waits for memory: one thread alone brings it back. */
static void replace_pool(struct fake *fake)
{
	struct memory_region region = { (uint64_t)4 << 30, CAPACITY, 0, PAGE_ORDER_NONE };
	g_autoptr(GArray) regions = g_array_new(FALSE, FALSE, sizeof(region));

	g_array_append_val(regions, region);
	pool_destroy(fake->storage.pool);
	quotas_destroy(fake->storage.quotas);
	fake->storage.pool = pool_new(regions, 0, NULL);
	pool_need_zeroing(fake->storage.pool);
	fake->storage.quotas = quotas_new(0);
}

static void load(struct world *world)
{
	GError *error = NULL;

	replace_pool(world->fake);
	the_fake = world->fake;
	world->server.storage = world->fake->storage;
	world->server.storage.backing_open = register_backing;
	world->server.ns = namespace_new(&world->server.storage);
	namespace_load(world->server.ns, true, false, &error);
	g_assert_no_error(error);
	namespace_attach(world->server.ns, &error);
	g_assert_no_error(error);
	namespace_settle(world->server.ns);
}

static ssize_t take_reply(int fd, struct iovec *iov, int count, void *server)
{
	const struct world *world = (struct world *)((char *)server - offsetof(struct world, server));

	(void)fd;
	return kernel_take_reply(world->kernel, iov, count);
}

static ssize_t refuse_read(int fd, void *buffer, size_t size, void *server)
{
	(void)fd;
	(void)buffer;
	(void)size;
	(void)server;
	errno = ENODEV;
	return -1;
}

static const struct fuse_custom_io io = { .writev = take_reply, .read = refuse_read };

static void begin(struct world *world, const struct config *config)
{
	char *argv[] = { (char *)"fuzz", NULL };
	struct fuse_args args = FUSE_ARGS_INIT(1, argv);

	world->fake = fake_new(CAPACITY, DMEMFS_PAGE_4K);
	world->server.config = config;
	load(world);
	world->fuse = fuse_session_new(&args, &ops_table, sizeof(ops_table), &world->server);
	g_assert_nonnull(world->fuse);
	g_assert_cmpint(fuse_session_custom_io(world->fuse, &io, sizeof(io), 0), ==, 0);
	world->kernel = kernel_new(world->fuse);
	kernel_initialise(world->kernel);
	g_assert_null(world->server.missing);
	fuse_opt_free_args(&args);
}

static void check(struct world *world)
{
	g_autofree char *quotas = namespace_check_quotas(world->server.ns);
	struct pool_usage usage;
	struct quota_usage all;

	g_assert_null(quotas);
	g_assert_cmpint(namespace_get_quota(world->server.ns, STORE_ROOT_INO, &all), ==, 0);
	pool_get_usage(world->server.storage.pool, &usage);
	g_assert_cmpuint(usage.free + all.used.of[QUOTA_BYTES], ==, usage.capacity);
}

static void end(struct world *world)
{
	struct namespace_counts before, after;

	kernel_forget_all(world->kernel);
	check(world);
	namespace_get_counts(world->server.ns, &before);
	namespace_destroy(world->server.ns, true);
	fuse_session_destroy(world->fuse);
	kernel_free(world->kernel);

	fake_restart(world->fake);
	load(world);
	check(world);
	namespace_get_counts(world->server.ns, &after);
	g_assert_cmpmem(&before, sizeof(before), &after, sizeof(after));
	namespace_destroy(world->server.ns, true);
	fake_destroy(world->fake);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct config config = { .alloc = ALLOC_EAGER,
		                        .state_dir = (char *)"/",
		                        .mountpoint = (char *)"/",
		                        .page_size = DMEMFS_PAGE_4K,
		                        .threads = 1 };
	struct fuzz_input input = { data, size };
	struct world world = { 0 };

	log_set_level(LOG_LEVEL_ERROR);
	begin(&world, &config);
	while (input.size > 0)
		kernel_send(world.kernel, &input);
	end(&world);
	return 0;
}

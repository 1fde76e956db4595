// SPDX-License-Identifier: GPL-2.0-or-later
/* What the log says of mappings whose address keeps large pages away, and faults while the host lacks memory. */
#include <errno.h>
#include <stdio.h> /* RENAME_EXCHANGE */
#include <string.h>

#include "base/page_order.h"
#include "file/unlinked_mapped.h"
#include "namespace/fault_service.h"
#include "pool/pool_clean.h"
#include "pool/pool_lent.h"
#include "unit/namespace/world.h"

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

#define QEMU "qemu-system-x86"
#define END  999 /* an inode that does not exist */

/* The file's inode is the first after that of the root. */
#define FACT(comm, page)   "inode 2 (/vm1): " comm " (pid 7) maps it at an address that allows pages of " page " only"
#define SERVER(comm, page) "dmemfsd: info: " FACT(comm, page) "\n"
#define REMEDY                                                                                                                \
	"to QEMU's memory-backend-file; with libvirt use the emulator qemu-aligned, and for memory that is plugged in later " \
	"see dmemfs-guests(7)\n"
#define ADVICE(comm, page, align) "dmemfsd: warning: " FACT(comm, page) ": add " align " " REMEDY
#define ADVICE_4K(comm)           ADVICE(comm, "4K", "align=2M or align=1G")

struct kind {
	const char *name;
	unsigned order;
	uint64_t unit;
	struct {
		const char *comm;
		uint64_t length, page_size;
	} mappings[8];
	const char *log;
};

static const struct kind kinds[] = {
	{ "1G",
	  PAGE_ORDER_1G,
	  GIB,
	  { { QEMU, GIB, 2 * MIB },
	    { QEMU, GIB, 4 * KIB },
	    { QEMU, 512 * MIB, 2 * MIB },
	    { QEMU, 512 * MIB, 4 * KIB },
	    { "qemu-kvm", GIB, 2 * MIB },
	    { "qemu:vm1", GIB, 2 * MIB } },
	  ADVICE(QEMU, "2M", "align=1G") ADVICE(QEMU, "4K", "align=1G") ADVICE_4K(QEMU)
	          ADVICE("qemu-kvm", "2M", "align=1G") ADVICE("qemu:vm1", "2M", "align=1G") },
	{ "servers",
	  PAGE_ORDER_1G,
	  GIB,
	  { { "qemu-storage-da", GIB, 2 * MIB }, { "virtiofsd", GIB, 4 * KIB }, { "virtiofsd", 512 * MIB, 2 * MIB } },
	  SERVER("qemu-storage-da", "2M") SERVER("virtiofsd", "4K") },
	/* Larger pages than compound ones do not exist, whatever the unit is. */
	{ "2M", PAGE_ORDER_2M, GIB, { { QEMU, GIB, 2 * MIB }, { QEMU, GIB, 4 * KIB } }, ADVICE_4K(QEMU) },
	{ "none-1G", PAGE_ORDER_NONE, GIB, { { QEMU, GIB, 2 * MIB } }, ADVICE(QEMU, "2M", "align=1G") },
	{ "none-2M", PAGE_ORDER_NONE, 2 * MIB, { { QEMU, GIB, 2 * MIB }, { QEMU, GIB, 4 * KIB } }, ADVICE_4K(QEMU) },
	{ "none-4K",
	  PAGE_ORDER_NONE,
	  4 * KIB,
	  { { QEMU, GIB, 2 * MIB }, { QEMU, 2 * MIB, 4 * KIB } },
	  ADVICE_4K(QEMU) },
};

static void report(struct fake *fake, const struct kind *kind)
{
	for (guint i = 0; i < G_N_ELEMENTS(kind->mappings) && kind->mappings[i].comm; i++) {
		struct backend_mapping mapping = {
			.id = 2, .length = kind->mappings[i].length, .pid = 7, .page_size = kind->mappings[i].page_size
		};

		g_strlcpy(mapping.comm, kind->mappings[i].comm, sizeof(mapping.comm));
		fake->demand->unaligned(&mapping, fake->demand_data);
	}
}

/* The only thread of the service comes to this fault when it has done all before. It says so in the log. */
static void wait_for_all(struct fake *fake)
{
	struct backend_fault end = { .id = END };

	fake->demand->fault(&end, fake->demand_data);
	while (!g_atomic_int_get(&fake->answers))
		g_usleep(1000);
}

static void reported(const struct kind *kind)
{
	struct world world = { .fake = fake_new_paged(GIB, kind->unit, kind->order) };
	struct fault_service *service;

	world_start(&world);
	g_assert_cmpuint(world_make(&world, STORE_ROOT_INO, "vm1", S_IFREG | 0600), ==, 2);
	service = fault_service_start(world.ns, &world.fake->storage, 1, 0);
	report(world.fake, kind);
	wait_for_all(world.fake);
	fault_service_stop(service);
	namespace_destroy(world.ns, false);
	fake_destroy(world.fake);
}

static void log_of_mappings(gconstpointer data)
{
	const struct kind *kind = data;
	g_autofree char *log =
		g_strconcat(kind->log, "dmemfsd: warning: inode " G_STRINGIFY(END) " (removed): *", NULL);

	if (g_test_subprocess()) {
		reported(kind);
		return;
	}
	g_test_trap_subprocess(NULL, 0, 0);
	g_test_trap_assert_passed();
	g_test_trap_assert_stderr(log);
}

/* A file with a name two directories down, and after it was renamed. */
static void paths_are_named(void)
{
	struct world world = { .fake = fake_new_paged(GIB, GIB, PAGE_ORDER_1G) };
	uint64_t dir, below, ino;

	world_start(&world);
	dir = world_make(&world, STORE_ROOT_INO, "a", S_IFDIR | 0700);
	below = world_make(&world, dir, "b", S_IFDIR | 0700);
	ino = world_make(&world, below, "vm1", S_IFREG | 0600);

	g_autofree char *first = namespace_describe(world.ns, ino),
			*root = namespace_describe(world.ns, STORE_ROOT_INO);

	g_assert_cmpint(namespace_rename(world.ns, below, "vm1", dir, "vm2", 0), ==, 0);
	world_restart(&world);

	g_autofree char *second = namespace_describe(world.ns, ino);

	g_assert_cmpint(namespace_unlink(world.ns, dir, "vm2"), ==, 0);

	g_autofree char *last = namespace_describe(world.ns, ino);

	g_assert_cmpstr(root, ==, "inode 1 (/)");
	g_assert_cmpstr(first, ==, "inode 4 (/a/b/vm1)");
	g_assert_cmpstr(second, ==, "inode 4 (/a/vm2)");
	g_assert_cmpstr(last, ==, "inode 4 (removed)");
	namespace_destroy(world.ns, false);
	fake_destroy(world.fake);
}

/* Users choose names and depths: a path keeps a line short, and cannot hide it from a reader that expects text. */
static void paths_of_hostile_users(void)
{
	struct world world = { .fake = fake_new_paged(GIB, GIB, PAGE_ORDER_1G) };
	g_autofree char *name = g_strnfill(200, 'd');
	uint64_t dir = STORE_ROOT_INO, odd;

	world_start(&world);
	for (int i = 0; i < 20; i++)
		dir = world_make(&world, dir, name, S_IFDIR | 0700);
	odd = world_make(&world, STORE_ROOT_INO, "\xff\x9b\xe2\x80\xae\n", S_IFREG | 0600);

	g_autofree char *deep = namespace_describe(world.ns, dir), *escaped = namespace_describe(world.ns, odd);

	g_assert_cmpuint(strlen(deep), <, 1400);
	g_assert_true(g_str_has_prefix(deep, "inode 21 (.../ddd"));
	g_assert_cmpstr(escaped, ==, "inode 22 (/\\377\\233\\342\\200\\256\\n)");
	namespace_destroy(world.ns, false);
	fake_destroy(world.fake);
}

/* After each rename a path is that of the last name, or none: never one that leads to another inode. */
static void paths_after_renames(void)
{
	struct world world = { .fake = fake_new_paged(GIB, GIB, PAGE_ORDER_1G) };
	struct stat attr;
	uint64_t dir, one, two;

	world_start(&world);
	dir = world_make(&world, STORE_ROOT_INO, "d", S_IFDIR | 0700);
	one = world_make(&world, STORE_ROOT_INO, "one", S_IFREG | 0600);
	two = world_make(&world, dir, "two", S_IFREG | 0600);
	g_assert_cmpint(namespace_rename(world.ns, STORE_ROOT_INO, "one", dir, "two", RENAME_EXCHANGE), ==, 0);
	g_assert_cmpint(namespace_link(world.ns, one, STORE_ROOT_INO, "link", &attr), ==, 0);

	g_autofree char *linked = namespace_describe(world.ns, one), *exchanged = namespace_describe(world.ns, two);

	g_assert_cmpint(namespace_rename(world.ns, STORE_ROOT_INO, "one", STORE_ROOT_INO, "link", 0), ==, 0);

	g_autofree char *replaced = namespace_describe(world.ns, one), *replacing = namespace_describe(world.ns, two);

	g_assert_cmpstr(linked, ==, "inode 3 (/link)");
	g_assert_cmpstr(exchanged, ==, "inode 4 (/one)");
	g_assert_cmpstr(replaced, ==, "inode 3");
	g_assert_cmpstr(replacing, ==, "inode 4 (/link)");
	namespace_destroy(world.ns, false);
	fake_destroy(world.fake);
}

/* A process touches a file of one unit, and zeroing fails so often. */
static struct fault_service *touch(struct world *world, int failures, gint64 patience)
{
	struct backend_fault fault = { .id = 2, .length = DMEMFS_PAGE_2M, .pid = 7, .comm = QEMU };
	struct fault_service *service;
	struct file *file;

	world_set_up(world, NULL);
	g_assert_cmpuint(world_make(world, STORE_ROOT_INO, "vm1", S_IFREG | 0600), ==, fault.id);
	g_assert_cmpint(namespace_get_file(world->ns, fault.id, &file), ==, 0);
	g_assert_cmpint(file_set_demand(file, true), ==, 0);
	g_assert_cmpint(file_truncate(file, DMEMFS_PAGE_2M), ==, 0);
	namespace_put_file(world->ns, fault.id);
	world->fake->fail_cleans = failures;
	service = fault_service_start(world->ns, &world->fake->storage, 1, patience);
	world->fake->demand->fault(&fault, world->fake->demand_data);
	return service;
}

static bool has_memory(struct world *world)
{
	struct stat attr;

	g_assert_cmpint(namespace_getattr(world->ns, 2, &attr), ==, 0);
	return attr.st_blocks > 0;
}

static void fault_waits_for_memory(void)
{
	struct world world = { 0 };
	struct fault_service *service = touch(&world, 2, FAULT_SERVICE_PATIENCE);

	while (!has_memory(&world))
		g_usleep(1000);
	fault_service_stop(service);
	g_assert_cmpint(world.fake->answers, ==, 0); /* the memory is the answer */
	world_tear_down(&world, NULL);
}

static void fault_waits_no_longer(void)
{
	struct world world = { 0 };
	struct fault_service *service = touch(&world, G_MAXINT, FAULT_SERVICE_PATIENCE / 50);

	while (!g_atomic_int_get(&world.fake->answers))
		g_usleep(1000);
	fault_service_stop(service);
	g_assert_cmpint(world.fake->answer, ==, -ENOMEM);
	g_assert_cmpint(g_atomic_int_get(&world.fake->fail_cleans), <, G_MAXINT - 1);
	g_assert_false(has_memory(&world));
	world_tear_down(&world, NULL);
}

/* The only thread serves another fault, of an inode that does not exist, before the patience of the first ends. */
static void others_do_not_wait(void)
{
	struct world world = { 0 };
	struct fault_service *service = touch(&world, G_MAXINT, FAULT_SERVICE_PATIENCE);
	struct backend_fault fault = { .id = END, .length = DMEMFS_PAGE_2M, .pid = 8, .comm = QEMU };

	while (g_atomic_int_get(&world.fake->fail_cleans) == G_MAXINT)
		g_usleep(1000);
	world.fake->demand->fault(&fault, world.fake->demand_data);
	while (!g_atomic_int_get(&world.fake->answers))
		g_usleep(1000);
	g_assert_cmpint(world.fake->answer, !=, -ENOMEM);
	fault_service_stop(service);
	g_assert_cmpint(world.fake->answers, ==, 1);
	world_tear_down(&world, NULL);
}

static void fault_waits_for_the_next_daemon(void)
{
	struct world world = { 0 };
	struct fault_service *service = touch(&world, G_MAXINT, FAULT_SERVICE_PATIENCE);

	while (g_atomic_int_get(&world.fake->fail_cleans) == G_MAXINT)
		g_usleep(1000);
	fault_service_stop(service);
	g_assert_cmpint(world.fake->answers, ==, 0);
	world_tear_down(&world, NULL);
}

static void make_demand_file(struct world *world, const char *name, uint64_t ino)
{
	struct file *file;

	g_assert_cmpuint(world_make(world, STORE_ROOT_INO, name, S_IFREG | 0600), ==, ino);
	g_assert_cmpint(namespace_get_file(world->ns, ino, &file), ==, 0);
	g_assert_cmpint(file_set_demand(file, true), ==, 0);
	g_assert_cmpint(file_truncate(file, DMEMFS_PAGE_2M), ==, 0);
	namespace_put_file(world->ns, ino);
}

/* All memory is lent, and what is taken back for the promises of two files, inodes 2 and 3, does not come. */
static void lend_all(struct world *world, gint64 patience)
{
	const struct lend_rules rules = { .on = true };
	g_autoptr(GArray) believed = extents_new();
	struct pool *pool;
	struct extent unit;

	world_set_up(world, NULL);
	pool = world->fake->storage.pool;
	pool_set_overcommit(pool, 2);
	fake_allow_lending(world->fake, DMEMFS_PAGE_2M);
	pool_believe(pool, (struct extent){ UINT64_C(4) << 30, world->fake->capacity }, believed);
	pool_open_lending(pool, patience);
	while (pool_next_lending(pool, &rules, &unit) == LEND_UNIT)
		pool_lend_begin(pool, unit);
	make_demand_file(world, "vm1", 2);
	make_demand_file(world, "vm2", 3);
	while (pool_next_lending(pool, &rules, &unit) == LEND_TAKE)
		pool_take_failed(pool, unit, -EBUSY);
}

/* A process touches inode 2. Returns when the fault waits for lent memory. */
static struct fault_service *touch_lent(struct world *world, unsigned threads)
{
	struct backend_fault fault = { .id = 2, .length = DMEMFS_PAGE_2M, .pid = 7, .comm = QEMU };
	struct fault_service *service =
		fault_service_start(world->ns, &world->fake->storage, threads, FAULT_SERVICE_PATIENCE);
	const struct lend_rules rules = { .on = true };
	struct extent unit;

	world->fake->demand->fault(&fault, world->fake->demand_data);
	while (pool_next_lending(world->fake->storage.pool, &rules, &unit) != LEND_TAKE)
		;
	return service;
}

static void leave_to_the_next(struct world *world, struct fault_service *service, int answers)
{
	struct pool *pool = world->fake->storage.pool;
	g_autoptr(GArray) lent = NULL;

	pool_close_lending(pool);
	fault_service_stop(service);
	g_assert_cmpint(world->fake->answers, ==, answers);
	lent = pool_list_lent(pool);
	for (guint i = 0; i < lent->len; i++)
		pool_take_back(pool, g_array_index(lent, struct lend_unit, i).extent);
}

/* Nobody takes back what is lent. */
static void fault_leaves_lent_memory_to_the_next_daemon(void)
{
	struct world world = { 0 };
	struct fault_service *service;

	lend_all(&world, 2 * G_TIME_SPAN_SECOND);
	service = touch_lent(&world, 1);
	leave_to_the_next(&world, service, 0);
	world_tear_down(&world, NULL);
}

static gint heard; /* atomic: all idle events were handled */

static gpointer hear_of_idle_memory(gpointer fake)
{
	fake_release_held(fake);
	g_atomic_int_set(&heard, TRUE);
	return NULL;
}

/*
 * A fault in a removed file that is still mapped waits for lent memory. Meanwhile the process ends, and that of another such file: the
 * thread that hears of it also serves signals and the watchdog.
 */
static void removed_files_become_idle_while_one_waits(void)
{
	struct world world = { 0 };
	struct unlinked_mapped *table;
	struct fault_service *service;
	GThread *main_loop;

	lend_all(&world, G_TIME_SPAN_HOUR);
	table = world.fake->storage.unlinked_mapped;
	world.fake->hold = true;
	g_assert_cmpint(namespace_unlink(world.ns, STORE_ROOT_INO, "vm1"), ==, 0);
	g_assert_cmpint(namespace_unlink(world.ns, STORE_ROOT_INO, "vm2"), ==, 0);
	g_assert_nonnull(unlinked_mapped_find(table, 2));
	service = touch_lent(&world, 1);
	main_loop = g_thread_new("main-loop", hear_of_idle_memory, world.fake);
	for (int i = 0; i < 5000 && !g_atomic_int_get(&heard); i++)
		g_usleep(1000);
	g_assert_true(g_atomic_int_get(&heard));
	g_thread_join(main_loop);
	for (int i = 0; i < 5000 && !g_atomic_int_get(&world.fake->answers); i++)
		g_usleep(1000);
	leave_to_the_next(&world, service, 1);
	g_assert_null(unlinked_mapped_find(table, 2));
	g_assert_null(unlinked_mapped_find(table, 3));
	g_assert_cmpuint(fake_promised_bytes(world.fake), ==, 0);
	world_tear_down(&world, NULL);
}

/* Two threads: one serves a fault that waits for lent memory, and more faults of that file come, and a punched hole. */
static void other_files_need_threads_too(void)
{
	struct backend_fault fault = { .id = 2, .length = DMEMFS_PAGE_2M, .pid = 7, .comm = QEMU },
			     other = { .id = END };
	struct world world = { 0 };
	struct fault_service *service;

	lend_all(&world, G_TIME_SPAN_HOUR);
	service = touch_lent(&world, 2);
	for (int i = 0; i < 4; i++)
		world.fake->demand->fault(&fault, world.fake->demand_data);
	world.fake->demand->punched(fault.id, 0, DMEMFS_PAGE_2M, world.fake->demand_data);
	world.fake->demand->fault(&other, world.fake->demand_data);
	for (int i = 0; i < 5000 && !g_atomic_int_get(&world.fake->answers); i++)
		g_usleep(1000);
	leave_to_the_next(&world, service, 1);
	world_tear_down(&world, NULL);
}

/* Two faults wait for lent memory. Neither wakes the other by trying in vain, nor requests that wait: this would go on without a pause. */
static void faults_that_wait_do_not_wake_each_other(void)
{
	struct backend_fault fault = { .id = 3, .length = DMEMFS_PAGE_2M, .pid = 8, .comm = QEMU };
	struct pool_wait wait = { 0 };
	struct world world = { 0 };
	struct fault_service *service;
	gint64 start;

	lend_all(&world, G_TIME_SPAN_HOUR);
	service = touch_lent(&world, 2);
	world.fake->demand->fault(&fault, world.fake->demand_data);
	start = g_get_monotonic_time();
	for (int i = 0; i < 6; i++)
		g_assert_cmpint(pool_await(world.fake->storage.pool, ALLOCATOR_ANY_REGION, DMEMFS_PAGE_2M, &wait), ==,
		                0);
	/* Each waits for 50 ms. */
	g_assert_cmpint(g_get_monotonic_time() - start, >=, 200 * G_TIME_SPAN_MILLISECOND);
	leave_to_the_next(&world, service, 0);
	world_tear_down(&world, NULL);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
		g_autofree char *path = g_strconcat("/fault_service/unaligned/", kinds[i].name, NULL);

		g_test_add_data_func(path, &kinds[i], log_of_mappings);
	}
	g_test_add_func("/fault_service/paths", paths_are_named);
	g_test_add_func("/fault_service/hostile", paths_of_hostile_users);
	g_test_add_func("/fault_service/renames", paths_after_renames);
	g_test_add_func("/fault_service/memory", fault_waits_for_memory);
	g_test_add_func("/fault_service/patience", fault_waits_no_longer);
	g_test_add_func("/fault_service/others", others_do_not_wait);
	g_test_add_func("/fault_service/stop", fault_waits_for_the_next_daemon);
	g_test_add_func("/fault_service/lent", fault_leaves_lent_memory_to_the_next_daemon);
	g_test_add_func("/fault_service/removed", removed_files_become_idle_while_one_waits);
	g_test_add_func("/fault_service/threads", other_files_need_threads_too);
	g_test_add_func("/fault_service/quiet", faults_that_wait_do_not_wake_each_other);
	return g_test_run();
}

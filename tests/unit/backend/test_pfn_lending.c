// SPDX-License-Identifier: GPL-2.0-or-later
/* Lent memory is brought online, and taken back only where the host can spare it. The functions of pfn_device.h are below. */
#include "backend/pfn_lending.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/backend.h"
#include "backend/pfn_device.h"

#define GIB    (UINT64_C(1) << 30)
#define BLOCK  (UINT64_C(512) << 20)
#define BLOCKS "devices/system/memory"

/* base/system_file.h */
#ifdef NDEBUG
static const bool system_files_are_replaced = false;
#else
static const bool system_files_are_replaced = true;
#endif

static const struct extent unit = { 8 * GIB, GIB };

/* The only unit of the module; state 0: it is not lent. */
static struct dmemfs_lend lent;
static int lend_error, take_error; /* errno values; 0: it succeeds */
static guint takes;
static bool vanishes; /* a take of an earlier daemon ends after REGION_LEND has found the unit lent */
static bool old;      /* the module knows nothing of lending */
static char *root;

static int lent_next(struct dmemfs_lend *found)
{
	if (!lent.state || found->start > lent.start)
		return -ENOENT;
	*found = lent;
	return 0;
}

static int region_lend(const struct dmemfs_lend *request)
{
	if (lent.state) {
		lent.state = vanishes ? 0 : lent.state;
		return -EEXIST;
	}
	if (lend_error)
		return -lend_error;
	lent = (struct dmemfs_lend){ .start = request->start, .length = request->length, .state = DMEMFS_LEND_OFFLINE };
	return 0;
}

static int region_take(const struct dmemfs_lend *request)
{
	takes++;
	g_assert_cmpuint(request->timeout, >, 0);
	if (!lent.state)
		return -ENOENT;
	if (!take_error)
		lent.state = 0;
	return -take_error;
}

int pfn_call(int device, unsigned long request, void *argument)
{
	(void)device;
	if (old)
		return -ENOTTY;
	switch (request) {
	case DMEMFS_IOC_LENT_NEXT:
		return lent_next(argument);
	case DMEMFS_IOC_REGION_LEND:
		return region_lend(argument);
	case DMEMFS_IOC_REGION_TAKE:
		return region_take(argument);
	default:
		return -ENOTTY;
	}
}

bool pfn_hello(int device, struct dmemfs_hello *hello, GError **error)
{
	(void)device;
	(void)error;
	*hello = (struct dmemfs_hello){ .features = old ? 0 : DMEMFS_FEATURE_LEND, .lend_unit = GIB };
	return true;
}

static void write_file(const char *name, const char *text)
{
	g_autofree char *path = g_build_filename(root, name, NULL);
	g_autofree char *directory = g_path_get_dirname(path);

	g_mkdir_with_parents(directory, 0700);
	g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

static char *block_state(guint block)
{
	g_autofree char *name = g_strdup_printf("%s/" BLOCKS "/memory%u/state", root, block);
	char *text = NULL;

	g_file_get_contents(name, &text, NULL, NULL);
	return text;
}

static void assert_state(guint block, const char *state)
{
	g_autofree char *text = block_state(block);

	g_assert_cmpstr(text, ==, state);
}

/* Two memory blocks, and a host with @available KiB. */
static void set_up(uint64_t available)
{
	g_autofree char *meminfo =
		g_strdup_printf("MemTotal: 9 kB\nMemFree: 5 kB\nMemAvailable:  %" G_GUINT64_FORMAT " kB\n", available);

	lent = (struct dmemfs_lend){ 0 };
	lend_error = take_error = 0;
	takes = 0;
	old = vanishes = false;
	write_file("meminfo", meminfo);
	write_file(BLOCKS "/block_size_bytes", "20000000\n");
	write_file(BLOCKS "/memory16/state", "offline\n");
	write_file(BLOCKS "/memory17/state", "online\n");
}

static void blocks_are_brought_online(void)
{
	set_up(4 << 20);
	g_assert_cmpuint(pfn_lend_unit(-1), ==, GIB);
	g_assert_cmpint(pfn_lend(-1, unit), ==, 0);
	assert_state(16, "online_movable");
	/* Not written to: it is in use. */
	assert_state(17, "online\n");
	/* So does the next daemon where this one died. */
	write_file(BLOCKS "/memory16/state", "offline\n");
	g_assert_cmpint(pfn_lend(-1, unit), ==, 0);
	assert_state(16, "online_movable");
}

static void what_cannot_be_used_is_not_lent(void)
{
	g_autofree char *state = g_strdup_printf("%s/" BLOCKS "/memory16/state", root);

	set_up(4 << 20);
	lend_error = ENOMEM;
	g_assert_cmpint(pfn_lend(-1, unit), ==, -ENOMEM);
	lend_error = 0;
	g_unlink(state);
	g_assert_cmpint(pfn_lend(-1, unit), ==, -ENOENT);
	g_assert_cmpuint(lent.state, ==, 0);
	/* It stays lent when it cannot be had again. */
	take_error = EBUSY;
	g_assert_cmpint(pfn_lend(-1, unit), ==, -EINPROGRESS);
	g_assert_cmpuint(lent.state, ==, DMEMFS_LEND_OFFLINE);
	vanishes = true;
	g_assert_cmpint(pfn_lend(-1, unit), ==, -ENOENT);
}

/* An earlier daemon died meanwhile. The module goes on with it, and may soon have it without a word. */
static void what_is_being_taken_must_be_taken(void)
{
	set_up(4 << 20);
	g_assert_cmpint(pfn_lend(-1, unit), ==, 0);
	lent.state = DMEMFS_LEND_TAKING;
	g_assert_cmpint(pfn_lend(-1, unit), ==, -EINPROGRESS);
	g_assert_cmpuint(lent.state, ==, DMEMFS_LEND_TAKING);
	g_assert_cmpuint(takes, ==, 0);
}

/* The highest descriptor of the thread that writes to a memory block; -1: there is no such thread, or it has none. */
static int writer_descriptor(void)
{
	g_autoptr(GDir) tasks = g_dir_open("/proc/self/task", 0, NULL);
	const char *task, *fd;
	int highest = -1;

	while ((task = g_dir_read_name(tasks))) {
		g_autofree char *comm = g_strdup_printf("/proc/self/task/%s/comm", task),
				*fds = g_strdup_printf("/proc/self/task/%s/fd", task), *name = NULL;
		g_autoptr(GDir) open = NULL;

		if (!g_file_get_contents(comm, &name, NULL, NULL) || strcmp(name, "online\n") != 0)
			continue;
		open = g_dir_open(fds, 0, NULL);
		while (open && (fd = g_dir_read_name(open)))
			highest = MAX(highest, atoi(fd));
	}
	return highest;
}

/* The kernel has no limit of its own: another change of memory blocks may last. Here it is a lease that keeps the file from writers. */
static void a_block_that_does_not_come_online_is_given_up(void)
{
	g_autofree char *state = g_strdup_printf("%s/" BLOCKS "/memory16/state", root);
	gint64 start = g_get_monotonic_time();

	set_up(4 << 20);
	signal(SIGIO, SIG_IGN);
	backend_fd fd = open(state, O_RDONLY | O_CLOEXEC);

	if (fcntl(fd, F_SETLEASE, F_RDLCK) < 0) {
		g_test_skip("no leases on this filesystem");
		return;
	}
	g_assert_cmpint(pfn_lend(-1, unit), ==, -ETIME);
	g_assert_cmpint(g_get_monotonic_time() - start, <, 20 * G_TIME_SPAN_SECOND);
	g_assert_cmpuint(lent.state, ==, 0);
	assert_state(16, "offline\n");
	/* If it lasts for ever, nothing of the daemon stays open: neither the lock of the state directory nor the connection. */
	g_assert_cmpint(writer_descriptor(), >=, 0);
	g_assert_cmpint(writer_descriptor(), <=, STDERR_FILENO);
	/* What is written later does no harm. */
	g_assert_cmpint(fcntl(fd, F_SETLEASE, F_UNLCK), ==, 0);
	for (int i = 0; i < 2000; i++) {
		g_autofree char *text = block_state(16);

		if (g_str_has_prefix(text, "online"))
			break;
		g_usleep(5000);
	}
	assert_state(16, "online_movable");
}

static void a_host_that_needs_it_keeps_it(void)
{
	set_up(1 << 20);
	g_assert_cmpint(pfn_lend(-1, unit), ==, 0);
	lent.state = DMEMFS_LEND_ONLINE;
	g_assert_cmpint(pfn_take_lent(-1, unit, 10), ==, -ENOMEM);
	g_assert_cmpuint(takes, ==, 0);
	/* Nothing is in memory that is not online. */
	lent.state = DMEMFS_LEND_OFFLINE;
	g_assert_cmpint(pfn_take_lent(-1, unit, 10), ==, 0);
	g_assert_cmpint(pfn_take_lent(-1, unit, 10), ==, -ENOENT);
}

static void all_of_a_range_is_taken(void)
{
	const struct extent all = { 0, INT64_MAX }, other = { 0, 8 * GIB };
	g_autoptr(GArray) kept = extents_new();

	set_up(4 << 20);
	g_assert_cmpint(pfn_take_all(-1, all, 10, NULL, NULL), ==, 0);
	g_assert_cmpint(pfn_lend(-1, unit), ==, 0);
	g_assert_cmpint(pfn_take_all(-1, other, 10, NULL, NULL), ==, 0);
	g_assert_cmpuint(takes, ==, 0);
	take_error = EBUSY;
	g_assert_cmpint(pfn_take_all(-1, all, 10, NULL, kept), ==, -EBUSY);
	g_assert_cmpuint(kept->len, ==, 1);
	take_error = 0;
	g_assert_cmpint(pfn_take_all(-1, all, 10, NULL, NULL), ==, 0);
	g_assert_cmpuint(lent.state, ==, 0);
}

static void an_old_module_lends_nothing(void)
{
	g_autoptr(GArray) units = extents_new();

	set_up(4 << 20);
	old = true;
	g_assert_cmpuint(pfn_lend_unit(-1), ==, 0);
	pfn_list_lent(-1, (struct extent){ 0, INT64_MAX }, units);
	g_assert_cmpuint(units->len, ==, 0);
}

int main(int argc, char **argv)
{
	int status;

	g_test_init(&argc, &argv, NULL);
	g_log_set_always_fatal(G_LOG_FATAL_MASK);
	root = g_dir_make_tmp("dmemfs-unit-XXXXXX", NULL);
	g_setenv("DMEMFS_PROC", root, TRUE);
	g_setenv("DMEMFS_SYS", root, TRUE);
	if (system_files_are_replaced) {
		g_test_add_func("/pfn-lending/online", blocks_are_brought_online);
		g_test_add_func("/pfn-lending/useless", what_cannot_be_used_is_not_lent);
		g_test_add_func("/pfn-lending/taking", what_is_being_taken_must_be_taken);
		g_test_add_func("/pfn-lending/time", a_block_that_does_not_come_online_is_given_up);
		g_test_add_func("/pfn-lending/host", a_host_that_needs_it_keeps_it);
		g_test_add_func("/pfn-lending/all", all_of_a_range_is_taken);
	}
	g_test_add_func("/pfn-lending/old", an_old_module_lends_nothing);
	status = g_test_run();
	g_autofree char *remove = g_strconcat("rm -r ", root, NULL);

	g_assert_true(g_spawn_command_line_sync(remove, NULL, NULL, NULL, NULL));
	g_free(root);
	return status;
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* Checks of the machine. Needs /dev/shm. tests/mount/test_command_line.py tests those that need a mount. */
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/config.h"
#include "unit/config/config_file.h"

/* For each test: a directory on tmpfs with mnt/, and a valid configuration, of which the test breaks one part. */
struct fixture {
	char *directory;
	char *mountpoint;
	char *state_dir;
	char *memory_dir;
	char *file;
};

static void setup(struct fixture *fixture, gconstpointer data)
{
	(void)data;
	fixture->directory = g_strdup("/dev/shm/dmemfs-test-XXXXXX");
	g_assert_nonnull(g_mkdtemp(fixture->directory));
	fixture->mountpoint = g_build_filename(fixture->directory, "mnt", NULL);
	fixture->state_dir = g_build_filename(fixture->directory, "state", NULL);
	fixture->memory_dir = g_build_filename(fixture->directory, "memory", NULL);
	fixture->file = g_build_filename(fixture->directory, "dmemfsd.conf", NULL);
	g_assert_cmpint(g_mkdir(fixture->mountpoint, 0755), ==, 0);
}

static void teardown(struct fixture *fixture, gconstpointer data)
{
	char **paths[] = { &fixture->mountpoint, &fixture->state_dir, &fixture->memory_dir, &fixture->file,
		           &fixture->directory };

	(void)data;
	for (size_t i = 0; i < G_N_ELEMENTS(paths); i++) {
		g_remove(*paths[i]);
		g_free(*paths[i]);
	}
}

/* @more: further keys and groups. Returns the error message, NULL when the check passed. */
static char *check(const struct fixture *fixture, const char *mountpoint, const char *state_dir, const char *memory_dir,
                   const char *more)
{
	g_autofree char *text = g_strdup_printf("[daemon]\nmountpoint=%s\nstate-dir=%s\nmemory-dir=%s\nsize=2M\n%s",
	                                        mountpoint, state_dir, memory_dir, more);
	g_autoptr(GError) error = NULL;
	g_autoptr(config_t) config = NULL;

	g_assert_true(g_file_set_contents(fixture->file, text, -1, NULL));
	config = config_load_for_host(fixture->file, &error);
	if (config) {
		g_assert_no_error(error);
		return NULL;
	}
	g_assert_error(error, CONFIG_ERROR, CONFIG_ERROR_INVALID);
	g_assert_null(strchr(error->message, '\n'));
	g_assert_true(g_str_has_prefix(error->message, fixture->file));
	return g_strdup(error->message);
}

static void passes(const struct fixture *fixture)
{
	g_autofree char *message = check(fixture, fixture->mountpoint, fixture->state_dir, fixture->memory_dir, "");

	g_assert_cmpstr(message, ==, NULL);
}

/* Takes ownership of @message. */
static void says(char *message, const char *place, const char *wrong, const char *remedy)
{
	g_autofree char *owned = message;
	const char *const fragments[] = { place, wrong, remedy };

	g_assert_nonnull(owned);
	for (size_t i = 0; i < G_N_ELEMENTS(fragments); i++)
		assert_contains(owned, fragments[i]);
}

static void directories_may_be_there_or_not(struct fixture *fixture, gconstpointer data)
{
	(void)data;
	passes(fixture);
	/* The check has created nothing. */
	g_assert_false(g_file_test(fixture->state_dir, G_FILE_TEST_EXISTS));
	g_assert_false(g_file_test(fixture->memory_dir, G_FILE_TEST_EXISTS));
	g_assert_cmpint(g_mkdir(fixture->state_dir, 0755), ==, 0);
	g_assert_cmpint(g_mkdir(fixture->memory_dir, 0700), ==, 0);
	passes(fixture);
}

static void mountpoint_is_a_directory(struct fixture *fixture, gconstpointer data)
{
	g_autofree char *missing = g_build_filename(fixture->directory, "missing", NULL);
	g_autofree char *below = g_build_filename(fixture->file, "x", NULL);

	(void)data;
	says(check(fixture, missing, fixture->state_dir, fixture->memory_dir, ""),
	     "[daemon] mountpoint: ", "does not exist: ", "mkdir -p ");
	says(check(fixture, fixture->file, fixture->state_dir, fixture->memory_dir, ""),
	     "[daemon] mountpoint: ", "is not a directory: ", "name a directory");
	says(check(fixture, below, fixture->state_dir, fixture->memory_dir, ""),
	     "[daemon] mountpoint: ", "Not a directory: ", "name a directory");
	says(check(fixture, "/proc", fixture->state_dir, fixture->memory_dir, ""),
	     "[daemon] mountpoint: ", "/proc is a mount point already: ", "unmount it");
}

static void mountpoint_may_be_a_link(struct fixture *fixture, gconstpointer data)
{
	(void)data;
	g_assert_cmpint(g_rmdir(fixture->mountpoint), ==, 0);
	g_assert_cmpint(symlink("/usr", fixture->mountpoint), ==, 0);
	passes(fixture);
}

static void state_dir_is_private(struct fixture *fixture, gconstpointer data)
{
	(void)data;
	g_assert_cmpint(g_mkdir(fixture->state_dir, 0700), ==, 0);
	g_assert_cmpint(chmod(fixture->state_dir, 0770), ==, 0);
	says(check(fixture, fixture->mountpoint, fixture->state_dir, fixture->memory_dir, ""),
	     "[daemon] state-dir: ", "can be written by others (mode 0770): ", "the daemon's own");
	g_assert_cmpint(chmod(fixture->state_dir, 01707), ==, 0);
	says(check(fixture, fixture->mountpoint, fixture->state_dir, fixture->memory_dir, ""),
	     "[daemon] state-dir: ", "can be written by others (mode 1707): ", "the daemon's own");
}

static void state_dir_is_the_daemons(struct fixture *fixture, gconstpointer data)
{
	(void)data;
	if (geteuid() != 0) {
		g_test_skip("needs root to give a directory away");
		return;
	}
	g_assert_cmpint(g_mkdir(fixture->state_dir, 0700), ==, 0);
	g_assert_cmpint(chown(fixture->state_dir, 4711, 0), ==, 0);
	says(check(fixture, fixture->mountpoint, fixture->state_dir, fixture->memory_dir, ""),
	     "[daemon] state-dir: ", "belongs to user 4711 (mode 0700): ", "name another, that belongs to root");
}

/* A user who can replace a directory of the path could make the daemon use another one. */
static void way_is_private(struct fixture *fixture, gconstpointer data)
{
	g_autofree char *way = g_build_filename(fixture->directory, "way", NULL);
	g_autofree char *state_dir = g_build_filename(way, "state", NULL);

	(void)data;
	g_assert_cmpint(g_mkdir(way, 0700), ==, 0);
	g_assert_cmpint(chmod(way, 0777), ==, 0);
	says(check(fixture, fixture->mountpoint, state_dir, fixture->memory_dir, ""),
	     "[daemon] state-dir: ", "way can be written by others (mode 0777): ", "run chmod go-w ");
	g_assert_cmpint(chmod(way, 01777), ==, 0);
	g_assert_null(check(fixture, fixture->mountpoint, state_dir, fixture->memory_dir, ""));
	if (geteuid() != 0)
		return;
	g_assert_cmpint(chmod(way, 0755), ==, 0);
	g_assert_cmpint(chown(way, 4711, 0), ==, 0);
	says(check(fixture, fixture->mountpoint, state_dir, fixture->memory_dir, ""),
	     "[daemon] state-dir: ", "way belongs to user 4711 (mode 0755): ", "name another, that belongs to root");
	/* A link that another user owns is refused, too, wherever it points to. */
	g_assert_cmpint(g_rmdir(way), ==, 0);
	g_assert_cmpint(symlink(".", way), ==, 0);
	g_assert_null(check(fixture, fixture->mountpoint, state_dir, fixture->memory_dir, ""));
	g_assert_cmpint(lchown(way, 4711, 0), ==, 0);
	says(check(fixture, fixture->mountpoint, state_dir, fixture->memory_dir, ""),
	     "[daemon] state-dir: ", "way belongs to user 4711 (mode 0777): ", "name another, that belongs to root");
}

static void state_dir_is_a_directory(struct fixture *fixture, gconstpointer data)
{
	(void)data;
	says(check(fixture, fixture->mountpoint, fixture->file, fixture->memory_dir, ""),
	     "[daemon] state-dir: ", "is not a directory: ", "remove it, or name another");
	/* A link could be changed between the check and the use. */
	g_assert_cmpint(symlink("/usr", fixture->state_dir), ==, 0);
	says(check(fixture, fixture->mountpoint, fixture->state_dir, fixture->memory_dir, ""),
	     "[daemon] state-dir: ", "is not a directory: ", "name another");
}

static void state_dir_has_a_parent(struct fixture *fixture, gconstpointer data)
{
	g_autofree char *deep = g_build_filename(fixture->directory, "a", "b", NULL);
	g_autofree char *below = g_build_filename(fixture->file, "x", NULL);

	(void)data;
	says(check(fixture, fixture->mountpoint, deep, fixture->memory_dir, ""),
	     "[daemon] state-dir: ", "cannot be made", "run mkdir -p ");
	says(check(fixture, fixture->mountpoint, below, fixture->memory_dir, ""),
	     "[daemon] state-dir: ", "cannot be made", "Not a directory");
}

static void memory_dir_is_on_tmpfs(struct fixture *fixture, gconstpointer data)
{
	(void)data;
	if (geteuid() != 0) {
		g_test_skip("needs root to pass for the owner of /sys");
		return;
	}
	says(check(fixture, fixture->mountpoint, fixture->state_dir, "/sys/dmemfs", ""),
	     "[daemon] memory-dir: ", "/sys/dmemfs is not on tmpfs: ", "/dev/shm");
	says(check(fixture, fixture->mountpoint, fixture->state_dir, "/sys/kernel", ""),
	     "[daemon] memory-dir: ", "/sys/kernel is not on tmpfs: ", "/dev/shm");
}

/* The daemon removes what an earlier run left in memory-dir, so nobody else may use that directory. */
static void memory_dir_is_private(struct fixture *fixture, gconstpointer data)
{
	(void)data;
	g_assert_cmpint(g_mkdir(fixture->memory_dir, 0700), ==, 0);
	g_assert_cmpint(chmod(fixture->memory_dir, 01777), ==, 0);
	says(check(fixture, fixture->mountpoint, fixture->state_dir, fixture->memory_dir, ""),
	     "[daemon] memory-dir: ", "can be written by others (mode 1777): ", "the daemon's own");
}

int main(int argc, char **argv)
{
	static const struct {
		const char *path;
		void (*run)(struct fixture *fixture, gconstpointer data);
	} tests[] = {
		{ "/config/host/directories", directories_may_be_there_or_not },
		{ "/config/host/mountpoint", mountpoint_is_a_directory },
		{ "/config/host/mountpoint/link", mountpoint_may_be_a_link },
		{ "/config/host/state-dir/private", state_dir_is_private },
		{ "/config/host/state-dir/owner", state_dir_is_the_daemons },
		{ "/config/host/state-dir/way", way_is_private },
		{ "/config/host/state-dir/type", state_dir_is_a_directory },
		{ "/config/host/state-dir/parent", state_dir_has_a_parent },
		{ "/config/host/memory-dir/tmpfs", memory_dir_is_on_tmpfs },
		{ "/config/host/memory-dir/private", memory_dir_is_private },
	};

	g_test_init(&argc, &argv, NULL);
	for (size_t i = 0; i < G_N_ELEMENTS(tests); i++)
		g_test_add(tests[i].path, struct fixture, NULL, setup, tests[i].run, teardown);
	return g_test_run();
}

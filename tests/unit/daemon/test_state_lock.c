// SPDX-License-Identifier: GPL-2.0-or-later
/* The lock of the state directory: a daemon waits for it only for a time, and not while its holder serves a mount. */
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "base/log.h"
#include "daemon/state_lock.h"

static char *directory;

static void lock_fails(const char *why, unsigned patience, double at_least, double at_most)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GTimer) timer = g_timer_new();

	g_assert_cmpint(state_lock_take(directory, patience, &error), ==, -1);
	g_assert_cmpfloat(g_timer_elapsed(timer, NULL), >=, at_least);
	g_assert_cmpfloat(g_timer_elapsed(timer, NULL), <, at_most);
	g_assert_error(error, G_FILE_ERROR, G_FILE_ERROR_EXIST);
	g_assert_nonnull(strstr(error->message, "another daemon (pid "));
	g_assert_nonnull(strstr(error->message, why));
}

static void holder_that_never_ends(void)
{
	int lock = state_lock_take(directory, 0, NULL);

	g_assert_cmpint(lock, >=, 0);
	lock_fails("uses this state directory", 0, 0, 5);
	lock_fails("uses this state directory", 1, 1, 30);
	/* It serves a mount that is gone: no device has this number. */
	state_lock_ready(lock, (dev_t)-1, "/etc/dmemfsd.conf");
	lock_fails("mountinfo finds the copies", 1, 1, 30);
	close(lock);
}

static gpointer end_soon(gpointer lock)
{
	g_usleep(G_USEC_PER_SEC / 5);
	close(GPOINTER_TO_INT(lock));
	return NULL;
}

static void holder_that_ends(void)
{
	int lock = state_lock_take(directory, 0, NULL), next;
	GThread *holder = g_thread_new("holder", end_soon, GINT_TO_POINTER(lock));

	next = state_lock_take(directory, 30, NULL);
	g_assert_cmpint(next, >=, 0);
	g_thread_join(holder);
	close(next);
}

int main(int argc, char **argv)
{
	g_autofree char *parent = g_dir_make_tmp("dmemfs-state-lock-XXXXXX", NULL);
	g_autofree char *lock = g_build_filename(parent, "state", "lock", NULL);
	int status;

	g_test_init(&argc, &argv, NULL);
	log_set_level(LOG_LEVEL_ERROR);
	directory = g_build_filename(parent, "state", NULL);
	g_test_add_func("/state_lock/stays", holder_that_never_ends);
	g_test_add_func("/state_lock/ends", holder_that_ends);
	status = g_test_run();
	g_unlink(lock);
	g_rmdir(directory);
	g_rmdir(parent);
	g_free(directory);
	return status;
}

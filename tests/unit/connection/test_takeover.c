// SPDX-License-Identifier: GPL-2.0-or-later
/* The record of the mounts before the last one, by which processes may still map files. */
#include <string.h>
#include <sys/sysmacros.h>

#include "base/boot_id.h"
#include "connection/takeover.h"
#include "unit/store/store_state.h"

/* The record's mount; the one that it had becomes an earlier one, as when a daemon starts. */
static void mount_with(struct store *store, const char *boot, unsigned minor)
{
	g_autofree char *earlier = takeover_earlier(store, 0);
	g_autofree char *text = g_strdup_printf("%s 0:%u", boot, minor);

	g_assert_cmpint(takeover_remember("/nonexistent", store, earlier, "", 0), ==, 0);
	store_begin(store);
	store_put_value(store, "connection.mount", text, strlen(text));
	g_assert_cmpint(store_commit(store), ==, 0);
}

static void assert_earlier(struct store *store, unsigned current, const char *expected)
{
	g_autofree char *earlier = takeover_earlier(store, current ? makedev(0, current) : 0);

	g_assert_cmpstr(earlier, ==, expected);
}

static void mounts_are_remembered(struct state *state, gconstpointer data)
{
	struct store *store = state_open_store(state);
	g_autofree char *boot = boot_id();

	(void)data;
	assert_earlier(store, 0, "");
	mount_with(store, boot, 39);
	assert_earlier(store, 0, "0:39");
	mount_with(store, boot, 40);
	assert_earlier(store, 0, "0:39 0:40");
	/* The mount was taken over. */
	assert_earlier(store, 40, "0:39");
	/* The kernel has given the same number again. */
	mount_with(store, boot, 39);
	assert_earlier(store, 0, "0:40 0:39");
	state_check_store(store);
	store_close(store);
}

static void old_mounts_are_forgotten(struct state *state, gconstpointer data)
{
	struct store *store = state_open_store(state);
	g_autofree char *boot = boot_id();
	g_autofree char *earlier = NULL;
	g_auto(GStrv) devices = NULL;

	(void)data;
	for (unsigned minor = 1; minor <= 50; minor++)
		mount_with(store, boot, minor);
	earlier = takeover_earlier(store, 0);
	devices = g_strsplit(earlier, " ", -1);
	g_assert_cmpuint(g_strv_length(devices), ==, 32);
	g_assert_cmpstr(devices[0], ==, "0:19");
	g_assert_cmpstr(devices[31], ==, "0:50");
	store_close(store);
}

/* The kernel counts devices anew. */
static void mounts_of_another_boot_are_forgotten(struct state *state, gconstpointer data)
{
	struct store *store = state_open_store(state);
	g_autofree char *boot = boot_id();

	(void)data;
	mount_with(store, "another-boot", 38);
	assert_earlier(store, 0, "");
	mount_with(store, boot, 39);
	assert_earlier(store, 0, "0:39");
	store_close(store);
}

static void add(const char *name, void (*run)(struct state *state, gconstpointer data))
{
	g_test_add(name, struct state, NULL, state_set_up, run, state_tear_down);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	add("/takeover/mounts_are_remembered", mounts_are_remembered);
	add("/takeover/old_mounts_are_forgotten", old_mounts_are_forgotten);
	add("/takeover/mounts_of_another_boot_are_forgotten", mounts_of_another_boot_are_forgotten);
	return g_test_run();
}

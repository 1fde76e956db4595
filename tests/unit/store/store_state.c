// SPDX-License-Identifier: GPL-2.0-or-later
/* A state directory for tests of the store. */
#include "unit/store/store_state.h"

#include <glib/gstdio.h>

void state_set_up(struct state *state, gconstpointer data)
{
	(void)data;
	state->directory = g_dir_make_tmp("dmemfs-store-XXXXXX", NULL);
	g_assert_nonnull(state->directory);
	state->path = g_build_filename(state->directory, STORE_FILE, NULL);
	state->log = g_strconcat(state->path, "-wal", NULL);
}

void state_tear_down(struct state *state, gconstpointer data)
{
	(void)data;
	g_unlink(state->path);
	g_assert_cmpint(g_rmdir(state->directory), ==, 0);
	g_free(state->directory);
	g_free(state->path);
	g_free(state->log);
}

void state_check_store(struct store *store)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GPtrArray) problems = store_check(store, &error);

	g_assert_no_error(error);
	g_assert_cmpuint(problems->len, ==, 0);
}

struct store *state_open_store(const struct state *state)
{
	g_autoptr(GError) error = NULL;
	struct store *store = store_open(state->directory, 0, 0, &error);

	g_assert_no_error(error);
	state_check_store(store);
	return store;
}

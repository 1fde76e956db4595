/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A state directory of its own, and the store in it, for tests of the store. */
#ifndef DMEMFS_STORE_STATE_H
#define DMEMFS_STORE_STATE_H

#include <glib.h>

#include "store/store.h"

struct state {
	char *directory, *path, *log; /* of the database, and of its log */
};

/* For g_test_add(). */
void state_set_up(struct state *state, gconstpointer data);
/* A store that was closed leaves nothing but its database. */
void state_tear_down(struct state *state, gconstpointer data);
/* Asserts that store_check() finds nothing, too. */
struct store *state_open_store(const struct state *state);
void state_check_store(struct store *store);

#endif

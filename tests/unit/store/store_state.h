/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For tests of the store: a state directory for each test. */
#ifndef DMEMFS_STORE_STATE_H
#define DMEMFS_STORE_STATE_H

#include <glib.h>

#include "store/store.h"

struct state {
	char *directory, *path, *log; /* the state directory, the database, SQLite's log */
};

/* Fixture functions for g_test_add(). */
void state_set_up(struct state *state, gconstpointer data);
/* Asserts that the directory contains nothing but the database: a closed store leaves no other file. */
void state_tear_down(struct state *state, gconstpointer data);
/* Opens the store, and asserts that store_check() finds no problem. */
struct store *state_open_store(const struct state *state);
void state_check_store(struct store *store);

#endif

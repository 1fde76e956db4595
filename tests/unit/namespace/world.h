/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A namespace on the fake backend, for tests of the namespace. */
#ifndef DMEMFS_WORLD_H
#define DMEMFS_WORLD_H

#include <glib.h>

#include "namespace/namespace.h"
#include "unit/backend/fake_backend.h"

struct world {
	struct fake *fake;
	struct namespace *ns;
};

/* The owner of the inodes that the tests make. */
extern const struct namespace_caller world_caller;

/* For g_test_add(). */
void world_set_up(struct world *world, gconstpointer data);
/* After each test: checks that the next daemon loads the same state. */
void world_tear_down(struct world *world, gconstpointer data);
/* Makes a namespace from the record. */
void world_start(struct world *world);
/* Replaces the namespace by that of a next daemon. */
void world_restart(struct world *world);
/* The tree, the memory of its files, and the counts, as text; g_malloc'ed. */
char *world_description(struct world *world);
/* Makes an inode and forgets it again, so that only its name holds it. */
uint64_t world_make(struct world *world, uint64_t parent, const char *name, mode_t mode);

#endif

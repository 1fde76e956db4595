/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whose files the reserved memory holds: a mark (store.h) that the module keeps while it is loaded.
 *
 * A module that was replaced has none, but the memory is as it was: nobody may have claimed it since, other than by this
 * backend. A copy of the mark in OWNER_MARK_FILE, which no boot outlives, tells so. So the module can be upgraded under
 * a stopped daemon.
 */
#ifndef DMEMFS_OWNER_MARK_H
#define DMEMFS_OWNER_MARK_H

#include "store/store.h"

/* On tmpfs, as all of /run (hier(7)). */
#define OWNER_MARK_FILE "/run/dmemfs/mark"

/* The module's, else that of the copy, else all 0. 0 or a negative errno. */
int owner_mark_get(int device, struct store_mark *mark);
int owner_mark_set(int device, const struct store_mark *mark);

#endif

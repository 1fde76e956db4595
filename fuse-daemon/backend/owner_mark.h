/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The mark (store.h) of the database whose files the reserved memory holds. The module keeps it while it is loaded.
 *
 * A module that was loaded again has no mark, but the memory still has its contents. Therefore a copy of the mark is in
 * OWNER_MARK_FILE, which does not survive a reboot. With it, the module can be upgraded while the daemon is stopped.
 * Reserved memory must not be used other than by this backend meanwhile.
 */
#ifndef DMEMFS_OWNER_MARK_H
#define DMEMFS_OWNER_MARK_H

#include "store/store.h"

/* On tmpfs, as all of /run (hier(7)). */
#define OWNER_MARK_FILE "/run/dmemfs/mark"

/* The module's mark, else that of the copy, else all 0. Returns 0 or a negative errno. */
int owner_mark_get(int device, struct store_mark *mark);
/* Sets the module's mark, and writes the copy. A failure of the copy is only logged. 0 or a negative errno. */
int owner_mark_set(int device, const struct store_mark *mark);

#endif

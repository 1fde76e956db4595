/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory errors: passes what the backend finds on to the record and the pool.
 *
 * On record, bad memory is in the table poison (store_put_poison()). The module has a list of its own until it is
 * unloaded.
 *
 * A page that is on record as bad stays bad, through restarts and kexec. The pool gives it to no file. A file that
 * already has it keeps it until the file is removed, shrunk or punched there.
 */
#ifndef DMEMFS_POISON_H
#define DMEMFS_POISON_H

#include <glib.h>
#include <stdbool.h>

#include "file/file.h"

/* At the start, before any file has memory: tells the pool and the backend which pages are on record as bad. */
bool poison_load(const struct storage *storage, GError **error);
/*
 * Puts the bad pages that the backend found and the record does not have on record, tells the pool, and logs them.
 * Errors are logged; the pages are then found again by the next call or the next daemon.
 */
void poison_update(const struct storage *storage);

#endif

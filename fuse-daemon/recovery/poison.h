/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory errors: what the backend knows of pages that went bad, the record and the pool are told.
 *
 * A page on record as bad stays so for good, through restarts and kexec. It is given to nobody. Where a file has it, the
 * file keeps it until it lets it go.
 */
#ifndef DMEMFS_POISON_H
#define DMEMFS_POISON_H

#include <glib.h>
#include <stdbool.h>

#include "file/file.h"

/* At the start, before any file has memory: the pool and the backend are told what is on record. */
bool poison_load(const struct storage *storage, GError **error);
/* What the backend knows and the record does not is put there, and told to the pool and the log. */
void poison_update(const struct storage *storage);

#endif

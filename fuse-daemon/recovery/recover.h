/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The start: loads the namespace from the record and makes pool and backend hold what the record says. Where a crash
 * left them different, the record is right.
 */
#ifndef DMEMFS_RECOVER_H
#define DMEMFS_RECOVER_H

#include <glib.h>
#include <stdbool.h>

#include "namespace/namespace.h"

/*
 * Loads into @ns, which is empty. @takeover as for namespace_load(). When the backend no longer holds the contents of
 * the files, logs a warning; files then keep their size and read zero or are removed, as their dmemfs.lost_contents says, else
 * @remove_lost. False and
 * @error when the daemon cannot serve.
 */
bool recover(struct namespace *ns, const struct storage *storage, bool takeover, bool remove_lost, GError **error);

#endif

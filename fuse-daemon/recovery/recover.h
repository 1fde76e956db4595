/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From the record to a state that can be served: the namespace loaded, the backend's objects as the record says. The record
 * is the truth; whatever a crash left different is made equal to it.
 */
#ifndef DMEMFS_RECOVER_H
#define DMEMFS_RECOVER_H

#include <glib.h>
#include <stdbool.h>

#include "namespace/namespace.h"

/*
 * Into @ns, which is empty. @takeover: namespace_load(). Contents that the backend no longer holds are lost, and a warning
 * says so: files keep their size and read zero, or are removed with @remove_lost.
 */
bool recover(struct namespace *ns, const struct storage *storage, bool takeover, bool remove_lost, GError **error);

#endif

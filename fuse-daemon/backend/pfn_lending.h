/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lends memory to the host's kernel, and takes it back, through the module (shared/dmemfs_ioctl.h, "Lending"). */
#ifndef DMEMFS_PFN_LENDING_H
#define DMEMFS_PFN_LENDING_H

#include <glib.h>
#include <stdint.h>

#include "base/extent.h"

/*
 * How much may be lent for each byte that the host has of its own. The kernel cannot use lent memory for itself, and what it must have of
 * its own grows with all memory. The kernel's own rule, memory_hotplug.auto_movable_ratio=301.
 */
#define LENDING_RATIO 3

/* The size of a unit in bytes; 0: this kernel or this module cannot lend memory. */
uint64_t pfn_lend_unit(int device);
/*
 * Lends @unit, and brings its memory blocks online; for one that an earlier daemon has lent, does what is left of this. 0, or a
 * negative errno: then it is not lent.
 */
int pfn_lend(int device, struct extent unit);
/* Takes @unit back. After an error other than -ENOENT it is lent as before; lending_reason() says why. */
int pfn_take_lent(int device, struct extent unit, unsigned timeout_ms);
/* Appends the units in @range that are lent (GArray of struct extent), by address. */
void pfn_list_lent(int device, struct extent range, GArray *units);
/*
 * Takes all back that is lent of @range, each unit within @timeout_ms. Returns 0 or the error of the last unit that could not be
 * had. Appends those to @kept (NULL: stops at the first). @stop, atomic, may be NULL: ends before the next unit when it is set.
 */
int pfn_take_all(int device, struct extent range, unsigned timeout_ms, const gint *stop, GArray *kept);

/* Why a unit cannot be taken back, after "it is lent: ", with the remedy. Valid until the next call of this thread. */
const char *lending_reason(int err);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which compound pages a region without pages= has, so that the files on record can stay. */
#ifndef DMEMFS_DEFAULT_PAGES_H
#define DMEMFS_DEFAULT_PAGES_H

#include <glib.h>
#include <stdbool.h>

#include "config/config.h"
#include "store/store.h"

/*
 * Makes @region raw unless the files in it are whole pages, and lie in what a region with such pages takes. So a daemon starts with the
 * record of an earlier version, as that version had it, or of another page-size. Smaller pages would cost such a host memory that it may
 * not have: 4 MiB a gigabyte with pages=2M. @reserved: GArray of struct extent, for start=auto. False and @error when the record cannot
 * be read.
 */
bool default_pages_fit(const struct config *config, struct region_config *region, const GArray *reserved,
                       struct store *store, GError **error);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The regions of the configuration, as the module has them. Every change is one ioctl of shared/dmemfs_ioctl.h. */
#ifndef DMEMFS_PFN_REGIONS_H
#define DMEMFS_PFN_REGIONS_H

#include <glib.h>
#include <stdbool.h>

#include "config/config.h"

/*
 * Claims the regions of @config, and appends them to @regions (GArray of struct memory_region). Regions that an earlier
 * daemon claimed are kept. A region that has other pages than the configuration says is released first. Where that is not possible, a
 * [region] without pages= keeps the pages that it has: its order in @config changes. @reserved (GArray of struct extent): what
 * memmap_cmdline_read() says, for start=auto. False and @error, which
 * names the region and the remedy. Appends regions of an earlier configuration that cannot be released yet to @former (GArray of
 * struct extent), and warns of them.
 */
bool pfn_claim_regions(int device, const struct config *config, const GArray *reserved, GArray *regions, GArray *former,
                       GError **error);
/* Releases those of @former that can be released by now, and removes them from it. @stop: as of pfn_take_all(). */
void pfn_release_former(int device, GArray *former, const gint *stop);

/* Does the memory that this machine reserves fit the regions of @config? True also when it reserves none yet. */
bool pfn_check_regions(const struct config *config, GError **error);

#endif

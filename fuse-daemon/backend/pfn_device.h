/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control device of dmemfs.ko: opens it, agrees on the protocol's version, and claims regions. Every call is one ioctl of
 * shared/dmemfs_ioctl.h, which specifies units and errors.
 */
#ifndef DMEMFS_PFN_DEVICE_H
#define DMEMFS_PFN_DEVICE_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/extent.h"
#include "config/config.h"
#include "dmemfs_ioctl.h"

/* Calls the ioctl @request. Returns its result, which is 0 or a descriptor, or a negative errno. */
int pfn_call(int device, unsigned long request, void *argument);

/* Opens the device, and checks the protocol's version (DMEMFS_IOC_HELLO). -1 and @error, which names the remedy. */
int pfn_device_open(GError **error);

/*
 * Claims the regions of @config, and appends them to @regions (GArray of struct memory_region). Regions that an earlier
 * daemon claimed are kept. A region that has other pages than the configuration says is released first. False and @error, which
 * names the region and the remedy. Appends regions of an earlier configuration that cannot be released yet to @former (GArray of
 * struct extent), and warns of them.
 */
bool pfn_claim_regions(int device, const struct config *config, GArray *regions, GArray *former, GError **error);
/* Releases those of @former that can be released by now, and removes them from it. */
void pfn_release_former(int device, GArray *former);

/* Does the memory that this machine reserves fit the regions of @config? True also when it reserves none yet. */
bool pfn_check_regions(const struct config *config, GError **error);

/*
 * Appends the parts of @range that a device holds and no object has (GArray of struct extent). 0 or a negative errno; -ENOTTY: the
 * module is too old for compound pages.
 */
int pfn_list_pinned(int device, struct extent range, GArray *runs);

#endif

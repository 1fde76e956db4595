/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control device of dmemfs.ko: open it, agree on the protocol, claim regions. Every call is one ioctl of
 * shared/dmemfs_ioctl.h, where units and errors are specified.
 */
#ifndef DMEMFS_PFN_DEVICE_H
#define DMEMFS_PFN_DEVICE_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"
#include "dmemfs_ioctl.h"

/* 0 or a negative errno. A non-negative result of the ioctl itself (a descriptor) is passed through. */
int pfn_call(int device, unsigned long request, void *argument);

/* Opens the device and says hello. -1 and @error, which names the remedy. */
int pfn_device_open(GError **error);

/*
 * Claims the regions of @config, those that an earlier daemon claimed included, and appends them to @regions (GArray of
 * struct memory_region).
 */
bool pfn_claim_regions(int device, const struct config *config, GArray *regions, GError **error);

#endif

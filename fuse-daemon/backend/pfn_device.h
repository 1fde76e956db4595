/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control device of dmemfs.ko: opens it, agrees on the protocol's version, lists pinned memory. Every call is one ioctl of
 * shared/dmemfs_ioctl.h, which specifies units and errors.
 */
#ifndef DMEMFS_PFN_DEVICE_H
#define DMEMFS_PFN_DEVICE_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/extent.h"
#include "dmemfs_ioctl.h"

/* Calls the ioctl @request. Returns its result, which is 0 or a descriptor, or a negative errno. */
int pfn_call(int device, unsigned long request, void *argument);

/* Opens the device, and checks the protocol's version (DMEMFS_IOC_HELLO). -1 and @error, which names the remedy. */
int pfn_device_open(GError **error);
/* Asks the module what it can do. False and @error when it speaks another version of the protocol. */
bool pfn_hello(int device, struct dmemfs_hello *hello, GError **error);

/*
 * Appends the parts of @range that a device holds and no object has (GArray of struct extent). 0 or a negative errno; -ENOTTY: the
 * module is too old for compound pages.
 */
int pfn_list_pinned(int device, struct extent range, GArray *runs);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The allocator's state. Internal to allocator*.c, and to tests that damage it on purpose. */
#ifndef DMEMFS_ALLOCATOR_PRIVATE_H
#define DMEMFS_ALLOCATOR_PRIVATE_H

#include "pool/allocator.h"
#include "pool/allocator_region.h"

struct allocator {
	struct region *regions[DMEMFS_MAX_REGIONS]; /* in the order in which they were added */
	unsigned count;
};

#endif

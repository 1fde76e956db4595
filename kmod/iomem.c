// SPDX-License-Identifier: GPL-2.0-only
/*
 * The resources of regions while some of their memory is lent.
 *
 * A busy resource keeps other drivers out, and /dev/mem too (CONFIG_IO_STRICT_DEVMEM). But the kernel adds memory only
 * inside resources that are not busy. So while a unit of a region is lent, the region's resource is not busy, and each
 * other unit has a busy one inside it, as has a part of a unit at the region's ends.
 *
 * The kernel's lock of resources is not exported. Only this file changes the flags of a region's resource, and its
 * callers hold dmemfs_region_lock. Who reads the flags meanwhile sees the old value or the new one, and either will do:
 * the other resources exist before the region's stops being busy, and go after it is busy again.
 */
#include "dmemfs.h"

#include <linux/ioport.h>

/* Nobody adds to them: @region is busy. */
static void release_all(struct resource *region)
{
	struct resource *next;

	for (struct resource *child = region->child; child; child = next) {
		next = child->sibling;
		__release_region(region, child->start, resource_size(child));
	}
}

/* From the last one down, so that each insertion is short. */
static int keep_all_but(struct resource *region, u64 start)
{
	u64 pos;

	for (u64 end = region->end + 1; end > region->start; end = pos) {
		pos = max_t(u64, ALIGN_DOWN(end - 1, dmemfs_lend_unit()), region->start);
		if (pos != start && !__request_region(region, pos, end - pos, KBUILD_MODNAME " (not lent)", 0)) {
			release_all(region);
			return -ENOMEM;
		}
	}
	return 0;
}

int dmemfs_iomem_lend(struct resource *region, u64 start)
{
	int ret = 0;

	if (region->flags & IORESOURCE_BUSY)
		ret = keep_all_but(region, start);
	else
		__release_region(region, start, dmemfs_lend_unit());
	if (!ret)
		region->flags &= ~IORESOURCE_BUSY;
	return ret;
}

int dmemfs_iomem_take(struct resource *region, u64 start, bool last)
{
	/* Not just inside @region: a request at the root also ends the mappings that /dev/mem made a moment ago. */
	if (!request_mem_region(start, dmemfs_lend_unit(), KBUILD_MODNAME " (not lent)"))
		return -ENOMEM;
	if (last) {
		region->flags |= IORESOURCE_BUSY;
		release_all(region);
	}
	return 0;
}

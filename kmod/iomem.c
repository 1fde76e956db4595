// SPDX-License-Identifier: GPL-2.0-only
/*
 * The resources of regions while some of their memory is lent.
 *
 * A busy resource keeps other drivers out, and /dev/mem too (CONFIG_IO_STRICT_DEVMEM). But the kernel adds memory only
 * inside resources that are not busy. So while a unit of a region is lent, the region's resource is not busy, and each
 * unit has a resource inside it, as has a part of a unit at the region's ends. These are busy, but those of lent units
 * are system RAM and exclusive instead, as that of virtio-mem: so the kernel can add them, and /dev/mem stays out also
 * before it has, and when it has removed them. Struct pages cannot be made inside such a resource.
 *
 * The kernel's lock of resources is not exported. Only this file changes the flags of these resources, and its callers
 * hold dmemfs_region_lock. Each change is one store, and who reads the flags meanwhile may see the old or the new ones:
 * the resources inside a region's exist before it stops being busy, and go after it is busy again.
 */
#include "dmemfs.h"

#include <linux/ioport.h>

#define KEPT	 (IORESOURCE_MEM | IORESOURCE_BUSY)
#define LENDABLE (IORESOURCE_SYSTEM_RAM | IORESOURCE_EXCLUSIVE)

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
static int cover(struct resource *region)
{
	u64 pos;

	for (u64 end = region->end + 1; end > region->start; end = pos) {
		pos = max_t(u64, ALIGN_DOWN(end - 1, dmemfs_lend_unit()), region->start);
		if (!__request_region(region, pos, end - pos, KBUILD_MODNAME " (unit)", 0)) {
			release_all(region);
			return -ENOMEM;
		}
	}
	return 0;
}

/* The list of the region's children is this file's: others add memory and take it away inside a unit. */
static struct resource *unit_at(const struct resource *region, u64 start)
{
	struct resource *unit = region->child;

	while (unit && unit->start != start)
		unit = unit->sibling;
	return unit;
}

int dmemfs_iomem_lend(struct resource *region, u64 start)
{
	int ret = region->flags & IORESOURCE_BUSY ? cover(region) : 0;

	if (ret)
		return ret;
	WRITE_ONCE(unit_at(region, start)->flags, LENDABLE);
	WRITE_ONCE(region->flags, region->flags & ~IORESOURCE_BUSY);
	return 0;
}

int dmemfs_iomem_close(struct resource *region, u64 start)
{
	struct resource *unit = unit_at(region, start);

	if (unit->child)
		return -EBUSY;
	WRITE_ONCE(unit->flags, KEPT);
	return 0;
}

void dmemfs_iomem_reset(struct resource *region)
{
	WRITE_ONCE(region->flags, region->flags | IORESOURCE_BUSY);
	release_all(region);
}

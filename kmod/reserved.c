// SPDX-License-Identifier: GPL-2.0-only
/*
 * Checks whether memory may be claimed: only RAM that memmap= has taken away from the kernel completely. Finds its node.
 *
 * On x86 memmap= makes memory "Reserved" in /proc/iomem. Memory that the firmware uses (EFI's runtime services, tables)
 * is "Reserved" too, and memmap= also reserves holes where there is no memory. The firmware's memory map in
 * /sys/firmware/memmap tells them apart: kernel parameters do not change it, and a kexec passes it on.
 */
#include "dmemfs.h"

#include <linux/cc_platform.h>
#include <linux/ioport.h>
#include <linux/maple_tree.h>
#include <linux/numa.h>
#include <linux/security.h>
#include <linux/sizes.h>

/* The numbers of entries of the firmware's map have gaps: see firmware_ram. No more than these in a row are looked for. */
#define GAPS_MAX 64

/*
 * What the firmware's map has listed as RAM, in bytes. When lent memory is taken back, the kernel removes the entry that is exactly this
 * memory from the map, if there is one (firmware_map_remove() in mm/memory_hotplug.c). It is RAM all the same.
 */
static struct maple_tree firmware_ram = MTREE_INIT(firmware_ram, 0);

static int add_length(struct resource *resource, void *bytes)
{
	*(u64 *)bytes += resource_size(resource);
	return 0;
}

static u64 reserved_bytes(u64 start, u64 end)
{
	u64 bytes = 0;

	walk_iomem_res_desc(IORES_DESC_RESERVED, IORESOURCE_MEM, start, end - 1, &bytes, add_length);
	return bytes;
}

/* Reads one value of an entry of the firmware's map. False: no such entry. The kernel exports no function for this. */
static bool read_firmware(unsigned int entry, const char *name, char *text, size_t size)
{
	char path[64];
	struct file *file;
	ssize_t length;
	loff_t pos = 0;

	snprintf(path, sizeof(path), "/sys/firmware/memmap/%u/%s", entry, name);
	file = filp_open(path, O_RDONLY, 0);
	if (IS_ERR(file))
		return false;
	length = kernel_read(file, text, size - 1, &pos);
	filp_close(file, NULL);
	text[max(length, 0)] = '\0';
	return length > 0;
}

/* Adds what the firmware's map lists now. */
static int read_ram(void)
{
	u64 first, last;
	char text[32];
	int ret = 0;

	for (unsigned int i = 0, gaps = 0; gaps < GAPS_MAX && !ret; i++) {
		if (!read_firmware(i, "type", text, sizeof(text))) {
			gaps++;
			continue;
		}
		gaps = 0;
		if (strcmp(text, "System RAM\n"))
			continue;
		if (!read_firmware(i, "start", text, sizeof(text)) || kstrtou64(text, 0, &first) ||
		    !read_firmware(i, "end", text, sizeof(text)) || kstrtou64(text, 0, &last) || first > last)
			continue;
		ret = mtree_store_range(&firmware_ram, first, last, xa_mk_value(0), GFP_KERNEL);
	}
	return ret;
}

/* Whether all of [start, end) is in firmware_ram. */
static bool is_ram(u64 start, u64 end)
{
	MA_STATE(mas, &firmware_ram, start, start);

	mas_lock(&mas);
	while (start < end && mas_find(&mas, end - 1) && mas.index <= start)
		start = mas.last + 1;
	mas_unlock(&mas);
	return start >= end;
}

int dmemfs_check_reserved(u64 start, u64 length)
{
	int ret = security_locked_down(LOCKDOWN_DEV_MEM);

	if (ret)
		return ret;
	/* The kernel's mapping would be unencrypted, those of processes encrypted: they would see different bytes. */
	if (cc_platform_has(CC_ATTR_MEM_ENCRYPT))
		return -EOPNOTSUPP;
	if (region_intersects(start, length, IORESOURCE_SYSTEM_RAM, IORES_DESC_NONE) != REGION_DISJOINT)
		return -ENXIO;
	if (!IS_ENABLED(CONFIG_X86))
		return 0;
	if (reserved_bytes(start, start + length) != length)
		return -ENODEV;
	ret = read_ram();
	if (ret)
		return ret;
	return is_ram(start, start + length) ? 0 : -EADDRNOTAVAIL;
}

void dmemfs_reserved_exit(void)
{
	mtree_destroy(&firmware_ram);
}

/* Nodes begin and end at multiples of 2 MiB. */
u64 dmemfs_find_node(u64 start, u64 length, int *node)
{
	u64 end = start + length;
	u64 pos = ALIGN(start + 1, SZ_2M);

	*node = phys_to_target_node(start);
	while (pos < end && phys_to_target_node(pos) == *node) {
		pos += SZ_2M;
		cond_resched();
	}
	return min(pos, end) - start;
}

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
#include <linux/numa.h>
#include <linux/security.h>
#include <linux/sizes.h>

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

/* How many bytes of [start, end) the firmware lists as RAM. The entries of its map do not overlap. */
static u64 ram_bytes(u64 start, u64 end)
{
	u64 first, last, bytes = 0;
	char text[32];

	for (unsigned int i = 0; read_firmware(i, "type", text, sizeof(text)); i++) {
		if (strcmp(text, "System RAM\n"))
			continue;
		if (!read_firmware(i, "start", text, sizeof(text)) || kstrtou64(text, 0, &first) ||
		    !read_firmware(i, "end", text, sizeof(text)) || kstrtou64(text, 0, &last))
			break;
		first = max(first, start);
		last = min(last, end - 1);
		if (first <= last)
			bytes += last - first + 1;
	}
	return bytes;
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
	return ram_bytes(start, start + length) == length ? 0 : -EADDRNOTAVAIL;
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

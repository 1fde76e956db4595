// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kernel's own mappings of regions. Raw memory has one only of what the module zeroes, reads or writes, and only
 * meanwhile: so the kernel's page tables lead neither bugs of the kernel nor speculation of a CPU to a guest's memory.
 * CPUs may keep entries in their TLBs a little longer: the kernel flushes them before it uses the addresses again.
 *
 * The range stays reserved as write-back while it is claimed (PAT, arch/x86/mm/pat). This makes mappings of processes
 * write-back as well, and all mappings that are made here.
 *
 * Paged memory is in the kernel's direct map all the time, as all memory with struct pages.
 */
#include "dmemfs.h"

#include <linux/io.h>
#include <linux/vmalloc.h>

int dmemfs_window_reserve(u64 start, u64 length)
{
	void *addr = memremap(start, length, MEMREMAP_WB);

	if (!addr) {
		/* Takes as much memory, and suits whatever type others gave the range. So only write-back is refused. */
		addr = memremap(start, length, MEMREMAP_WC);
		if (!addr)
			return -ENOMEM;
		memunmap(addr);
		return -EIO;
	}
	/* Not memunmap(), which would end the reservation too. */
	vunmap(addr);
	return 0;
}

void dmemfs_window_free(u64 start, u64 length)
{
	/* Ends a reservation of any type; the kernel exports no function with a better name. */
	arch_io_free_memtype_wc(start, length);
}

void *dmemfs_window_open(u64 start, size_t length)
{
	return dmemfs_is_raw(PHYS_PFN(start)) ? memremap(start, length, MEMREMAP_WB) : __va(start);
}

void dmemfs_window_close(void *addr)
{
	memunmap(addr); /* does nothing to the direct map */
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Finds the physical memory that the kernel's command line reserves. Only memmap_cmdline_read() does I/O. */
#ifndef DMEMFS_MEMMAP_CMDLINE_H
#define DMEMFS_MEMMAP_CMDLINE_H

#include <glib.h>
#include <stdint.h>

/*
 * The ranges of "memmap=SIZE$START" in a kernel command line (Documentation/admin-guide/kernel-parameters.txt): a GArray of
 * struct extent, by address, which the caller frees. Adjacent ranges are merged. Other forms of memmap= are ignored.
 */
GArray *memmap_cmdline_parse(const char *cmdline);
/* The same for the running kernel. NULL and @error when /proc/cmdline cannot be read. */
GArray *memmap_cmdline_read(GError **error);
/* "memmap=SIZE$START" for a range, as the kernel must receive it (a boot loader may need escapes); the caller frees it. */
char *memmap_cmdline_argument(uint64_t start, uint64_t length);

#endif

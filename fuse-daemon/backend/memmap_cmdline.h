/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which physical memory the kernel was told to leave alone. Pure, but for memmap_cmdline_read(). */
#ifndef DMEMFS_MEMMAP_CMDLINE_H
#define DMEMFS_MEMMAP_CMDLINE_H

#include <glib.h>
#include <stdint.h>

/*
 * The ranges of "memmap=SIZE$START" in a kernel command line (Documentation/admin-guide/kernel-parameters.txt), as
 * GArray of struct extent by rising address; those that touch are one. Other forms of memmap= are passed over.
 */
GArray *memmap_cmdline_parse(const char *cmdline);
/* The same of the running kernel. NULL and @error when /proc/cmdline cannot be read. */
GArray *memmap_cmdline_read(GError **error);
/* "memmap=SIZE$START" for a range, as it must reach the kernel; g_malloc'ed. */
char *memmap_cmdline_argument(uint64_t start, uint64_t length);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which physical memory the kernel was told to leave alone. Pure, but for reserved_read(). */
#ifndef DMEMFS_RESERVED_H
#define DMEMFS_RESERVED_H

#include <glib.h>
#include <stdint.h>

/*
 * The ranges of "memmap=SIZE$START" in a kernel command line (Documentation/admin-guide/kernel-parameters.txt), as
 * GArray of struct extent by rising address; those that touch are one. Other forms of memmap= are passed over.
 */
GArray *reserved_parse(const char *cmdline);
/* The same of the running kernel. NULL and @error when /proc/cmdline cannot be read. */
GArray *reserved_read(GError **error);
/* "memmap=SIZE$START" for a range, as it must reach the kernel; g_malloc'ed. */
char *reserved_argument(uint64_t start, uint64_t length);

#endif

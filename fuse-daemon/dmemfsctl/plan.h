/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which RAM to reserve, and how to tell the boot loader. */
#ifndef DMEMFSCTL_PLAN_H
#define DMEMFSCTL_PLAN_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "dmemfsctl/machine.h"

/* Ranges begin and end at multiples of it, so that 1-GiB pages fit, and no section of 128 MiB keeps its memmap. */
#define PLAN_ALIGNMENT DMEMFS_PAGE_1G
/* What lies below stays with the kernel: devices with 32-bit addresses, and crash kernels, need it. */
#define PLAN_LOWEST (UINT64_C(4) << 30)
/* With more ranges the kernel gives up the randomisation of its own address (MAX_MEMMAP_REGIONS, x86's kaslr.c). */
#define PLAN_RANGES_KASLR 4
/* sizeof(struct page) for each page of 4 KiB. */
#define PLAN_PAGE_STRUCT 64

#define PLAN_GRUB_DROP_IN   "/etc/default/grub.d/dmemfs.cfg"
#define PLAN_KERNEL_CMDLINE "/etc/kernel/cmdline" /* of kernel-install(8), for systemd-boot */
#define PLAN_KERNEL_INSTALL "kernel-install add \"$(uname -r)\" \"/boot/vmlinuz-$(uname -r)\""

struct plan_request {
	uint64_t size;       /* bytes, a multiple of PLAN_ALIGNMENT */
	uint64_t leave;      /* bytes that stay with the kernel, on each node an equal part */
	const GArray *nodes; /* int: where to reserve, spread evenly; empty: everywhere */
};

/*
 * GArray of struct machine_range by address. NULL and @error, which says how much there is. Of each node the fewest and
 * highest ranges.
 */
GArray *plan_choose(const struct machine *machine, const struct plan_request *request, GError **error);

/* "memmap=64G$0x400000000 ...", as the kernel must see it; g_malloc'ed, as all that follows. */
char *plan_arguments(const GArray *ranges);
/* The contents of a file in /etc/default/grub.d: a shell and GRUB both take one level of quotes away. */
char *plan_grub(const GArray *ranges);
/*
 * The contents of /etc/kernel/cmdline, which were @former: without what an earlier plan asked for, and what a boot loader has
 * added to /proc/cmdline. Comments stay.
 */
char *plan_cmdline(const char *former, const GArray *ranges);

struct plan_loader {
	const char *name;
	const char *file; /* that is written */
	const char *next; /* what to run before the reboot */
	bool (*is_there)(const char *root);
	/* g_malloc'ed; NULL and @error. */
	char *(*contents)(const char *root, const GArray *ranges, GError **error);
};

/* @name NULL: the one that the machine below @root has. NULL and @error. */
const struct plan_loader *plan_find_loader(const char *root, const char *name, GError **error);
/* The path that was written, g_malloc'ed; NULL and @error. */
char *plan_write(const struct plan_loader *loader, const char *root, const GArray *ranges, GError **error);

#endif

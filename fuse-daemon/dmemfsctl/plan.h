/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Chooses RAM to reserve, and configures the boot loader. */
#ifndef DMEMFSCTL_PLAN_H
#define DMEMFSCTL_PLAN_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "dmemfsctl/command.h"
#include "dmemfsctl/machine.h"

/* No memory below this address is reserved: devices with 32-bit addresses, and crash kernels, need it. */
#define PLAN_LOWEST (UINT64_C(4) << 30)
/*
 * With more ranges the kernel does not randomise its own address (MAX_MEMMAP_REGIONS in
 * arch/x86/boot/compressed/kaslr.c).
 */
#define PLAN_RANGES_KASLR 4
/* sizeof(struct page) for each page of 4 KiB. */
#define PLAN_PAGE_STRUCT 64

#define PLAN_GRUB_DROP_IN   "/etc/default/grub.d/dmemfs.cfg"
#define PLAN_KERNEL_CMDLINE "/etc/kernel/cmdline" /* of kernel-install(8), for systemd-boot */
#define PLAN_KERNEL_INSTALL "kernel-install add \"$(uname -r)\" \"/boot/vmlinuz-$(uname -r)\""

struct plan_request {
	uint64_t size;       /* bytes, a multiple of alignment */
	uint64_t alignment;  /* of start and end of ranges: plan_alignment() */
	uint64_t leave;      /* bytes that stay with the kernel, an equal part on each node */
	const GArray *nodes; /* int: the nodes to reserve on, an equal part each; empty: all nodes */
};

/*
 * Ranges for regions with pages= of this order begin and end at multiples of this. So the pages fit, and no section of 128 MiB keeps
 * its struct pages.
 */
uint64_t plan_alignment(unsigned order);

/*
 * Chooses ranges: on each node as few as possible, at the highest addresses. Returns a GArray of struct machine_range
 * by address; NULL and @error, which says how much can be reserved.
 */
GArray *plan_choose(const struct machine *machine, const struct plan_request *request, GError **error);

/* The kernel's arguments as they must be in /proc/cmdline: "memmap=64G$0x400000000 ...". g_malloc'ed. */
char *plan_arguments(const GArray *ranges);
/* The contents of a file in /etc/default/grub.d; g_malloc'ed. The $ is quoted twice, for the shell and for GRUB. */
char *plan_grub(const GArray *ranges);
/*
 * The new contents of /etc/kernel/cmdline; g_malloc'ed. @former: the old ones, or /proc/cmdline. Removes arguments of
 * an earlier plan, and arguments that a boot loader adds by itself. Keeps comments.
 */
char *plan_cmdline(const char *former, const GArray *ranges);

struct plan_loader {
	const char *name;
	const char *file; /* the file that plan_write() writes */
	const char *next; /* the command to run before the reboot */
	bool (*is_there)(const char *root);
	/* The new contents of @file, g_malloc'ed; NULL and @error. */
	char *(*contents)(const char *root, const GArray *ranges, GError **error);
	/* Takes the arguments of a plan out of @file. *@undone: there were any. False and @error. */
	bool (*undo)(const char *root, bool *undone, GError **error);
};

/* The boot loader @name; NULL: the boot loader of the system below @root. Returns NULL and @error on failure. */
const struct plan_loader *plan_find_loader(const char *root, const char *name, GError **error);
/* Writes the file of @loader. Returns its path, g_malloc'ed; NULL and @error. */
char *plan_write(const struct plan_loader *loader, const char *root, const GArray *ranges, GError **error);
/*
 * Takes back what plan_write() wrote for the boot loader @name, NULL: for each. Appends those that had arguments of a plan to @undone
 * (const struct plan_loader *, not owned). False and @error.
 */
bool plan_undo(const char *root, const char *name, GPtrArray *undone, GError **error);
/* The option --remove (plan_remove.c): plan_undo(), and what to do next. */
enum status plan_remove(const char *root, const char *boot_loader, struct json *json, GError **error);

#endif

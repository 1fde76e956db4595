/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The RAM of this machine, as the kernel and the firmware describe it. @root is the prefix of every path: "" for the
 * running system; tests use directories with the files of other machines.
 */
#ifndef DMEMFSCTL_MACHINE_H
#define DMEMFSCTL_MACHINE_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/extent.h"

struct machine_range {
	struct extent extent;
	int node; /* NUMA node, -1 unknown */
};

struct machine {
	GArray *ram;   /* struct machine_range by address: System RAM, and RAM that memmap= reserves now */
	GArray *nodes; /* int, rising */
	uint64_t bytes;
};

/* NULL and @error, which names the remedy. */
struct machine *machine_read(const char *root, GError **error);
void machine_destroy(struct machine *machine);
typedef struct machine machine_t;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(machine_t, machine_destroy)

/*
 * Is the kernel locked down (kernel_lockdown(7)), so that dmemfs.ko cannot claim memory? False also when the kernel
 * does not say.
 */
bool machine_is_locked_down(const char *root);

/*
 * What the module can do with the kernel of this machine, by its version (kmod/compat.h): at all, and with struct pages, as pages=1G and
 * 2M need. True also when the version is not known.
 */
bool machine_can_reserve(const char *root);
bool machine_can_have_pages(const char *root);
#define MACHINE_RESERVE "reserved memory (backend=pfn) needs Linux 6.12 or later"
#define MACHINE_PAGES   "the module can make pages=1G and 2M on Linux 6.12 and 7.3 only"
#define MACHINE_PAGES_REMEDY \
	"boot Linux 6.12 or 7.3, or use pages=none, to which neither O_DIRECT nor assigned devices (VFIO) have access"
/*
 * "give ... memory with pages=1G or 2M: dmemfs.pages of its directory", and which kernel to boot first if this one cannot have it;
 * g_malloc'ed. @whom: "the guest".
 */
char *machine_advise_pages(const char *root, const char *whom);

/*
 * Can guests that run guests still reach pages that were taken from their file? They can with kvm_intel and nested=1
 * (the default) before Linux 6.13, or if KVM was told to allow it.
 */
bool machine_has_unsafe_nesting(const char *root);
#define MACHINE_NESTING                                                                                                       \
	"kvm_intel has nested=1: a guest that runs guests may reach single pages after a punched hole or a shrink took them " \
	"from its file"
#define MACHINE_NESTING_REMEDY                                                                                                \
	"where tenants do not trust each other, put the line  options kvm_intel nested=0  into /etc/modprobe.d/dmemfs.conf, " \
	"then reboot"

/*
 * Does KVM refuse guests that run guests on memory with pages=none? Linux 6.13 and later do, unless allow_unsafe_mappings=1 tells KVM
 * to allow it. False also when KVM runs no nested guests at all.
 */
bool machine_refuses_nesting(const char *root);
#define MACHINE_REFUSAL                                                                                                    \
	"with pages=none, a guest that starts a VM ends with an internal error: KVM of Linux 6.13 and later refuses such " \
	"memory"
/* What to do then; g_malloc'ed. */
char *machine_refusal_remedy(const char *root);

/* The outermost ranges in @iomem, the text of /proc/iomem, with this name: GArray of struct extent by address. */
GArray *machine_parse_iomem(const char *iomem, const char *name);
/* The memory that is in both arrays. Each must be sorted by address and have no overlaps. GArray of struct extent. */
GArray *machine_intersect(const GArray *first, const GArray *second);
/*
 * Finds the nodes of @ram (GArray of struct extent). @blocks: GArray of struct machine_range by address, the memory
 * whose node the kernel knows. Memory between two blocks of one node is on that node; memory before the first and
 * after the last block is on the node of that block. GArray of struct machine_range.
 */
GArray *machine_assign_nodes(const GArray *ram, const GArray *blocks);

/*
 * The memory in an SRAT of @size bytes: GArray of struct machine_range by address. Their nodes are the firmware's
 * proximity domains. Stops at the first malformed entry.
 */
GArray *machine_parse_srat(const uint8_t *table, size_t size);
/*
 * Replaces the proximity domains in @srat by the kernel's node numbers. A block of @blocks, whose node the kernel
 * knows, tells the number of its domain. So reserved memory, which is in no block, gets a node, too.
 */
GArray *machine_number_domains(const GArray *srat, const GArray *blocks);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The RAM of this machine, as the kernel and the firmware describe it. @root is put in front of every path, "" for the
 * running system: tests have machines of their own.
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
	GArray *ram;   /* struct machine_range by address: System RAM, and what memmap= keeps from the kernel today */
	GArray *nodes; /* int, rising */
	uint64_t bytes;
};

/* NULL and @error, which names the remedy. */
struct machine *machine_read(const char *root, GError **error);
void machine_destroy(struct machine *machine);
typedef struct machine machine_t;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(machine_t, machine_destroy)

/* Whether the kernel is locked down (kernel_lockdown(7)): then dmemfs.ko claims no memory. False also if it is not told. */
bool machine_is_locked_down(const char *root);

/*
 * Whether guests that run guests may keep pages that were taken from their file: with kvm_intel as it is loaded by default,
 * before Linux 6.13, or where KVM was told to allow it.
 */
bool machine_has_unsafe_nesting(const char *root);
#define MACHINE_NESTING                                                                                                       \
	"kvm_intel has nested=1: a guest that runs guests may reach single pages after a punched hole or a shrink took them " \
	"from its file"
#define MACHINE_NESTING_REMEDY                                                                                                \
	"where tenants do not trust each other, put the line  options kvm_intel nested=0  into /etc/modprobe.d/dmemfs.conf, " \
	"then reboot"

/* Outermost ranges of /proc/iomem with this name: GArray of struct extent by address. */
GArray *machine_parse_iomem(const char *iomem, const char *name);
/* What lies in both; both by address, and without overlaps of their own. */
GArray *machine_intersect(const GArray *first, const GArray *second);
/*
 * Which node @ram (GArray of struct extent) lies on. @blocks: GArray of struct machine_range by address, the memory
 * that the kernel knows the node of. Between two blocks of one node, and past the outermost ones, it is theirs.
 */
GArray *machine_assign_nodes(const GArray *ram, const GArray *blocks);

/*
 * The memory in an SRAT, @size bytes of it: GArray of struct machine_range by address, whose node is the firmware's
 * proximity domain. Entries that are malformed end it.
 */
GArray *machine_parse_srat(const uint8_t *table, size_t size);
/*
 * The same with the kernel's numbers of the nodes, learned from @blocks, which it knows both of. So reserved memory, which
 * is in no block, has a node, too.
 */
GArray *machine_number_domains(const GArray *srat, const GArray *blocks);

#endif

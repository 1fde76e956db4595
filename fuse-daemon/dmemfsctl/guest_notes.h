/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What works for a guest with the memory that a file on dmemfs has, in the words of its virtual machine monitor. */
#ifndef DMEMFSCTL_GUEST_NOTES_H
#define DMEMFSCTL_GUEST_NOTES_H

#include <glib.h>
#include <stdbool.h>

enum guest_monitor { GUEST_QEMU, GUEST_LIBVIRT, GUEST_CLOUD_HYPERVISOR };

/* The memory that a file has, or that files of a directory get. */
struct guest_memory {
	bool is_tmpfs;  /* backend=memory */
	unsigned order; /* of its compound pages: page_order.h */
	bool demand;    /* dmemfs.alloc */
	bool discard;   /* dmemfs.discard */
};

/* Lines about cache, prealloc, align, discard and devices: "cache: ...". GPtrArray of text, owned. The caller owns the array. */
GPtrArray *guest_notes(enum guest_monitor monitor, const struct guest_memory *memory);

#endif

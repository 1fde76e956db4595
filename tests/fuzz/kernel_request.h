/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the two halves of the kernel's side share: its tables (kernel.c) and what it asks (kernel_request.c). */
#ifndef DMEMFS_FUZZ_KERNEL_REQUEST_H
#define DMEMFS_FUZZ_KERNEL_REQUEST_H

#include <glib.h>
#include <linux/fuse.h>
#include <stdbool.h>

#include "kernel.h"

/* No WRITE carries more here, no READ asks for more. */
#define KERNEL_PAYLOAD_MAX 8192

struct kernel_node {
	uint64_t ino;
	uint64_t lookups;
};

struct kernel_open {
	uint64_t ino;
	uint64_t fh;
	uint32_t flags; /* of open(2) */
};

struct kernel {
	struct fuse_session *fuse;
	GArray *nodes; /* struct kernel_node; the root is not among them */
	GArray *opens; /* struct kernel_open */
	uint64_t unique;
	struct {
		struct fuse_in_header header;
		uint8_t arguments[KERNEL_PAYLOAD_MAX + 4096];
	} request; /* the one at hand */
	size_t request_size;
	size_t room;         /* for the payload of its reply */
	uint32_t open_flags; /* that it opens with */
	uint64_t found;      /* the inode in the last reply that had one, 0: none */
	bool impatient;      /* who asked does not wait for the answer */
	bool answered;
};

/* A request is started, gets its arguments, and is delivered. */
void kernel_start_request(struct kernel *kernel, uint32_t opcode, uint64_t ino);
void kernel_add(struct kernel *kernel, const void *data, size_t size);
void kernel_deliver(struct kernel *kernel);

void kernel_close_some(struct kernel *kernel, uint64_t which);
void kernel_forget_some(struct kernel *kernel, uint64_t which);

#endif

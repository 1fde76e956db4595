/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How many FUSE requests of each kind this process has answered, and how long they took. Thread-safe, without locks. */
#ifndef DMEMFS_REQUEST_COUNT_H
#define DMEMFS_REQUEST_COUNT_H

#include <stdint.h>

/* Opcodes of <linux/fuse.h> are below. */
#define REQUEST_COUNT_OPCODES 64

struct request_count {
	uint64_t requests;
	uint64_t
		us; /* from reading a request to the end of its work; the time that it waited for a thread is not in it */
};

void request_count_add(uint32_t opcode, int64_t us);
struct request_count request_count_get(uint32_t opcode);
/* As in <linux/fuse.h>, in small letters; NULL: dmemfs does not serve it. */
const char *request_count_name(uint32_t opcode);

#endif

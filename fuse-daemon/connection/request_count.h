/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Counts the FUSE requests that this process has answered, by opcode, and how long they took. Thread-safe, without
 * locks.
 */
#ifndef DMEMFS_REQUEST_COUNT_H
#define DMEMFS_REQUEST_COUNT_H

#include <stdint.h>

/* All opcodes of <linux/fuse.h> that dmemfs serves are smaller. */
#define REQUEST_COUNT_OPCODES 64

struct request_count {
	uint64_t requests;
	uint64_t us; /* sum of the times that threads worked on them; without the time that they waited for a thread */
};

void request_count_add(uint32_t opcode, int64_t us);
/* @opcode must be below REQUEST_COUNT_OPCODES. */
struct request_count request_count_get(uint32_t opcode);
/* The name of <linux/fuse.h> in small letters, static text; NULL: dmemfs does not serve @opcode. */
const char *request_count_name(uint32_t opcode);

#endif

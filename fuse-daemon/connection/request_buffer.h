/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory that the kernel copies a request to. A page that is not there at the moment at which the process is killed would have the
 * kernel fail a request that it has taken (EIO), which the next daemon never sees. So no page of it ever goes away:
 * not to swap, not to a child of fork(2), not to another place for the sake of compaction, huge pages or NUMA.
 *
 * Owned by the thread that reads requests.
 */
#ifndef DMEMFS_REQUEST_BUFFER_H
#define DMEMFS_REQUEST_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

struct request_buffer {
	void *data;
	size_t size;
	int pin; /* a pipe that holds the pages; -1: there is none */
};

/* False without memory. Pages that cannot be kept in place are used all the same. */
bool request_buffer_init(struct request_buffer *buffer, size_t size);
void request_buffer_clear(struct request_buffer *buffer);

#endif

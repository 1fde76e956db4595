/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The buffer that the kernel copies a request to. If a page of it is missing when the process is killed, the copy
 * fails: the kernel then answers the request with EIO, and the next daemon never sees it. So all pages stay in place:
 * they are not swapped out, not shared with a child of fork(2), and not moved for compaction, huge pages or NUMA.
 *
 * Each request thread owns one. All of this process are in a list, under a lock of its own, a leaf: while memory is taken back that
 * was lent to the kernel (backend/pfn_lending.c), it must be able to move what it has there, also these pages.
 */
#ifndef DMEMFS_REQUEST_BUFFER_H
#define DMEMFS_REQUEST_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

struct request_buffer {
	void *data;
	size_t size;
	int pin; /* the read end of a pipe that refers to the pages; -1: none */
};

/* @size in bytes. False when there is no memory. A buffer whose pages cannot be kept in place is used all the same. */
bool request_buffer_init(struct request_buffer *buffer, size_t size);
void request_buffer_clear(struct request_buffer *buffer);

/* Between these two calls, which may nest, the kernel may move the pages of all buffers. */
void request_buffers_let_move(void);
void request_buffers_keep(void);

#endif

// SPDX-License-Identifier: GPL-2.0-or-later
/* The buffer that the kernel copies a request to. */
#include "connection/request_buffer.h"

#include <fcntl.h>
#include <numaif.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

/*
 * vmsplice(2) makes the pipe refer to the pages. The kernel does not move a page that something other than page
 * tables refers to. No thread reads the pipe. Returns its read end, or -1.
 */
static int pin(const struct request_buffer *buffer)
{
	const struct iovec all = { .iov_base = buffer->data, .iov_len = buffer->size };
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -1;
	fcntl(ends[1], F_SETPIPE_SZ, (int)buffer->size);
	vmsplice(ends[1], &all, 1, SPLICE_F_NONBLOCK);
	close(ends[1]);
	return ends[0];
}

bool request_buffer_init(struct request_buffer *buffer, size_t size)
{
	void *data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (data == MAP_FAILED)
		return false;
	*buffer = (struct request_buffer){ .data = data, .size = size };
	madvise(data, size, MADV_DONTFORK);
	madvise(data, size, MADV_NOHUGEPAGE);
	mbind(data, size, MPOL_LOCAL, NULL, 0, 0); /* NUMA balancing leaves memory with its own policy alone */
	mlock(data, size);                         /* may fail: RLIMIT_MEMLOCK */
	buffer->pin = pin(buffer);
	return true;
}

void request_buffer_clear(struct request_buffer *buffer)
{
	if (buffer->pin >= 0)
		close(buffer->pin);
	munmap(buffer->data, buffer->size);
}

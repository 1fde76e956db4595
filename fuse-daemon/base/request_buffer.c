// SPDX-License-Identifier: GPL-2.0-or-later
/* The buffer that the kernel copies a request to. */
#include "base/request_buffer.h"

#include <fcntl.h>
#include <glib.h>
#include <numaif.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

static GMutex lock;
static GList *buffers;  /* struct request_buffer *: all that there are; under lock */
static unsigned moving; /* how often request_buffers_let_move() was called without request_buffers_keep(); under lock */

/*
 * vmsplice(2) makes the pipe refer to the pages. The kernel does not move a page that something other than page
 * tables refers to. No thread reads the pipe. Keeps its read end.
 */
static void pin(gpointer data, gpointer unused)
{
	struct request_buffer *buffer = data;
	const struct iovec all = { .iov_base = buffer->data, .iov_len = buffer->size };
	int ends[2];

	(void)unused;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return;
	fcntl(ends[1], F_SETPIPE_SZ, (int)buffer->size);
	vmsplice(ends[1], &all, 1, SPLICE_F_NONBLOCK);
	close(ends[1]);
	buffer->pin = ends[0];
}

static void unpin(gpointer data, gpointer unused)
{
	struct request_buffer *buffer = data;

	(void)unused;
	if (buffer->pin >= 0)
		close(buffer->pin);
	buffer->pin = -1;
}

bool request_buffer_init(struct request_buffer *buffer, size_t size)
{
	void *data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (data == MAP_FAILED)
		return false;
	*buffer = (struct request_buffer){ .data = data, .size = size, .pin = -1 };
	madvise(data, size, MADV_DONTFORK);
	madvise(data, size, MADV_NOHUGEPAGE);
	mbind(data, size, MPOL_LOCAL, NULL, 0, 0); /* NUMA balancing leaves memory with its own policy alone */
	mlock(data, size);                         /* may fail: RLIMIT_MEMLOCK */
	g_mutex_lock(&lock);
	buffers = g_list_prepend(buffers, buffer);
	if (!moving)
		pin(buffer, NULL);
	g_mutex_unlock(&lock);
	return true;
}

void request_buffer_clear(struct request_buffer *buffer)
{
	g_mutex_lock(&lock);
	buffers = g_list_remove(buffers, buffer);
	unpin(buffer, NULL);
	g_mutex_unlock(&lock);
	munmap(buffer->data, buffer->size);
}

void request_buffers_let_move(void)
{
	g_mutex_lock(&lock);
	if (moving++ == 0)
		g_list_foreach(buffers, unpin, NULL);
	g_mutex_unlock(&lock);
}

void request_buffers_keep(void)
{
	g_mutex_lock(&lock);
	if (--moving == 0)
		g_list_foreach(buffers, pin, NULL);
	g_mutex_unlock(&lock);
}

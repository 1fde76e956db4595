// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A process that holds memory of a file as a device does, longer than its mapping: `holder FD LENGTH OFFSET BYTES`.
 *
 * It maps the file at a multiple of 1 GiB and registers [OFFSET, OFFSET + BYTES) with io_uring as a fixed buffer. It
 * answers each command on stdin with a line: "leave" unmaps and closes the file; "fill FILE" reads into the buffer from
 * FILE with O_DIRECT and says how many bytes it read; "release" unregisters the buffer. It ends with stdin.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define GIB (1UL << 30)

/* One entry at a time. */
static struct {
	int fd;
	unsigned *sq_tail, *sq_array, *sq_mask, *cq_head, *cq_mask;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
} ring;

static void fail(const char *what)
{
	fprintf(stderr, "holder: %s: %s\n", what, strerror(errno));
	exit(1);
}

static char *map_ring(size_t length, off_t offset)
{
	char *at = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring.fd, offset);

	if (at == MAP_FAILED)
		fail("mmap of the ring");
	return at;
}

static void open_ring(void)
{
	struct io_uring_params p = { 0 };
	char *sq, *cq;

	ring.fd = syscall(SYS_io_uring_setup, 4, &p);
	if (ring.fd < 0)
		fail("io_uring_setup");
	sq = map_ring(p.sq_off.array + p.sq_entries * sizeof(unsigned), IORING_OFF_SQ_RING);
	cq = map_ring(p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe), IORING_OFF_CQ_RING);
	ring.sqes = (void *)map_ring(p.sq_entries * sizeof(struct io_uring_sqe), IORING_OFF_SQES);
	ring.sq_tail = (void *)(sq + p.sq_off.tail);
	ring.sq_mask = (void *)(sq + p.sq_off.ring_mask);
	ring.sq_array = (void *)(sq + p.sq_off.array);
	ring.cq_head = (void *)(cq + p.cq_off.head);
	ring.cq_mask = (void *)(cq + p.cq_off.ring_mask);
	ring.cqes = (void *)(cq + p.cq_off.cqes);
}

/* Bytes, or a negative errno. */
static int fill(const struct iovec *buffer, const char *path)
{
	unsigned tail = *ring.sq_tail, at = tail & *ring.sq_mask, head = *ring.cq_head;
	int fd = open(path, O_RDWR | O_DIRECT);

	if (fd < 0)
		fail(path);
	ring.sqes[at] = (struct io_uring_sqe){
		.opcode = IORING_OP_READ_FIXED,
		.fd = fd,
		.addr = (uintptr_t)buffer->iov_base,
		.len = buffer->iov_len,
	};
	ring.sq_array[at] = at;
	__atomic_store_n(ring.sq_tail, tail + 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, ring.fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0)
		fail("io_uring_enter");
	__atomic_store_n(ring.cq_head, head + 1, __ATOMIC_RELEASE);
	close(fd);
	return ring.cqes[head & *ring.cq_mask].res;
}

int main(int argc, char **argv)
{
	char line[256], *map, *hull;
	struct iovec buffer;
	size_t length;
	int fd;

	if (argc != 5)
		return 2;
	fd = atoi(argv[1]);
	length = strtoul(argv[2], NULL, 0);
	hull = mmap(NULL, length + GIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (hull == MAP_FAILED)
		fail("mmap");
	map = (char *)(((uintptr_t)hull + GIB - 1) & -GIB);
	map = mmap(map, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
	if (map == MAP_FAILED)
		fail("mmap of the file");
	open_ring();
	buffer = (struct iovec){ map + strtoul(argv[3], NULL, 0), strtoul(argv[4], NULL, 0) };
	if (syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_BUFFERS, &buffer, 1))
		fail("register");
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("holds\n");
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = 0;
		if (!strcmp(line, "leave")) {
			munmap(map, length);
			close(fd);
			printf("left\n");
		} else if (!strncmp(line, "fill ", 5)) {
			printf("%d\n", fill(&buffer, line + 5));
		} else if (!strcmp(line, "release")) {
			if (syscall(SYS_io_uring_register, ring.fd, IORING_UNREGISTER_BUFFERS, NULL, 0))
				fail("unregister");
			printf("released\n");
		}
	}
	return 0;
}

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Every system call and /proc file that walks page tables, on a mapping of a dmemfs file: `walkers FILE ALIGN`.
 *
 * ALIGN (4K, 2M, 1G) is the largest page that the mapping's address allows. The list runs on the fresh mapping, on a
 * touched one, and after the VMA was cut inside an entry; then come the ways to cut, move and copy it. The calls
 * may fail, the host may not: the kernel's log has to be clean afterwards, and the bytes as they were.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/mempolicy.h>
#include <linux/userfaultfd.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096UL
#define MIB  (1UL << 20)
#define GIB  (1UL << 30)

static char *map;
static size_t length;
static size_t touch_step;

static void fail(const char *what)
{
	fprintf(stderr, "walkers: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void step(const char *name)
{
	if (getenv("WALKERS_VERBOSE"))
		fprintf(stderr, "walkers: %s\n", name);
}

static uint64_t pattern(size_t offset)
{
	return offset * 0x9e3779b97f4a7c15ULL + 1;
}

static void touch(char *at)
{
	for (size_t i = 0; i < length; i += touch_step)
		*(volatile uint64_t *)(at + i) = pattern(i);
}

static void verify(const char *at, const char *when)
{
	for (size_t i = 0; i < length; i += touch_step) {
		if (*(const volatile uint64_t *)(at + i) != pattern(i)) {
			fprintf(stderr, "walkers: after %s: wrong bytes at offset %#zx\n", when, i);
			exit(1);
		}
	}
}

static void read_all(const char *path)
{
	char buffer[65536];
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	step(path);
	if (fd < 0)
		return;
	while (read(fd, buffer, sizeof(buffer)) > 0)
		;
	close(fd);
}

static void write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	step(path);
	if (fd < 0)
		return;
	if (write(fd, text, strlen(text)) < 0)
		step("refused");
	close(fd);
}

static void proc_pagemap(void)
{
	static uint64_t entries[65536];
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	step("pagemap");
	if (fd < 0)
		fail("/proc/self/pagemap");
	for (size_t i = 0; i < length / PAGE; i += 65536)
		if (pread(fd, entries, sizeof(entries), ((uintptr_t)map / PAGE + i) * 8) < 0)
			fail("pread pagemap");
	close(fd);
}

/* PAGEMAP_SCAN, Linux 6.7; older headers do not have it. */
static void proc_pagemap_scan(void)
{
	struct {
		uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
		uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
	} arg = { 0 };
	struct {
		uint64_t start, end, categories;
	} regions[64];
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	step("PAGEMAP_SCAN");
	for (uint64_t flags = 0; flags < 4; flags++) {
		arg.size = sizeof(arg);
		arg.flags = flags;
		arg.start = (uintptr_t)map;
		arg.end = (uintptr_t)map + length;
		arg.vec = (uintptr_t)regions;
		arg.vec_len = 64;
		arg.category_anyof_mask = 0xff;
		arg.return_mask = 0xff;
		if (ioctl(fd, _IOWR('f', 16, arg), &arg) < 0)
			step("refused");
	}
	close(fd);
}

static void memory_policy(void)
{
	static const int modes[] = { MPOL_DEFAULT, MPOL_PREFERRED, MPOL_BIND, MPOL_INTERLEAVE, MPOL_LOCAL };
	static const unsigned flags[] = { 0,
		                          MPOL_MF_STRICT,
		                          MPOL_MF_MOVE,
		                          MPOL_MF_STRICT | MPOL_MF_MOVE,
		                          MPOL_MF_MOVE_ALL,
		                          MPOL_MF_STRICT | MPOL_MF_MOVE_ALL };
	void *pages[64];
	int nodes[64] = { 0 }, status[64];
	int mode;

	step("mbind");
	for (size_t m = 0; m < sizeof(modes) / sizeof(*modes); m++) {
		for (size_t f = 0; f < sizeof(flags) / sizeof(*flags); f++) {
			for (unsigned long mask = 0; mask < 4; mask++) {
				syscall(SYS_mbind, map, length, modes[m], mask ? &mask : NULL, mask ? 64 : 0, flags[f]);
				syscall(SYS_mbind, map + PAGE, PAGE, modes[m], mask ? &mask : NULL, mask ? 64 : 0,
				        flags[f]);
			}
		}
	}
	syscall(SYS_mbind, map, length, MPOL_DEFAULT, NULL, 0, 0);
	step("get_mempolicy, move_pages, migrate_pages");
	syscall(SYS_get_mempolicy, &mode, NULL, 0, map, MPOL_F_NODE | MPOL_F_ADDR);
	for (size_t i = 0; i < 64; i++)
		pages[i] = map + (length / 64 * i & -PAGE);
	syscall(SYS_move_pages, 0, 64, pages, NULL, status, 0);
	syscall(SYS_move_pages, 0, 64, pages, nodes, status, MPOL_MF_MOVE);
	syscall(SYS_migrate_pages, 0, 64, &(unsigned long){ 1 }, &(unsigned long){ 2 });
	syscall(SYS_migrate_pages, 0, 64, &(unsigned long){ 2 }, &(unsigned long){ 1 });
	syscall(450 /* set_mempolicy_home_node */, map, length, 0, 0);
}

static void advice(void)
{
	/* All that exist but 9 (MADV_REMOVE: zeroes), 10, 11 (fork, below), 100, 101 (memory errors: for root). */
	static const int list[] = {
		0, 1, 2, 3, 4, 8, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 102, 103
	};
	char name[32];

	for (size_t i = 0; i < sizeof(list) / sizeof(*list); i++) {
		snprintf(name, sizeof(name), "madvise %d", list[i]);
		step(name);
		madvise(map, length, list[i]);
		madvise(map + PAGE, PAGE, list[i]);
	}
	/* What switches large pages off is taken back. */
	madvise(map, length, MADV_HUGEPAGE);
}

static void memory_lock(void)
{
	step("mlock");
	mlock(map, length);
	munlock(map, length);
	mlock2(map, length, MLOCK_ONFAULT);
	munlock(map, length);
	mlockall(MCL_CURRENT | MCL_FUTURE);
	munlockall();
}

/* What wants a struct page. */
static void pinners(void)
{
	char buffer[64];
	struct iovec local = { buffer, sizeof(buffer) }, remote = { map, sizeof(buffer) };
	int pipes[2], fd;

	step("process_vm_readv, process_vm_writev");
	process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
	process_vm_writev(getpid(), &remote, 1, &remote, 1, 0);
	step("vmsplice");
	if (!pipe(pipes)) {
		vmsplice(pipes[1], &remote, 1, SPLICE_F_NONBLOCK);
		vmsplice(pipes[1], &remote, 1, SPLICE_F_GIFT | SPLICE_F_NONBLOCK);
		close(pipes[0]);
		close(pipes[1]);
	}
	step("futex");
	syscall(SYS_futex, map, FUTEX_WAKE, 1, NULL, NULL, 0);
	syscall(SYS_futex, map, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	step("userfaultfd");
	fd = syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	if (fd >= 0) {
		struct uffdio_api api = { .api = UFFD_API };
		struct uffdio_register reg = { .range = { (uintptr_t)map, length }, .mode = UFFDIO_REGISTER_MODE_WP };

		ioctl(fd, UFFDIO_API, &api);
		ioctl(fd, UFFDIO_REGISTER, &reg);
		close(fd);
	}
	step("O_DIRECT");
	fd = open("/tmp", O_TMPFILE | O_RDWR | O_DIRECT | O_CLOEXEC, 0600);
	if (fd >= 0) {
		if (write(fd, map, PAGE) < 0)
			step("refused");
		close(fd);
	}
}

static void memory_file(void)
{
	uint64_t value = 0;
	int fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);

	step("/proc/self/mem");
	if (fd < 0)
		fail("/proc/self/mem");
	if (pread(fd, &value, sizeof(value), (uintptr_t)map) != sizeof(value))
		fail("pread /proc/self/mem");
	if (value != pattern(0))
		fail("/proc/self/mem: other bytes");
	if (pwrite(fd, &value, sizeof(value), (uintptr_t)map) != sizeof(value))
		fail("pwrite /proc/self/mem");
	close(fd);
}

static void residency(void)
{
	unsigned char *vec = malloc(length / PAGE);

	step("mincore");
	mincore(map, length, vec);
	free(vec);
	step("msync");
	if (msync(map, length, MS_SYNC) || msync(map, length, MS_ASYNC) || msync(map, length, MS_INVALIDATE))
		fail("msync");
}

static void walk_all(const char *when)
{
	step(when);
	touch(map);
	read_all("/proc/self/smaps");
	read_all("/proc/self/smaps_rollup");
	read_all("/proc/self/numa_maps");
	read_all("/proc/self/maps");
	read_all("/proc/self/status");
	proc_pagemap();
	proc_pagemap_scan();
	for (char kind[] = "1"; *kind <= '5'; ++*kind) {
		write_text("/proc/self/clear_refs", kind);
		proc_pagemap();
		touch(map);
	}
	memory_policy();
	advice();
	touch(map);
	memory_lock();
	pinners();
	memory_file();
	residency();
	verify(map, when);
}

static void in_child(void (*run)(void))
{
	int status;
	pid_t pid = fork();

	if (pid < 0)
		fail("fork");
	if (!pid) {
		run();
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid || status)
		fail("child");
}

static void child_walks(void)
{
	verify(map, "fork");
	touch(map);
	memory_policy();
	proc_pagemap();
	munmap(map + length / 2, PAGE);
}

/* Cuts inside entries of every size. */
static void cut(void)
{
	static const size_t places[] = { PAGE, 2 * MIB + PAGE, 4 * MIB };

	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		char *at = map + places[i];

		if (places[i] + PAGE > length)
			break;
		step("mprotect of a page");
		touch(map);
		if (mprotect(at, PAGE, PROT_READ))
			fail("mprotect");
		proc_pagemap();
		read_all("/proc/self/smaps");
		memory_policy();
		if (mprotect(at, PAGE, PROT_NONE) || mprotect(at, PAGE, PROT_READ | PROT_WRITE))
			fail("mprotect back");
		verify(map, "mprotect");
		step("madvise of a page");
		touch(map);
		madvise(at, PAGE, MADV_DONTFORK);
		madvise(at, PAGE, MADV_DOFORK);
		madvise(at, PAGE, MADV_RANDOM);
		madvise(at, PAGE, MADV_NORMAL);
		verify(map, "madvise");
	}
}

static char *reserve(size_t align, size_t skew)
{
	char *base =
		mmap(NULL, length + 2 * align + skew, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (base == MAP_FAILED)
		fail("reserve");
	return (char *)(((uintptr_t)base + align - 1) & -align) + skew;
}

/* To places that are aligned differently: the page tables have to be rebuilt, not moved. */
static void move(void)
{
	static const size_t skews[] = { 0, PAGE, 2 * MIB, 6 * MIB + PAGE };

	for (size_t i = 0; i < sizeof(skews) / sizeof(*skews); i++) {
		char *to = reserve(GIB, skews[i]), *back = map;

		step("mremap to another place");
		touch(map);
		map = mremap(map, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, to);
		if (map == MAP_FAILED)
			fail("mremap");
		verify(map, "mremap");
		touch(map);
		walk_all("after mremap");
		map = mremap(map, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, back);
		if (map != back)
			fail("mremap back");
		verify(map, "mremap back");
	}
	step("mremap of a part");
	touch(map);
	if (length > 4 * MIB) {
		char *to = reserve(GIB, PAGE);

		if (mremap(map + 2 * MIB + PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to) == MAP_FAILED)
			fail("mremap of a part");
		if (mremap(to, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, map + 2 * MIB + PAGE) == MAP_FAILED)
			fail("mremap of a part back");
	}
	verify(map, "mremap of a part");
	step("mremap shrinks");
	if (mremap(map, length, length - PAGE, 0) != map)
		fail("mremap");
	proc_pagemap();
}

static void place(int fd, size_t align)
{
	char *at = reserve(GIB, align == GIB ? 0 : align);

	map = mmap(at, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
	if (map == MAP_FAILED)
		fail("mmap");
}

int main(int argc, char **argv)
{
	size_t align = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;
	struct stat st;
	int fd;

	if (argc == 3)
		align <<= strchr(argv[2], 'G') ? 30 : strchr(argv[2], 'M') ? 20 : 10;
	if (align != PAGE && align != 2 * MIB && align != GIB) {
		fprintf(stderr, "usage: walkers FILE 4K|2M|1G\n");
		return 2;
	}
	fd = open(argv[1], O_RDWR | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		fail(argv[1]);
	/* What root can break is not at issue. */
	if (!getuid() && (setgid(65534) || setuid(65534) || prctl(PR_SET_DUMPABLE, 1)))
		fail("setuid");
	length = st.st_size & -PAGE;
	/* Small pages are slow to walk under emulation. */
	if (align == PAGE && length > 8 * MIB)
		length = 8 * MIB;
	touch_step = align == PAGE ? PAGE : MIB;

	place(fd, align);
	memory_policy();
	proc_pagemap();
	walk_all("touched");
	in_child(child_walks);
	verify(map, "fork");
	touch(map);
	cut();
	walk_all("cut");
	place(fd, align);
	touch(map);
	move();
	place(fd, align);
	touch(map);
	step("munmap of a part");
	munmap(map + length / 2, PAGE);
	memory_policy();
	proc_pagemap();
	step("MADV_REMOVE");
	if (!madvise(map, PAGE, MADV_REMOVE)) {
		if (*(volatile uint64_t *)map)
			fail("MADV_REMOVE: bytes left");
	} else if (errno != ENODEV) { /* 1-GiB folios since Linux 7.3 */
		fail("MADV_REMOVE");
	}
	return 0;
}

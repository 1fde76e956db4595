// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A process that uses memory in one way: `load KIND MIB START END [FILE]`. [START, END) is the physical memory that counts.
 *
 * It says "PAGES": how many of its pages lie there. It answers each line on stdin with "PAGES WRONG": the same again,
 * and how many of its pages have not their content. It ends with stdin.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define PAGE       4096UL
#define HUGE_SHIFT 21
#define BATCH      256 /* pages; their number is a multiple of it */
#define PIPE_SIZE  (1 << 20)
/* Documentation/admin-guide/mm/pagemap.rst */
#define PRESENT      (1UL << 63)
#define FRAME(entry) ((entry) & ((1UL << 55) - 1))

static const char *kind;
static char *memory;
static size_t pages;
static uint64_t start, end;

static void check(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "load %s: %s: %s\n", kind, what, strerror(errno));
	exit(1);
}

static bool is(const char *name)
{
	return !strcmp(kind, name);
}

/* Its first page is poisoned. */
static bool is_poisoned(void)
{
	return is("poison") || is("poison-tmpfs") || is("poison-pipe");
}

/* Pages with the same content can be merged. */
static uint64_t content(size_t page)
{
	return is("ksm") ? 1 + page % 16 : page ^ 0xabcdef;
}

static size_t pages_inside(void)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	uint64_t entries[BATCH];
	size_t inside = 0;

	for (size_t page = 0; page < pages; page += BATCH) {
		off_t at = ((uintptr_t)memory / PAGE + page) * sizeof(entries[0]);

		check(pread(fd, entries, sizeof(entries), at) == sizeof(entries), "pagemap");
		for (size_t i = 0; i < BATCH; i++) {
			if (entries[i] & PRESENT && FRAME(entries[i]) * PAGE >= start && FRAME(entries[i]) * PAGE < end)
				inside++;
		}
	}
	close(fd);
	return inside;
}

static size_t pages_wrong(void)
{
	size_t wrong = 0;

	/* Of a page that is poisoned nothing can be read. */
	for (size_t page = is_poisoned(); !is("cache") && page < pages; page++)
		wrong += *(uint64_t *)(memory + page * PAGE) != content(page);
	return wrong;
}

static void map(size_t length, const char *file)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS, fd = -1;

	if (is("hugetlb"))
		flags |= MAP_HUGETLB | HUGE_SHIFT << MAP_HUGE_SHIFT;
	if (is("tmpfs") || is("poison-tmpfs") || is("splice")) {
		fd = memfd_create("load", 0);
		check(!ftruncate(fd, length), "ftruncate");
		flags = MAP_SHARED;
	}
	if (is("cache")) {
		fd = open(file, O_RDONLY);
		check(fd >= 0, file);
		flags = MAP_SHARED;
	}
	memory = mmap(NULL, length, is("cache") ? PROT_READ : PROT_READ | PROT_WRITE, flags, fd, 0);
	check(memory != MAP_FAILED, "mmap");
	if (!is("huge") && !is("hugetlb"))
		madvise(memory, length, MADV_NOHUGEPAGE);
	for (size_t page = 0; page < pages; page++) {
		volatile uint64_t *word = (uint64_t *)(memory + page * PAGE);

		if (is("cache"))
			*word;
		else
			*word = content(page);
	}
	if (is("splice")) {
		int pipe_fds[2];

		check(!pipe(pipe_fds) && fcntl(pipe_fds[1], F_SETPIPE_SZ, PIPE_SIZE) > 0, "pipe");
		check(splice(fd, &(loff_t){ 0 }, pipe_fds[1], NULL, PIPE_SIZE, SPLICE_F_NONBLOCK) > 0, "splice");
	}
}

static void use(size_t length)
{
	struct iovec all = { memory, length };

	if (is("locked"))
		check(!mlock(memory, length), "mlock");
	if (is("ksm"))
		check(!madvise(memory, length, MADV_MERGEABLE), "madvise");
	if (is("uring")) {
		int ring = syscall(SYS_io_uring_setup, 4, &(struct io_uring_params){});

		check(ring >= 0, "io_uring_setup");
		check(!syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS, &all, 1), "io_uring_register");
	}
	if (is("vmsplice") || is("poison-pipe")) {
		int pipe_fds[2];

		/* A pipe that has the poisoned page shall not have others as well: they could not be moved. */
		if (is_poisoned())
			all.iov_len = PAGE;
		check(!pipe(pipe_fds) && fcntl(pipe_fds[1], F_SETPIPE_SZ, PIPE_SIZE) > 0, "pipe");
		check(vmsplice(pipe_fds[1], &all, 1, SPLICE_F_NONBLOCK) > 0, "vmsplice");
	}
	if (is_poisoned())
		check(!madvise(memory, PAGE, MADV_HWPOISON), "madvise");
}

/* The kernel tells of the poisoned page; this signal would not be ignored. */
static void ignore(int number)
{
	(void)number;
}

int main(int argc, char **argv)
{
	char line[16];

	if (argc < 5)
		return 2;
	kind = argv[1];
	pages = strtoul(argv[2], NULL, 0) << 8;
	start = strtoull(argv[3], NULL, 0);
	end = strtoull(argv[4], NULL, 0);
	signal(SIGBUS, ignore);
	map(pages * PAGE, argv[5]);
	use(pages * PAGE);
	printf("%zu\n", pages_inside());
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		printf("%zu %zu\n", pages_inside(), pages_wrong());
		fflush(stdout);
	}
	return 0;
}

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Threads that touch a mapping while something happens to it: `racers FILE cut|discard|touch|fork|move SECONDS`.
 *
 * cut    maps the file anew, over and over, and cuts the VMA inside its first page while the others fault that page in.
 *        The kernel looks whether a VMA may be cut before it keeps faults out of it, so the module has to. SIGSEGV is
 *        expected: one page is read-only for a moment.
 * discard gives parts of the mapping back by MADV_DONTNEED. The file keeps its bytes.
 * fork   forks, over and over; the children look whether what they see is what was written through this file.
 * move   moves parts of the mapping to another place and back, and looks at them there.
 * touch  only touches; whoever started this changes size and memory of the file meanwhile. SIGBUS is expected.
 *
 * Prints how often the mapping was touched. It is the kernel that is tested: it must not notice anything.
 */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE    4096UL
#define LARGE   (2UL << 20)
#define GIB     (1UL << 30)
#define THREADS 3

static char *map;
static size_t length;
static atomic_bool done;
static atomic_ulong touched;
static _Thread_local sigjmp_buf after_fault;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void on_fault(int number)
{
	siglongjmp(after_fault, number);
}

static void touch(char *at)
{
	if (sigsetjmp(after_fault, 1))
		return;
	*(volatile char *)at = 1;
	atomic_fetch_add_explicit(&touched, 1, memory_order_relaxed);
}

static void *toucher(void *argument)
{
	uint32_t random = (uint32_t)(uintptr_t)argument;

	while (!atomic_load_explicit(&done, memory_order_relaxed)) {
		random = random * 1103515245 + 12345;
		touch(map + (random >> 4) % (length / PAGE) * PAGE);
	}
	return NULL;
}

static void map_anew(int fd)
{
	if (mmap(map, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
		die("mmap");
}

/* @round varies how far the others have come. */
static void cut(int fd, unsigned round)
{
	map_anew(fd);
	for (volatile unsigned i = 0; i < round % 512; i++)
		;
	if (mprotect(map + PAGE, PAGE, PROT_READ) || mprotect(map, length, PROT_READ | PROT_WRITE))
		die("mprotect");
}

/* Parts of a page, and whole ones. */
static void discard(unsigned round)
{
	static const size_t sizes[] = { PAGE, LARGE, GIB / 2, GIB };
	size_t size = sizes[round % 4] < length ? sizes[round % 4] : length;

	if (madvise(map + round * 7919UL % (length / size) * size, size, MADV_DONTNEED))
		die("madvise");
}

/* Only zeroes and ones are ever written to the file. */
static void look(const char *at, size_t size)
{
	for (volatile size_t i = 0; i < size; i += LARGE)
		if (!sigsetjmp(after_fault, 1) && *(const volatile uint64_t *)(at + i) > 1) {
			fprintf(stderr, "racers: what is mapped is not of this file\n");
			_exit(1);
		}
}

static void fork_and_look(void)
{
	int status;
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (!pid) {
		look(map, length);
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid || status)
		exit(1);
}

/* Anew, because mremap() takes one VMA, and those that were moved stay apart. */
static void move_and_look(int fd, unsigned round)
{
	static const size_t sizes[] = { LARGE, PAGE, 64 * LARGE, 3 * LARGE + PAGE };
	size_t size = sizes[round % 4], offset = round * 7919UL % (length / LARGE - 65) * LARGE;
	char *elsewhere = map + length + (round & 4 ? 0 : offset);

	map_anew(fd);
	look(map + offset, size);
	if (mremap(map + offset, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, elsewhere) == MAP_FAILED)
		die("mremap");
	look(elsewhere, size);
	if (mremap(elsewhere, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, map + offset) == MAP_FAILED)
		die("mremap back");
	look(map + offset, size);
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = on_fault };
	pthread_t threads[THREADS];
	struct stat st;
	time_t end;
	int fd;

	if (argc != 4 || !strstr("cut discard touch fork move", argv[2])) {
		fprintf(stderr, "usage: racers FILE cut|discard|touch|fork|move SECONDS\n");
		return 2;
	}
	fd = open(argv[1], O_RDWR | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		die(argv[1]);
	/* What root can break is not at issue. */
	if (!getuid() && (setgid(65534) || setuid(65534)))
		die("setuid");
	length = (size_t)st.st_size & -PAGE;
	map = mmap(NULL, 2 * length + GIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (map == MAP_FAILED)
		die("reserve");
	map = (char *)(((uintptr_t)map + GIB - 1) & -GIB);
	map_anew(fd);

	if (sigaction(SIGBUS, &action, NULL) || sigaction(SIGSEGV, &action, NULL))
		die("sigaction");
	for (uintptr_t i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, toucher, (void *)(i + 1)))
			die("pthread_create");
	end = time(NULL) + atoi(argv[3]);
	for (unsigned round = 0; time(NULL) < end; round++) {
		if (!strcmp(argv[2], "cut"))
			cut(fd, round);
		else if (!strcmp(argv[2], "discard"))
			discard(round);
		else if (!strcmp(argv[2], "fork"))
			fork_and_look();
		else if (!strcmp(argv[2], "move"))
			move_and_look(fd, round);
		else
			usleep(10000);
	}
	atomic_store(&done, true);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	printf("%lu\n", atomic_load(&touched));
	return 0;
}

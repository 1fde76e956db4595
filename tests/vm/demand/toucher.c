// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Threads that touch a mapping of a file whose memory comes on demand.
 *
 *   toucher touch FILE UNIT THREADS   each unit once, shared out among the threads
 *   toucher punch FILE UNIT SECONDS   one thread writes all the time, another one punches what is written
 *
 * "touch" writes the unit's number plus one into the unit, which must have been zero, and prints
 * "touched COUNT refused COUNT nanoseconds COUNT": of all of it, from the first touch to the last. A refusal is a SIGBUS.
 * "punch" prints how often it punched. A byte that was there before a punch must never be seen after it.
 */
#include <errno.h>
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
#include <time.h>
#include <unistd.h>

#define GIB         (1UL << 30)
#define THREADS_MAX 256

static char *map;
static size_t length, unit;
static unsigned threads;
static atomic_ulong touched, refused, published;
static atomic_bool stop;
static pthread_barrier_t start;
static _Thread_local sigjmp_buf on_refusal;

static void fail(const char *what)
{
	fprintf(stderr, "toucher: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void wrong(const char *what, size_t offset, uint64_t seen)
{
	fprintf(stderr, "toucher: %s at %#zx: %#llx\n", what, offset, (unsigned long long)seen);
	exit(1);
}

/* At a multiple of 1 GiB, so that the alignment of the file decides on the pages. */
static void map_file(const char *path)
{
	struct stat attr;
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &attr) < 0)
		fail(path);
	length = (size_t)attr.st_size;

	char *room = mmap(NULL, length + GIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (room == MAP_FAILED)
		fail("mmap");
	room = (char *)(((uintptr_t)room + GIB - 1) / GIB * GIB);
	map = mmap(room, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
	if (map == MAP_FAILED)
		fail("mmap");
	close(fd);
}

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static void on_signal(int number)
{
	(void)number;
	siglongjmp(on_refusal, 1);
}

static void *touch(void *first)
{
	pthread_barrier_wait(&start);
	for (volatile size_t i = (uintptr_t)first; i < length / unit; i += threads) {
		volatile uint64_t *at = (volatile uint64_t *)(map + i * unit);

		if (sigsetjmp(on_refusal, 1)) {
			refused++;
			continue;
		}
		if (*at)
			wrong("fresh memory is not zero", i * unit, *at);
		*at = i + 1;
		touched++;
	}
	return NULL;
}

static void touch_all(void)
{
	struct sigaction action = { .sa_handler = on_signal };
	pthread_t ids[THREADS_MAX];
	uint64_t begun;

	sigaction(SIGBUS, &action, NULL);
	pthread_barrier_init(&start, NULL, threads + 1);
	for (uintptr_t i = 0; i < threads; i++)
		pthread_create(&ids[i], NULL, touch, (void *)i);
	pthread_barrier_wait(&start);
	begun = now();
	for (unsigned i = 0; i < threads; i++)
		pthread_join(ids[i], NULL);
	printf("touched %lu refused %lu nanoseconds %llu\n", touched, refused, (unsigned long long)(now() - begun));
}

/* Says what it is about to write, then does. */
static void *write_on(void *unused)
{
	(void)unused;
	for (uint64_t value = 1; !stop; value++) {
		published = value;
		for (size_t at = 0; at < length; at += unit)
			*(volatile uint64_t *)(map + at) = value;
	}
	return NULL;
}

static void punch(unsigned seconds)
{
	uint64_t end = now() + seconds * 1000000000ULL;
	unsigned long punched = 0;
	pthread_t writer;

	pthread_create(&writer, NULL, write_on, NULL);
	for (size_t at = 0; now() < end; at = (at + unit) % length, punched++) {
		volatile uint64_t *shared = (volatile uint64_t *)(map + at);
		volatile uint64_t *own = (volatile uint64_t *)(map + at + unit / 2);
		uint64_t before, seen;

		*own = 0xdeadbeef;
		before = published;
		if (madvise(map + at, unit, MADV_REMOVE) < 0)
			fail("MADV_REMOVE");
		if (*own)
			wrong("a punched byte is seen", at, *own);
		seen = *shared;
		/* The writer may be behind with a round, but not with one before what it had said. */
		if (seen && seen < before)
			wrong("an old value is seen", at, seen);
	}
	stop = true;
	pthread_join(writer, NULL);
	printf("%lu\n", punched);
}

int main(int argc, char **argv)
{
	if (argc != 5)
		return 2;
	unit = strtoul(argv[3], NULL, 10);
	map_file(argv[2]);
	if (strcmp(argv[1], "touch") == 0) {
		threads = (unsigned)atoi(argv[4]);
		touch_all();
	} else {
		punch((unsigned)atoi(argv[4]));
	}
	return 0;
}

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A program that does nothing but wait for memory: `memory_bound [FILE [SKEW]]`, on the file or on memory of its own.
 *
 * "chase-ns" is the time of one step along a chain of pointers, one in each 4 KiB, in an order that no prefetcher guesses: what
 * looking up an address costs. "stream-mbs" is the rate of a[i] = b[i] + 3 c[i] over three arrays, the triad of STREAM.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#define BYTES   (UINT64_C(192) << 20)
#define PAGE    4096
#define PAGES   (BYTES / PAGE)
#define STEPS   2000000
#define DOUBLES (BYTES / 3 / sizeof(double))
#define GIB     (UINT64_C(1) << 30)

static double seconds(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* SKEW bytes past a multiple of 1 GiB, as a guest's RAM. */
static char *map(const char *path, uint64_t skew)
{
	char *place = mmap(NULL, BYTES + 2 * GIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uintptr_t aligned = ((uintptr_t)place + GIB - 1) / GIB * GIB + skew;
	int fd = path ? open(path, O_RDWR) : -1;
	char *memory;

	if (place == MAP_FAILED || (path && fd < 0)) {
		perror(path ? path : "mmap");
		exit(EXIT_FAILURE);
	}
	memory = mmap((void *)aligned, path ? GIB : BYTES, PROT_READ | PROT_WRITE,
	              MAP_FIXED | (path ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS), fd, 0);
	if (memory == MAP_FAILED) {
		perror("mmap");
		exit(EXIT_FAILURE);
	}
	return memory;
}

/* The word of each page that the chain uses: not all of them in the same lines of a cache. */
static char **word(char *memory, uint64_t page)
{
	return (char **)(memory + page * PAGE + page * 64 % PAGE);
}

/* Sattolo's algorithm: one cycle through all pages. */
static void link_pages(char *memory)
{
	uint32_t *order = malloc(PAGES * sizeof(*order));
	uint64_t seed = 1;

	for (uint32_t i = 0; i < PAGES; i++)
		order[i] = i;
	for (uint32_t i = PAGES - 1; i > 0; i--) {
		seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;

		uint32_t other = (uint32_t)((seed >> 33) % i), kept = order[i];

		order[i] = order[other];
		order[other] = kept;
	}
	for (uint32_t i = 0; i < PAGES; i++)
		*word(memory, order[i]) = (char *)word(memory, order[(i + 1) % PAGES]);
	free(order);
}

static double chase(char *memory)
{
	char **at = word(memory, 0);
	double start;

	link_pages(memory);
	start = seconds();
	for (int i = 0; i < STEPS; i++)
		at = (char **)*(char *volatile *)at;
	return (seconds() - start) / STEPS;
}

static double stream(char *memory)
{
	double *a = (double *)(void *)memory, *b = a + DOUBLES, *c = b + DOUBLES, start, last;

	for (size_t i = 0; i < DOUBLES; i++) {
		b[i] = (double)i;
		c[i] = 1;
	}
	start = seconds();
	for (size_t i = 0; i < DOUBLES; i++)
		a[i] = b[i] + 3 * c[i];
	last = seconds() - start;
	if (a[DOUBLES - 1] != (double)(DOUBLES - 1) + 3)
		exit(EXIT_FAILURE);
	return BYTES / last;
}

int main(int argc, char **argv)
{
	char *memory = map(argc > 1 ? argv[1] : NULL, argc > 2 ? strtoull(argv[2], NULL, 10) : 0);

	printf("chase-ns %.2f\n", chase(memory) * 1e9);
	printf("stream-mbs %.1f\n", stream(memory) / 1e6);
	return EXIT_SUCCESS;
}

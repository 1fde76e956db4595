// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Takes SIZE bytes as a guest's RAM: makes them, maps them and touches each PAGE bytes. Prints the nanoseconds of making and of
 * touching, and the faults: `touch_client KIND PATH SIZE SKEW PAGE`.
 *
 * KIND: "file" makes PATH; "memfd" and "memfd-hugetlb" take PATH for a label; "device" opens PATH, which has its size. The
 * mapping lies SKEW bytes past a multiple of 1 GiB: that limits the pages that fit.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define GIB (UINT64_C(1) << 30)

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static long faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt;
}

static int make(const char *kind, const char *path, uint64_t size)
{
	int fd;

	if (strcmp(kind, "device") == 0)
		return open(path, O_RDWR | O_CLOEXEC);
	if (strcmp(kind, "file") == 0)
		fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	else
		fd = memfd_create(path, MFD_CLOEXEC | (strcmp(kind, "memfd") ? MFD_HUGETLB : 0));
	return fd >= 0 && ftruncate(fd, (off_t)size) < 0 ? -1 : fd;
}

static volatile char *map(int fd, uint64_t size, uint64_t skew)
{
	char *place = mmap(NULL, size + 2 * GIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uintptr_t aligned = ((uintptr_t)place + GIB - 1) / GIB * GIB + skew;
	void *mapping;

	if (place == MAP_FAILED)
		return NULL;
	mapping = mmap((void *)aligned, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
	return mapping == MAP_FAILED ? NULL : mapping;
}

int main(int argc, char **argv)
{
	uint64_t size, skew, page, start, made, end;
	volatile char *memory = NULL;
	long before;
	int fd;

	if (argc != 6) {
		fprintf(stderr, "usage: %s KIND PATH SIZE SKEW PAGE\n", argv[0]);
		return 2;
	}
	size = strtoull(argv[3], NULL, 10);
	skew = strtoull(argv[4], NULL, 10);
	page = strtoull(argv[5], NULL, 10);
	now(); /* the pages of this program are there before it counts */
	before = faults();
	start = now();
	fd = make(argv[1], argv[2], size);
	if (fd >= 0)
		memory = map(fd, size, skew);
	if (!memory) {
		perror(argv[2]);
		return 1;
	}
	made = now();
	for (uint64_t at = 0; at < size; at += page)
		memory[at] = 1;
	end = now();
	printf("%llu %llu %ld\n", (unsigned long long)(made - start), (unsigned long long)(end - made),
	       faults() - before);
	return 0;
}

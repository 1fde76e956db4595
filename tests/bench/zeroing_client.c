// SPDX-License-Identifier: GPL-2.0-or-later
/* Makes a file of SIZE bytes, maps it as a guest's RAM, touches each 2 MiB; prints the nanoseconds: `zeroing_client FILE SIZE`. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define GIB (UINT64_C(1) << 30)
#define MIB (UINT64_C(1) << 20)

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

/* At an address aligned to 1 GiB, as with QEMU's align=1G. */
static volatile char *map(int fd, uint64_t size)
{
	char *place = mmap(NULL, size + GIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uintptr_t aligned = ((uintptr_t)place + GIB - 1) / GIB * GIB;
	void *mapping;

	if (place == MAP_FAILED)
		return NULL;
	mapping = mmap((void *)aligned, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
	return mapping == MAP_FAILED ? NULL : mapping;
}

int main(int argc, char **argv)
{
	uint64_t size = argc == 3 ? strtoull(argv[2], NULL, 10) : 0, start = now(), made;
	int fd = size ? open(argv[1], O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;
	volatile char *memory = NULL;

	if (fd >= 0 && ftruncate(fd, (off_t)size) == 0)
		memory = map(fd, size);
	if (!memory) {
		perror("zeroing_client");
		return 1;
	}
	made = now();
	for (uint64_t at = 0; at < size; at += 2 * MIB)
		memory[at] = 1;
	printf("%llu %llu\n", (unsigned long long)(made - start), (unsigned long long)(now() - made));
	return 0;
}

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * First and only process of a VM of another architecture: loads the module, uses it as a daemon and as a guest would, and
 * says what it saw. `probe START LENGTH` of the kernel's command line ("-- START LENGTH"): the reserved range.
 */
#include <dmemfs_ioctl.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB   (1ULL << 20)
#define GIB   (1ULL << 30)
#define WORDS 8

static int device;

static void check(int right, const char *what)
{
	printf("%s %s%s%s\n", right ? "ok" : "not ok", what, right ? "" : ": ", right ? "" : strerror(errno));
	if (!right) {
		fflush(stdout);
		reboot(RB_POWER_OFF);
	}
}

static int call(unsigned long request, void *argument)
{
	return ioctl(device, request, argument);
}

static int load_module(void)
{
	int fd = open("/dmemfs.ko", O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -1 : (int)syscall(SYS_finit_module, fd, "", 0);
}

/* Object 1, of @size, on memory at @start. */
static int make_object(uint64_t start, uint64_t size)
{
	struct dmemfs_object_op op = { .id = 1 }, open_op = op;
	struct dmemfs_object_zero zero = { .offset = start, .length = size };
	struct dmemfs_extent extent = { .id = 1, .start = start, .length = size };
	struct dmemfs_object_resize resize = { .id = 1, .size = size };

	check(call(DMEMFS_IOC_OBJECT_CREATE, &op) == 0, "an object");
	check(call(DMEMFS_IOC_OBJECT_ZERO, &zero) == 0, "zeroed");
	check(call(DMEMFS_IOC_EXTENT_ADD, &extent) == 0, "given memory");
	check(call(DMEMFS_IOC_OBJECT_RESIZE, &resize) == 0, "sized");
	return call(DMEMFS_IOC_OBJECT_OPEN, &open_op);
}

/* At an address with the alignment of the largest page. */
static volatile uint64_t *map(int fd, uint64_t size)
{
	char *room = mmap(NULL, size + GIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	room = (char *)(((uintptr_t)room + GIB - 1) / GIB * GIB);
	return mmap(room, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
}

static void use_mapping(int fd, uint64_t size)
{
	struct dmemfs_object_info info = { .id = 1 };
	volatile uint64_t *mine = map(fd, size);
	uint64_t words[WORDS], wrong = 0;

	check(mine != MAP_FAILED, "mapped");
	for (uint64_t at = 0; at < size / sizeof(*mine); at += 4096 / sizeof(*mine)) {
		wrong += mine[at];
		mine[at] = at + 1;
	}
	check(wrong == 0, "fresh memory is zero");
	if (fork() == 0) {
		for (uint64_t at = 0; at < size / sizeof(*mine); at += 4096 / sizeof(*mine))
			wrong += mine[at] != at + 1;
		mine[1] = 77;
		_exit(wrong != 0);
	}

	int status = -1;

	wait(&status);
	check(status == 0 && mine[1] == 77, "another process has the same bytes");
	check(pread(fd, words, sizeof(words), 0) == sizeof(words) && words[0] == 1 && words[1] == 77, "so has read");
	check(call(DMEMFS_IOC_OBJECT_NEXT, &info) == 0, "described");
	printf("# faults: %llu of 4 KiB, %llu of 2 MiB, %llu of 1 GiB\n", (unsigned long long)info.faults_4k,
	       (unsigned long long)info.faults_2m, (unsigned long long)info.faults_1g);
	check(info.faults_4k == 0, "in large pages");
	check(munmap((void *)mine, size) == 0, "unmapped");
}

static void give_up(int fd)
{
	struct dmemfs_object_op op = { .id = 1 }, reap_op = op;
	struct pollfd events = { .fd = device, .events = POLLIN };
	struct dmemfs_event event;

	check(call(DMEMFS_IOC_OBJECT_DROP, &op) == 0, "given up");
	close(fd);
	check(poll(&events, 1, 10000) == 1 && read(device, &event, sizeof(event)) == sizeof(event) &&
	              event.kind == DMEMFS_EVENT_IDLE && event.id == 1,
	      "nobody can reach it");
	check(call(DMEMFS_IOC_OBJECT_REAP, &reap_op) == 0, "reaped");
}

int main(int argc, char **argv)
{
	struct dmemfs_hello hello = { .abi = DMEMFS_ABI_VERSION };
	uint64_t start, length;
	int fd;

	mount("dev", "/dev", "devtmpfs", 0, NULL);
	fd = open("/dev/console", O_RDWR);
	for (int i = 0; i < 3; i++)
		dup2(fd, i);
	setvbuf(stdout, NULL, _IONBF, 0);
	check(argc == 3, "told where the memory is");
	start = strtoull(argv[1], NULL, 0);
	length = strtoull(argv[2], NULL, 0);
	check(load_module() == 0, "module loaded");
	device = open(DMEMFS_DEVICE, O_RDWR | O_CLOEXEC);
	check(device >= 0, "device opened");
	check(call(DMEMFS_IOC_HELLO, &hello) == 0, "hello");
	printf("# module %s, page sizes 0x%llx, huge %u\n", hello.version, (unsigned long long)hello.page_sizes,
	       hello.huge);

	struct dmemfs_region region = { .start = start, .length = length }, release = region;
	struct dmemfs_region ram = { .start = start - 16 * MIB, .length = 2 * MIB };

	check(call(DMEMFS_IOC_REGION_CLAIM, &ram) < 0, "RAM of the kernel is refused");
	check(call(DMEMFS_IOC_REGION_CLAIM, &region) == 0, "region claimed");
	fd = make_object(start, 64 * MIB);
	check(fd >= 0, "opened");
	use_mapping(fd, 64 * MIB);
	give_up(fd);
	check(call(DMEMFS_IOC_REGION_RELEASE, &release) == 0, "region released");
	close(device);
	check(syscall(SYS_delete_module, "dmemfs", O_NONBLOCK) == 0, "module unloaded");
	printf("done\n");
	reboot(RB_POWER_OFF);
}

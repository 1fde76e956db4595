// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * userfaultfd(2) on a mapping of a dmemfs file, in every mode: `userfault FILE DIRECTORY SECONDS`.
 *
 * Either the kernel refuses, or every access ends: with the bytes, with SIGBUS, or, of a system call, with an error.
 * Among them are those that the kernel makes with the lock of DIRECTORY held. Then threads touch the mapping for SECONDS
 * while its pages are write-protected and released. It is the kernel that is tested: it must not notice anything.
 */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MIB     (1UL << 20)
#define GIB     (1UL << 30)
#define LARGE   (2 * MIB)
#define LENGTH  (128 * MIB)
#define TIMEOUT 60

/* Linux 6.7; older headers do not have it. */
#define WP_ASYNC (1 << 15)

static const struct mode {
	const char *name;
	uint64_t mode, features;
} modes[] = {
	{ "missing", UFFDIO_REGISTER_MODE_MISSING, 0 },
	{ "minor", UFFDIO_REGISTER_MODE_MINOR, 0 },
	{ "write-protect", UFFDIO_REGISTER_MODE_WP, 0 },
	{ "missing and write-protect", UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP, WP_ASYNC },
	{ "asynchronous write-protect", UFFDIO_REGISTER_MODE_WP, WP_ASYNC },
};

static int file, uffd = -1;
static const char *directory;
static char *map;
static atomic_bool done;
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
	if (!sigsetjmp(after_fault, 1))
		*(volatile char *)at = 1;
}

/* A new mapping, with large pages but none of 1 GiB, registered with uffd; false: the kernel refuses. */
static bool map_anew(const struct mode *mode)
{
	struct uffdio_register range = { .range = { (uintptr_t)map, LENGTH }, .mode = mode->mode };

	if (mmap(map, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0) == MAP_FAILED)
		die("mmap");
	return !ioctl(uffd, UFFDIO_REGISTER, &range);
}

static bool begin(const struct mode *mode, int flags)
{
	struct uffdio_api api = { .api = UFFD_API, .features = mode->features };

	if (uffd >= 0)
		close(uffd);
	uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | flags);
	return uffd >= 0 && !ioctl(uffd, UFFDIO_API, &api) && map_anew(mode);
}

static bool protect(char *at, size_t length, bool on)
{
	struct uffdio_writeprotect range = { .range = { (uintptr_t)at, length },
		                             .mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0 };

	return !ioctl(uffd, UFFDIO_WRITEPROTECT, &range);
}

static void write_byte(void)
{
	touch(map);
}

static void read_byte(void)
{
	if (!sigsetjmp(after_fault, 1))
		(void)*(volatile char *)map;
}

static void list_directory(void)
{
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		die(directory);
	syscall(SYS_getdents64, fd, map, 4096);
}

static void read_and_write(void)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), pipes[2];

	if (fd < 0 || pipe(pipes))
		die("open, pipe");
	if (read(fd, map, 4096) == 4096 && write(pipes[1], map, 4096) != 4096)
		die("write");
}

static void give_back(void)
{
	madvise(map, LENGTH, MADV_DONTNEED);
	touch(map);
}

static void (*const accesses[])(void) = { write_byte, read_byte, list_directory, read_and_write, give_back };

/* In a process of its own, because it may never end. */
static void access_in_mode(const struct mode *mode, int flags, void (*access)(void), bool touched)
{
	struct uffdio_range range = { (uintptr_t)map, LENGTH };
	int status, left;
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (!pid) {
		if (!begin(mode, flags))
			die(mode->name);
		if (touched)
			touch(map);
		if (!protect(map, LENGTH, true))
			die("UFFDIO_WRITEPROTECT");
		access();
		if (ioctl(uffd, UFFDIO_UNREGISTER, &range))
			die("UFFDIO_UNREGISTER");
		*(volatile char *)map = 1;
		_exit(0);
	}
	for (left = TIMEOUT * 10; left && !waitpid(pid, &status, WNOHANG); left--)
		usleep(100000);
	if (!left) {
		kill(pid, SIGKILL);
		fprintf(stderr, "userfault: mode %s: an access never ends\n", mode->name);
		exit(1);
	}
	if (status) {
		fprintf(stderr, "userfault: mode %s: status %#x\n", mode->name, status);
		exit(1);
	}
}

static void *protect_and_release(void *argument)
{
	uint32_t random = 1;

	while (!atomic_load_explicit(&done, memory_order_relaxed)) {
		random = random * 1103515245 + 12345;
		protect(map + (random >> 4) % (LENGTH / LARGE) * LARGE, LARGE, random & 1 << 20);
	}
	return argument;
}

/* Each large page meets the other thread once; after that there are small ones. */
static void race(const struct mode *mode, int seconds)
{
	time_t end = time(NULL) + seconds;
	pthread_t thread;
	uint32_t random = 2;

	if (pthread_create(&thread, NULL, protect_and_release, NULL))
		die("pthread_create");
	while (time(NULL) < end && map_anew(mode)) {
		for (size_t i = 0; i < 4 * LENGTH / LARGE; i++) {
			random = random * 1103515245 + 12345;
			touch(map + (random >> 4) % (LENGTH / LARGE) * LARGE);
		}
	}
	atomic_store(&done, true);
	pthread_join(thread, NULL);
}

int main(int argc, char **argv)
{
	static const int flags[] = { 0, UFFD_USER_MODE_ONLY };
	struct sigaction action = { .sa_handler = on_fault };

	if (argc != 4) {
		fprintf(stderr, "usage: userfault FILE DIRECTORY SECONDS\n");
		return 2;
	}
	file = open(argv[1], O_RDWR | O_CLOEXEC);
	directory = argv[2];
	if (file < 0)
		die(argv[1]);
	/* What root can break is not at issue. */
	if (!getuid() && (setgid(65534) || setuid(65534)))
		die("setuid");
	map = mmap(NULL, 3 * GIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (map == MAP_FAILED || sigaction(SIGBUS, &action, NULL))
		die("mmap");
	map = (char *)(((uintptr_t)map + GIB - 1) & -GIB) + LARGE;
	for (size_t f = 0; f < 2; f++) {
		for (size_t m = 0; m < sizeof(modes) / sizeof(*modes); m++) {
			if (!begin(&modes[m], flags[f]))
				continue;
			printf("registered: %s\n", modes[m].name);
			for (size_t a = 0; a < sizeof(accesses) / sizeof(*accesses); a++) {
				access_in_mode(&modes[m], flags[f], accesses[a], false);
				access_in_mode(&modes[m], flags[f], accesses[a], true);
			}
		}
	}
	/* The one that some kernels allow. */
	if (begin(&modes[sizeof(modes) / sizeof(*modes) - 1], UFFD_USER_MODE_ONLY))
		race(&modes[sizeof(modes) / sizeof(*modes) - 1], atoi(argv[3]));
	return 0;
}

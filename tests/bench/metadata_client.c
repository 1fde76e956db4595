// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The load of the metadata benchmark: creates, stats, renames and unlinks COUNT files in DIRECTORY, and prints
 * "OPERATION NANOSECONDS" for each. Names are dropped from the kernel's caches before the stats, which would else
 * never reach the file system.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct name {
	char text[32];
};

static struct name name(const char *prefix, long number)
{
	struct name made;

	snprintf(made.text, sizeof(made.text), "%s%ld", prefix, number);
	return made;
}

static void create_file(long number)
{
	int fd = open(name("f", number).text, O_RDWR | O_CREAT | O_EXCL, 0644);

	if (fd < 0)
		err(1, "create");
	close(fd);
}

static void stat_file(long number)
{
	struct stat attr;

	if (stat(name("f", number).text, &attr) < 0)
		err(1, "stat");
}

static void rename_file(long number)
{
	if (rename(name("f", number).text, name("g", number).text) < 0)
		err(1, "rename");
}

static void unlink_file(long number)
{
	if (unlink(name("g", number).text) < 0)
		err(1, "unlink");
}

static void forget_names(void)
{
	FILE *file = fopen("/proc/sys/vm/drop_caches", "w");

	/* 2: dentries and inodes (proc_sys_vm(5)). */
	if (!file || fputs("2\n", file) < 0 || fclose(file) != 0)
		err(1, "/proc/sys/vm/drop_caches");
}

static int64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

static void measure(const char *operation, void (*step)(long number), long count)
{
	int64_t start = now();

	for (long i = 0; i < count; i++)
		step(i);
	printf("%s %lld\n", operation, (long long)(now() - start));
}

int main(int argc, char **argv)
{
	if (argc != 3)
		errx(2, "usage: %s DIRECTORY COUNT", argv[0]);

	long count = strtol(argv[2], NULL, 10);

	if (count <= 0)
		errx(2, "%s: not a number of files", argv[2]);
	if (chdir(argv[1]) < 0)
		err(1, "%s", argv[1]);
	measure("create", create_file, count);
	forget_names();
	measure("stat", stat_file, count);
	measure("rename", rename_file, count);
	measure("unlink", unlink_file, count);
	return 0;
}

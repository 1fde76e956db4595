// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A process that maps a file and is told by SIGBUS of memory that is lost: `victim FD LENGTH [early]`.
 *
 * The file is mapped at a multiple of 1 GiB. With "early" it asks to be told before it touches (prctl(2)). Commands on stdin,
 * an answer line each: "get OFFSET" and "put OFFSET" touch one byte: "done BYTE", or "SIGBUS CODE OFFSET LSB" as in
 * siginfo_t, with the address as an offset; "spin OFFSET" says "spinning" and reads that byte until a signal ends it, which it
 * prints; "guest OFFSET" lets a vCPU read the byte: the same answers, or "failed ERRNO"; it reads the page of the first call, again
 * in each further one; "told" tells of the signal that came without a touch: "nothing" or the same.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "../nested/tiny_vm.h"

#define GIB (1UL << 30)

static char *map;
static sigjmp_buf on_loss;
static siginfo_t loss, news;
static volatile sig_atomic_t touching;

static void on_signal(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)context;
	if (info->si_code != BUS_MCEERR_AO) {
		if (!touching)
			abort();
		loss = *info;
		siglongjmp(on_loss, 1);
	}
	news = *info;
}

static void print(const siginfo_t *info)
{
	const char *code = info->si_code == BUS_MCEERR_AR   ? "MCEERR_AR"
	                   : info->si_code == BUS_MCEERR_AO ? "MCEERR_AO"
	                   : info->si_code == BUS_ADRERR    ? "ADRERR"
	                                                    : "other";

	printf("SIGBUS %s %td %d\n", code, (char *)info->si_addr - map, info->si_addr_lsb);
}

static void touch(size_t offset, bool write, bool for_ever)
{
	volatile char *at = map + offset;
	volatile int seen = 0;

	if (sigsetjmp(on_loss, 1)) {
		touching = 0;
		print(&loss);
		return;
	}
	touching = 1;
	if (for_ever)
		printf("spinning\n");
	do {
		if (write)
			*at = 'x';
		else
			seen = *at;
	} while (for_ever);
	touching = 0;
	printf("done %d\n", seen);
}

static void touch_by_guest(size_t offset)
{
	static struct tiny_vm vm;
	int seen;

	if (!vm.run)
		vm = tiny_vm_new(map + offset / TINY_VM_PAGE * TINY_VM_PAGE);
	if (sigsetjmp(on_loss, 1)) {
		touching = 0;
		print(&loss);
		return;
	}
	touching = 1;
	seen = tiny_vm_read(&vm, offset % TINY_VM_PAGE);
	touching = 0;
	printf(seen < 0 ? "failed %d\n" : "done %d\n", seen < 0 ? -seen : seen);
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART };
	char word[16];
	size_t offset, length;

	if (argc < 3)
		return 2;
	length = strtoul(argv[2], NULL, 10);
	map = mmap(NULL, length + GIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	map = (char *)(((uintptr_t)map + GIB - 1) / GIB * GIB);
	map = mmap(map, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, atoi(argv[1]), 0);
	if (map == MAP_FAILED) {
		perror("victim: mmap");
		return 1;
	}
	sigaction(SIGBUS, &action, NULL);
	if (argc > 3 && prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0) < 0)
		return 1;
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("ready\n");
	while (scanf("%15s", word) == 1) {
		if (strcmp(word, "told") == 0) {
			if (news.si_code)
				print(&news);
			else
				printf("nothing\n");
		} else if (scanf("%zu", &offset) == 1) {
			if (strcmp(word, "guest") == 0)
				touch_by_guest(offset);
			else
				touch(offset, strcmp(word, "put") == 0, strcmp(word, "spin") == 0);
		}
	}
	return 0;
}

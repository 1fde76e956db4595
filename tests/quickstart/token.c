// SPDX-License-Identifier: GPL-2.0-or-later
/* Runs in the guest: shows a token in its RAM to the host, then waits until the host has put one there. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define PAGE_SIZE    4096
#define TOKEN_LENGTH 32
#define WAIT_SECONDS 120

/*
 * The page both sides look at; witness.py knows the layout. A token travels through other memory as well, the console
 * for one. Only here does it follow the magic: that pair is written nowhere but into this page, in two steps, so the
 * host finds one place and it is the living one. The page is locked, it stays where it is.
 */
struct shared_page {
	char magic[16];
	char from_guest[TOKEN_LENGTH];
	char from_host[TOKEN_LENGTH];
	uint32_t host_has_written;
};

static void say(const char *name, const char *token)
{
	printf("%s %.*s\n", name, TOKEN_LENGTH, token);
	fflush(stdout);
}

static void make_token(char token[TOKEN_LENGTH])
{
	unsigned char bytes[TOKEN_LENGTH / 2];
	char text[TOKEN_LENGTH + 1];

	if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes)) {
		perror("getrandom");
		exit(EXIT_FAILURE);
	}
	for (size_t i = 0; i < sizeof(bytes); i++)
		snprintf(text + 2 * i, 3, "%02x", bytes[i]);
	memcpy(token, text, TOKEN_LENGTH);
}

/* The guest calls nothing here that could bring the bytes in: they appear in its memory, or they do not. */
static int wait_for_host(struct shared_page *page)
{
	const struct timespec pause = { .tv_nsec = 10 * 1000 * 1000 };

	for (int i = 0; i < WAIT_SECONDS * 100; i++) {
		if (__atomic_load_n(&page->host_has_written, __ATOMIC_ACQUIRE))
			return 0;
		nanosleep(&pause, NULL);
	}
	return -1;
}

int main(void)
{
	struct shared_page *page = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED || mlock(page, PAGE_SIZE) < 0) {
		perror("mmap");
		return EXIT_FAILURE;
	}
	memcpy(page->magic, "dmemfs-RAM-token", sizeof(page->magic));
	make_token(page->from_guest);
	say("guest-token", page->from_guest);
	if (wait_for_host(page) < 0) {
		puts("host-token none");
		return EXIT_FAILURE;
	}
	say("host-token", page->from_host);
	return EXIT_SUCCESS;
}

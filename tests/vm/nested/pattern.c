// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Runs in the guest: fills most of its free memory with words that differ everywhere, reads them back, and does it
 * again with every bit inverted. Prints "pattern-mib N" when all were right.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>

#define PERCENT 85

/* A page that shows up at a second place, or a word that is lost, cannot go unnoticed: no two words are the same. */
static uint64_t word_at(size_t i)
{
	return i * UINT64_C(0x9e3779b97f4a7c15);
}

static bool pass(uint64_t *words, size_t count, uint64_t invert)
{
	for (size_t i = 0; i < count; i++)
		words[i] = word_at(i) ^ invert;
	for (size_t i = 0; i < count; i++) {
		if (words[i] != (word_at(i) ^ invert)) {
			printf("pattern-wrong at word %zu: %#jx\n", i, (uintmax_t)words[i]);
			return false;
		}
	}
	return true;
}

int main(void)
{
	struct sysinfo info;
	uint64_t *words;
	size_t size;

	if (sysinfo(&info)) {
		perror("sysinfo");
		return EXIT_FAILURE;
	}
	size = (size_t)info.freeram * info.mem_unit / 100 * PERCENT;
	words = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (words == MAP_FAILED) {
		perror("mmap");
		return EXIT_FAILURE;
	}
	if (!pass(words, size / sizeof(*words), 0) || !pass(words, size / sizeof(*words), UINT64_MAX))
		return EXIT_FAILURE;
	printf("pattern-mib %zu\n", size >> 20);
	return EXIT_SUCCESS;
}

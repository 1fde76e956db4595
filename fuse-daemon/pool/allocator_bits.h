/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A bitmap of the 512 children of a chunk or block: a set bit is a child that is wholly free. Finds runs of set bits.
 *
 * Ranges are [from, from + count) and must lie inside the set; count may be 0.
 */
#ifndef DMEMFS_ALLOCATOR_BITS_H
#define DMEMFS_ALLOCATOR_BITS_H

#include <stdbool.h>
#include <stdint.h>

#define BITS       512u
#define BITS_WORDS (BITS / 64)

struct bits {
	uint64_t words[BITS_WORDS];
};

struct bits_run {
	unsigned start;
	unsigned length; /* 0: there is no such run */
};

/* The bits of [from, to) that lie in word @word, which the range must touch. */
static inline uint64_t bits_mask(unsigned word, unsigned from, unsigned to)
{
	uint64_t mask = UINT64_MAX;

	if (from > word * 64)
		mask &= UINT64_MAX << (from % 64);
	if (to < (word + 1) * 64)
		mask &= ~(UINT64_MAX << (to % 64));
	return mask;
}

static inline void bits_assign(struct bits *bits, unsigned from, unsigned count, bool value)
{
	unsigned to = from + count;

	for (unsigned word = from / 64; word * 64 < to; word++) {
		uint64_t mask = bits_mask(word, from, to);

		bits->words[word] = value ? bits->words[word] | mask : bits->words[word] & ~mask;
	}
}

/* Are all of the range in the set (@value true), or none of it (@value false)? */
static inline bool bits_are(const struct bits *bits, unsigned from, unsigned count, bool value)
{
	unsigned to = from + count;

	for (unsigned word = from / 64; word * 64 < to; word++) {
		uint64_t wrong = value ? ~bits->words[word] : bits->words[word];

		if (wrong & bits_mask(word, from, to))
			return false;
	}
	return true;
}

static inline bool bits_test(const struct bits *bits, unsigned bit)
{
	return bits->words[bit / 64] >> (bit % 64) & 1;
}

static inline bool bits_empty(const struct bits *bits)
{
	return bits_are(bits, 0, BITS, false);
}

static inline bool bits_full(const struct bits *bits)
{
	return bits_are(bits, 0, BITS, true);
}

/* The first bit at or after @from that is in the set (@value true) or not in it; BITS when there is none. */
static inline unsigned bits_next(const struct bits *bits, unsigned from, bool value)
{
	for (unsigned word = from / 64; word < BITS_WORDS; word++) {
		uint64_t found = (value ? bits->words[word] : ~bits->words[word]) & bits_mask(word, from, BITS);

		if (found)
			return word * 64 + (unsigned)__builtin_ctzll(found);
	}
	return BITS;
}

/* The last bit in the set, which must not be empty. */
static inline unsigned bits_last(const struct bits *bits)
{
	unsigned word = BITS_WORDS - 1;

	while (!bits->words[word])
		word--;
	return word * 64 + 63 - (unsigned)__builtin_clzll(bits->words[word]);
}

/* How many bits from @from on are in the set without a gap. */
static inline unsigned bits_run_at(const struct bits *bits, unsigned from)
{
	return bits_next(bits, from, false) - from;
}

/* The longest run; the lowest one of several. */
static inline struct bits_run bits_longest(const struct bits *bits)
{
	struct bits_run best = { 0, 0 };

	for (unsigned at = bits_next(bits, 0, true); at < BITS;) {
		unsigned end = bits_next(bits, at, false);

		if (end - at > best.length)
			best = (struct bits_run){ .start = at, .length = end - at };
		at = bits_next(bits, end, true);
	}
	return best;
}

/* The shortest run of at least @count bits; the lowest one of several. */
static inline struct bits_run bits_fit(const struct bits *bits, unsigned count)
{
	struct bits_run best = { 0, 0 };

	for (unsigned at = bits_next(bits, 0, true); at < BITS;) {
		unsigned end = bits_next(bits, at, false);

		if (end - at >= count && (best.length == 0 || end - at < best.length))
			best = (struct bits_run){ .start = at, .length = end - at };
		at = bits_next(bits, end, true);
	}
	return best;
}

#endif

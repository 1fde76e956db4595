// SPDX-License-Identifier: GPL-2.0-or-later
/* A bitmap of wholly free chunks, and a tree over it that finds runs. */
#include "pool/allocator_chunks.h"

#include <glib.h>

static unsigned word_longest(uint64_t word)
{
	unsigned longest = 0;

	/* Each step shortens every run by one. */
	for (; word; word &= word >> 1)
		longest++;
	return longest;
}

/* The lowest run of @count <= 64 bits in @word, which must have one. */
static unsigned word_find(uint64_t word, unsigned count)
{
	/* Keeps only bits at which a run of @have bits begins. Doubles @have until it is @count. */
	for (unsigned have = 1; have < count;) {
		unsigned more = MIN(have, count - have);

		word &= word >> more;
		have += more;
	}
	return (unsigned)__builtin_ctzll(word);
}

static struct chunks_span span_of_word(uint64_t word)
{
	if (word == UINT64_MAX)
		return (struct chunks_span){ 64, 64, 64 };
	return (struct chunks_span){
		.prefix = (uint32_t)__builtin_ctzll(~word),
		.suffix = (uint32_t)__builtin_clzll(~word),
		.longest = word_longest(word),
	};
}

/* @half: the number of chunks below @left, and below @right. */
static struct chunks_span span_join(const struct chunks_span *left, const struct chunks_span *right, uint32_t half)
{
	uint32_t across = left->suffix + right->prefix;

	return (struct chunks_span){
		.prefix = left->prefix == half ? half + right->prefix : left->prefix,
		.suffix = right->suffix == half ? half + left->suffix : right->suffix,
		.longest = MAX(across, MAX(left->longest, right->longest)),
	};
}

void chunks_init(struct chunks *chunks, uint32_t count)
{
	uint32_t leaves = 1;

	while (leaves * UINT64_C(64) < count)
		leaves *= 2;
	*chunks = (struct chunks){
		.count = count,
		.leaves = leaves,
		.words = g_new0(uint64_t, leaves),
		.tree = g_new0(struct chunks_span, 2 * (size_t)leaves),
	};
}

void chunks_clear(struct chunks *chunks)
{
	g_free(chunks->words);
	g_free(chunks->tree);
}

/* Recomputes the tree over the words [first, last]. */
static void update(struct chunks *chunks, uint32_t first, uint32_t last)
{
	uint32_t half = 64;

	for (uint32_t word = first; word <= last; word++)
		chunks->tree[chunks->leaves + word] = span_of_word(chunks->words[word]);

	first = (chunks->leaves + first) / 2;
	last = (chunks->leaves + last) / 2;
	for (; first > 0; first /= 2, last /= 2, half *= 2) {
		for (uint32_t i = first; i <= last; i++)
			chunks->tree[i] = span_join(&chunks->tree[2 * i], &chunks->tree[2 * i + 1], half);
	}
}

void chunks_assign(struct chunks *chunks, uint32_t first, uint32_t count, bool free)
{
	uint32_t end = first + count;

	for (uint32_t at = first, next; at < end; at = next) {
		uint64_t mask = UINT64_MAX << (at % 64);

		next = MIN(at - at % 64 + 64, end);
		if (next % 64)
			mask &= ~(UINT64_MAX << (next % 64));
		if (free)
			chunks->words[at / 64] |= mask;
		else
			chunks->words[at / 64] &= ~mask;
	}
	chunks->free = free ? chunks->free + count : chunks->free - count;
	update(chunks, first / 64, (end - 1) / 64);
}

bool chunks_test(const struct chunks *chunks, uint32_t chunk)
{
	return chunks->words[chunk / 64] >> (chunk % 64) & 1;
}

/* The first chunk in [at, end) that is free or, with @flip all ones, not free. @end or more when there is none. */
static uint32_t scan(const struct chunks *chunks, uint32_t at, uint32_t end, uint64_t flip)
{
	while (at < end) {
		uint64_t found = (chunks->words[at / 64] ^ flip) >> (at % 64);

		if (found)
			return at + (uint32_t)__builtin_ctzll(found);
		at += 64 - at % 64;
	}
	return end;
}

uint32_t chunks_run_at(const struct chunks *chunks, uint32_t first, uint32_t max)
{
	uint32_t end = first + MIN(max, chunks->count - first);

	return MIN(scan(chunks, first, end, UINT64_MAX), end) - first;
}

uint32_t chunks_longest(const struct chunks *chunks)
{
	return chunks->tree[1].longest;
}

uint32_t chunks_find(const struct chunks *chunks, uint32_t count)
{
	uint32_t first = 0;                      /* the first chunk below node i */
	uint32_t half = chunks->leaves * 64 / 2; /* chunks below each child of it */
	uint32_t i = 1;

	if (chunks->tree[1].longest < count)
		return CHUNKS_NONE;
	for (; i < chunks->leaves; half /= 2) {
		const struct chunks_span *left = &chunks->tree[2 * i];
		const struct chunks_span *right = left + 1;

		if (left->longest >= count) {
			i = 2 * i;
		} else if (left->suffix + right->prefix >= count) {
			return first + half - left->suffix;
		} else {
			first += half;
			i = 2 * i + 1;
		}
	}
	return first + word_find(chunks->words[first / 64], count);
}

uint32_t chunks_last(const struct chunks *chunks)
{
	uint32_t i = 1;

	if (!chunks->free)
		return CHUNKS_NONE;
	while (i < chunks->leaves)
		i = 2 * i + (chunks->tree[2 * i + 1].longest > 0);
	i -= chunks->leaves;
	return i * 64 + 63 - (uint32_t)__builtin_clzll(chunks->words[i]);
}

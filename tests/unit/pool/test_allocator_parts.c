// SPDX-License-Identifier: GPL-2.0-or-later
/* The allocator's parts on their own, at random against arrays: sets of 512 bits, the tree over wholly free chunks. */
#include <glib.h>
#include <string.h>

#include "pool/allocator_bits.h"
#include "unit/pool/allocator_check.h"

#define MAX_CHUNKS 3000

static unsigned below(unsigned end)
{
	return (unsigned)g_test_rand_int_range(0, (gint32)end);
}

/* The length of the run in @array from @at on. */
static unsigned run_at(const bool *array, unsigned size, unsigned at)
{
	unsigned end = at;

	while (end < size && array[end])
		end++;
	return end - at;
}

/* The leftmost of the shortest runs in @array that hold @count; of the longest ones for @count 0. */
static struct bits_run best_run(const bool *array, unsigned count)
{
	struct bits_run best = { 0, 0 };

	for (unsigned at = 0, length; at < BITS; at += length + 1) {
		length = run_at(array, BITS, at);
		if (count == 0 ? length > best.length : length >= count && (!best.length || length < best.length))
			best = (struct bits_run){ .start = at, .length = length };
	}
	return best;
}

static void assert_runs_equal(struct bits_run got, struct bits_run expected)
{
	g_assert_cmpuint(got.length, ==, expected.length);
	if (got.length)
		g_assert_cmpuint(got.start, ==, expected.start);
}

static void assert_bits_equal(const struct bits *bits, const bool *array)
{
	unsigned count = 0;
	unsigned last = BITS;

	for (unsigned i = 0; i < BITS; i++) {
		g_assert_true(bits_test(bits, i) == array[i]);
		g_assert_cmpuint(bits_run_at(bits, i), ==, run_at(array, BITS, i));
		count += array[i];
		last = array[i] ? i : last;
	}
	g_assert_cmpuint(bits_count(bits), ==, count);
	g_assert_true(bits_empty(bits) == (count == 0));
	g_assert_true(bits_full(bits) == (count == BITS));
	if (count)
		g_assert_cmpuint(bits_last(bits), ==, last);
	assert_runs_equal(bits_longest(bits), best_run(array, 0));
	for (unsigned length = 1; length < BITS; length += 1 + below(40))
		assert_runs_equal(bits_fit(bits, length), best_run(array, length));
}

static void bits_match_an_array(void)
{
	struct bits bits = { 0 };
	bool array[BITS] = { false };

	for (unsigned step = 0; step < 2000; step++) {
		unsigned from = below(BITS);
		/* Mostly short ranges, so that there are many runs. */
		unsigned count = below(BITS - from + 1) >> below(9);
		bool value = g_test_rand_bit();

		bits_assign(&bits, from, count, value);
		for (unsigned i = from; i < from + count; i++)
			array[i] = value;
		g_assert_true(bits_are(&bits, from, count, value));
		g_assert_true(count == 0 || !bits_are(&bits, from, count, !value));
		assert_bits_equal(&bits, array);
	}
	bits_assign(&bits, 0, BITS, true);
	memset(array, true, sizeof(array));
	assert_bits_equal(&bits, array);
}

static uint32_t leftmost(const bool *array, unsigned size, unsigned count)
{
	for (unsigned at = 0, length; at < size; at += length + 1) {
		length = run_at(array, size, at);
		if (length >= count)
			return at;
	}
	return CHUNKS_NONE;
}

static void assert_chunks_equal(const struct chunks *chunks, const bool *array)
{
	unsigned longest = 0;
	unsigned free = 0;
	uint32_t last = CHUNKS_NONE;

	for (unsigned at = 0; at < chunks->count; at++) {
		unsigned length = run_at(array, chunks->count, at);

		longest = MAX(longest, length);
		free += array[at];
		last = array[at] ? at : last;
		g_assert_true(chunks_test(chunks, at) == array[at]);
	}
	g_assert_cmpuint(chunks->free, ==, free);
	g_assert_cmpuint(chunks_longest(chunks), ==, longest);
	g_assert_cmpuint(chunks_last(chunks), ==, last);
	g_assert_cmpuint(chunks_find(chunks, longest + 1), ==, CHUNKS_NONE);
	for (unsigned count = 1; count <= longest; count += 1 + below(longest))
		g_assert_cmpuint(chunks_find(chunks, count), ==, leftmost(array, chunks->count, count));
	for (unsigned i = 0; i < 10; i++) {
		unsigned at = below(chunks->count);
		unsigned max = below(chunks->count + 1);

		g_assert_cmpuint(chunks_run_at(chunks, at, max), ==, MIN(max, run_at(array, chunks->count, at)));
	}
	g_assert_true(chunks_check(chunks));
}

/* The longest range from @from on that is all in one state. */
static unsigned same_state(const bool *array, unsigned size, unsigned from)
{
	unsigned end = from;

	while (end < size && array[end] == array[from])
		end++;
	return end - from;
}

static void chunks_match_an_array(void)
{
	static const unsigned sizes[] = { 1, 2, 63, 64, 65, 128, 129, 1000, MAX_CHUNKS };

	for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++) {
		struct chunks chunks;
		bool array[MAX_CHUNKS] = { false };

		chunks_init(&chunks, sizes[i]);
		for (unsigned step = 0; step < 500; step++) {
			unsigned from = below(sizes[i]);
			unsigned count = 1 + below(same_state(array, sizes[i], from));
			bool free = !array[from];

			chunks_assign(&chunks, from, count, free);
			memset(&array[from], free, count);
			assert_chunks_equal(&chunks, array);
		}
		chunks_clear(&chunks);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/allocator/bits", bits_match_an_array);
	g_test_add_func("/allocator/chunks", chunks_match_an_array);
	return g_test_run();
}

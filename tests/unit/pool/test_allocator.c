// SPDX-License-Identifier: GPL-2.0-or-later
/* The allocator: what it refuses, where it places, what it merges. Every test ends with allocator_check(). */
#include <errno.h>
#include <glib.h>

#include "unit/pool/allocator_check.h"

#define K(n) ((uint64_t)(n) << 10)
#define M(n) ((uint64_t)(n) << 20)
#define G(n) ((uint64_t)(n) << 30)

/* Checks what is left of it before it goes. */
static void checked_destroy(struct allocator *alloc)
{
	g_autofree char *reason = NULL;

	if (!allocator_check(alloc, &reason))
		g_error("%s", reason);
	allocator_destroy(alloc);
}

typedef struct allocator checked_allocator;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(checked_allocator, checked_destroy)

static struct allocator *with_region(uint64_t start, uint64_t length)
{
	struct allocator *alloc = allocator_new();

	g_assert_cmpint(allocator_add_region(alloc, start, length), ==, 0);
	return alloc;
}

static void append_size(GString *text, uint64_t bytes)
{
	static const struct {
		uint64_t unit;
		char suffix;
	} sizes[] = { { G(1), 'G' }, { M(1), 'M' }, { K(1), 'K' } };
	guint i = 0;

	while (bytes % sizes[i].unit)
		i++;
	g_string_append_printf(text, "%" G_GUINT64_FORMAT "%c", bytes / sizes[i].unit, sizes[i].suffix);
}

/* "1G+2M": 2 MiB at 1 GiB. Runs are separated by blanks. */
static void append_run(GString *text, struct extent run)
{
	if (text->len)
		g_string_append_c(text, ' ');
	append_size(text, run.start);
	g_string_append_c(text, '+');
	append_size(text, run.length);
}

static char *request(struct allocator *alloc, struct allocator_request req)
{
	g_autoptr(GArray) out = g_array_new(FALSE, FALSE, sizeof(struct extent));
	GString *text = g_string_new(NULL);
	int err = allocator_alloc(alloc, &req, out);

	if (err)
		g_string_printf(text, "%s", err == -ENOSPC ? "ENOSPC" : err == -EINVAL ? "EINVAL" : "?");
	g_assert_true(!err || out->len == 0);
	for (guint i = 0; i < out->len; i++)
		append_run(text, g_array_index(out, struct extent, i));
	return g_string_free(text, FALSE);
}

/* @expected: the runs as append_run() writes them, or the name of the error. */
static void assert_request(struct allocator *alloc, uint64_t length, uint64_t unit, uint64_t file_offset, uint64_t hint,
                           uint64_t regions, const char *expected)
{
	g_autofree char *got = request(alloc, (struct allocator_request){ length, unit, file_offset, hint, regions });

	g_assert_cmpstr(got, ==, expected);
}

static void assert_serves(struct allocator *alloc, uint64_t length, uint64_t unit, uint64_t file_offset,
                          const char *expected)
{
	assert_request(alloc, length, unit, file_offset, ALLOCATOR_NO_HINT, ALLOCATOR_ANY_REGION, expected);
}

static void assert_continues(struct allocator *alloc, uint64_t length, uint64_t unit, uint64_t file_offset,
                             uint64_t hint, const char *expected)
{
	assert_request(alloc, length, unit, file_offset, hint, ALLOCATOR_ANY_REGION, expected);
}

static void visit_free(int region, uint64_t start, uint64_t length, void *data)
{
	(void)region;
	append_run(data, (struct extent){ .start = start, .length = length });
}

static void assert_free_runs(const struct allocator *alloc, const char *expected)
{
	g_autoptr(GString) text = g_string_new(NULL);

	allocator_foreach_free(alloc, visit_free, text);
	g_assert_cmpstr(text->str, ==, expected);
}

static void assert_available(const struct allocator *alloc, uint64_t pages, uint64_t blocks, uint64_t chunks)
{
	struct allocator_stats stats;

	allocator_get_stats(alloc, &stats);
	g_assert_cmpuint(allocator_available(alloc, DMEMFS_PAGE_4K, ALLOCATOR_ANY_REGION), ==, pages);
	g_assert_cmpuint(allocator_available(alloc, DMEMFS_PAGE_2M, ALLOCATOR_ANY_REGION), ==, blocks);
	g_assert_cmpuint(allocator_available(alloc, DMEMFS_PAGE_1G, ALLOCATOR_ANY_REGION), ==, chunks);
	g_assert_cmpuint(stats.free, ==, pages);
	g_assert_cmpuint(stats.free_2m, ==, blocks);
	g_assert_cmpuint(stats.free_1g, ==, chunks);
}

static void regions_are_judged(void)
{
	g_autoptr(checked_allocator) alloc = allocator_new();

	g_assert_cmpint(allocator_add_region(alloc, G(4) + 1, G(1)), ==, -EINVAL);
	g_assert_cmpint(allocator_add_region(alloc, G(4), K(4) + 512), ==, -EINVAL);
	g_assert_cmpint(allocator_add_region(alloc, G(4), 0), ==, -EINVAL);
	g_assert_cmpint(allocator_add_region(alloc, ALLOCATOR_ADDRESS_END - K(4), K(8)), ==, -EINVAL);
	g_assert_cmpint(allocator_add_region(alloc, G(4), UINT64_MAX - K(4) + 1), ==, -EINVAL);
	g_assert_cmpint(allocator_add_region(alloc, ALLOCATOR_ADDRESS_END, K(4)), ==, -EINVAL);

	g_assert_cmpint(allocator_add_region(alloc, G(4), G(2)), ==, 0);
	g_assert_cmpint(allocator_add_region(alloc, G(4), G(2)), ==, -EEXIST);
	g_assert_cmpint(allocator_add_region(alloc, G(5), K(4)), ==, -EEXIST);
	g_assert_cmpint(allocator_add_region(alloc, G(3), G(8)), ==, -EEXIST);
	g_assert_cmpint(allocator_add_region(alloc, G(6) - K(4), K(8)), ==, -EEXIST);
	g_assert_cmpint(allocator_add_region(alloc, G(6), K(4)), ==, 1);
	g_assert_cmpint(allocator_add_region(alloc, G(4) - K(4), K(4)), ==, 2);
	g_assert_cmpint(allocator_add_region(alloc, ALLOCATOR_ADDRESS_END - K(4), K(4)), ==, 3);
	assert_available(alloc, G(2) + K(12), G(2), G(2));

	for (int i = 4; i < DMEMFS_MAX_REGIONS; i++)
		g_assert_cmpint(allocator_add_region(alloc, G(10 + i), K(4)), ==, i);
	g_assert_cmpint(allocator_add_region(alloc, G(200), K(4)), ==, -ENOSPC);
	allocator_destroy(NULL);
}

static void requests_are_judged(void)
{
	g_autoptr(checked_allocator) alloc = with_region(0, G(4));

	assert_serves(alloc, 0, K(4), 0, "EINVAL");
	assert_serves(alloc, K(4) + 1, K(4), 0, "EINVAL");
	assert_serves(alloc, K(4), M(2), 0, "EINVAL");
	assert_serves(alloc, M(2), M(2), K(4), "EINVAL");
	assert_serves(alloc, M(8), M(4), 0, "EINVAL");
	assert_serves(alloc, M(2), 0, 0, "EINVAL");
	assert_serves(alloc, M(4), M(2), UINT64_MAX - M(2) + 1, "EINVAL");
	assert_serves(alloc, UINT64_MAX - M(2) + 1, M(2), 0, "ENOSPC");
	assert_request(alloc, M(2), M(2), 0, ALLOCATOR_NO_HINT, 0, "ENOSPC");
	assert_request(alloc, M(2), M(2), 0, ALLOCATOR_NO_HINT, 2, "ENOSPC");
	assert_available(alloc, G(4), G(4), G(4));
}

static void an_empty_allocator_has_nothing(void)
{
	g_autoptr(checked_allocator) alloc = allocator_new();

	assert_available(alloc, 0, 0, 0);
	assert_serves(alloc, K(4), K(4), 0, "ENOSPC");
	g_assert_cmpint(allocator_free(alloc, 0, K(4)), ==, -EINVAL);
	g_assert_cmpint(allocator_claim(alloc, 0, K(4)), ==, -EINVAL);
	assert_free_runs(alloc, "");
}

/* Gigabytes from the bottom in one run, small things from the chunk at the top. */
static void large_from_the_bottom_small_from_the_top(void)
{
	g_autoptr(checked_allocator) alloc = with_region(G(16), G(8));

	assert_serves(alloc, G(2), M(2), 0, "16G+2G");
	assert_serves(alloc, M(2), M(2), 0, "23G+2M");
	assert_serves(alloc, G(1), K(4), 0, "18G+1G");
	assert_serves(alloc, K(4), K(4), 0, "23554M+4K");
	assert_serves(alloc, G(1), G(1), 0, "19G+1G");
	assert_available(alloc, G(4) - M(2) - K(4), G(4) - M(4), G(3));
}

static void whole_gigabytes_of_a_file_are_aligned(void)
{
	g_autoptr(checked_allocator) alloc = with_region(0, G(16));

	/* Head of 512M, 2G that large pages can map, tail of 256M: the ends share a broken chunk. */
	assert_serves(alloc, G(2) + M(768), M(2), M(512), "15G+512M 0G+2G 15872M+256M");
	/* No whole gigabyte of the file in it: what the broken chunk has left, then one run. */
	assert_serves(alloc, M(768), M(2), M(768), "16128M+256M 14G+512M");
	/* The same, too long for one chunk. */
	assert_serves(alloc, M(1276), M(2), M(4), "14848M+512M 13G+764M");
}

static void two_mebibytes_of_a_file_are_aligned(void)
{
	g_autoptr(checked_allocator) alloc = with_region(0, G(2));

	/* With 4K units too: a head of 4K, 4M that large pages can map, a tail of 8K. */
	assert_serves(alloc, M(4) + K(12), K(4), M(2) - K(4), "1028M+4K 1G+4M 1052676K+8K");
	/* Short of a whole aligned 2M: behind the others, where it fits best. */
	assert_serves(alloc, M(1), K(4), M(1), "1052684K+1M");
	assert_serves(alloc, K(1536), K(4), M(1) - K(512), "1030M+1536K");
}

static void the_smallest_run_that_fits_serves(void)
{
	g_autoptr(checked_allocator) alloc = with_region(0, G(8));

	/* Holes of 20, 6, 10 and 8 MiB in four chunks. */
	g_assert_cmpint(allocator_claim(alloc, 0, G(4)), ==, 0);
	g_assert_cmpint(allocator_free(alloc, M(100), M(20)), ==, 0);
	g_assert_cmpint(allocator_free(alloc, M(1200), M(6)), ==, 0);
	g_assert_cmpint(allocator_free(alloc, M(2200), M(10)), ==, 0);
	g_assert_cmpint(allocator_free(alloc, M(3200), M(8)), ==, 0);

	assert_serves(alloc, M(8), M(2), 0, "3200M+8M");
	assert_serves(alloc, M(8), M(2), 0, "2200M+8M");
	assert_serves(alloc, M(8), M(2), 0, "100M+8M");
	assert_serves(alloc, M(2), M(2), 0, "2208M+2M");
	/* None holds it whole: two pieces rather than an untouched chunk. */
	assert_serves(alloc, M(14), M(2), 0, "108M+12M 1200M+2M");
	/* But not crumbs. */
	assert_serves(alloc, M(34), M(2), 0, "7G+34M");
}

static void the_smallest_run_in_its_chunk_serves(void)
{
	g_autoptr(checked_allocator) alloc = with_region(0, G(1));

	g_assert_cmpint(allocator_claim(alloc, 0, G(1)), ==, 0);
	g_assert_cmpint(allocator_free(alloc, M(100), M(20)), ==, 0);
	g_assert_cmpint(allocator_free(alloc, M(200), M(4)), ==, 0);
	g_assert_cmpint(allocator_free(alloc, M(300), M(4)), ==, 0);
	assert_serves(alloc, M(4), M(2), 0, "200M+4M");
	assert_serves(alloc, M(2), M(2), 0, "300M+2M");
}

static void pages_prefer_broken_blocks(void)
{
	g_autoptr(checked_allocator) alloc = with_region(0, G(4));

	assert_serves(alloc, K(4), K(4), 0, "3G+4K");
	assert_serves(alloc, M(2), M(2), 0, "3074M+2M");
	assert_serves(alloc, M(1), K(4), 0, "3145732K+1M");
	/* No longer fits in the broken block: a free block of the broken chunk, not another chunk. */
	assert_serves(alloc, M(1), K(4), 0, "3076M+1M");
	assert_available(alloc, G(4) - M(4) - K(4), G(4) - M(6), G(3));
}

static void without_one_run_the_longest_come_first(void)
{
	g_autoptr(checked_allocator) alloc = with_region(0, G(4));

	g_assert_cmpint(allocator_claim(alloc, G(1), G(1)), ==, 0);
	/* 1 GiB, then 2 GiB free: leftmost that fits, then the longest first. */
	assert_serves(alloc, G(3), G(1), 0, "2G+2G 0G+1G");
	g_assert_cmpint(allocator_free(alloc, M(64), M(6)), ==, 0);
	g_assert_cmpint(allocator_free(alloc, M(2100), M(10)), ==, 0);
	g_assert_cmpint(allocator_free(alloc, M(2200), M(4)), ==, 0);
	assert_serves(alloc, M(22), M(2), 0, "ENOSPC");
	assert_serves(alloc, M(20), M(2), 0, "2100M+10M 64M+6M 2200M+4M");
	assert_available(alloc, 0, 0, 0);
}

static void gigabytes_fall_back_to_blocks_and_pages(void)
{
	g_autoptr(checked_allocator) alloc = with_region(K(4), G(3));

	/* 1G..3G are chunks; 0..1G lacks its first page, 3G..4G has one page. */
	assert_available(alloc, G(3), G(3) - M(2), G(2));
	assert_serves(alloc, G(3), G(1), 0, "ENOSPC");
	assert_serves(alloc, G(3), M(2), 0, "ENOSPC");
	assert_serves(alloc, G(3), K(4), 0, "1G+2G 2M+1022M 4K+2044K 3G+4K");
	assert_available(alloc, 0, 0, 0);
	assert_serves(alloc, K(4), K(4), 0, "ENOSPC");
	g_assert_cmpint(allocator_free(alloc, K(4), G(3)), ==, 0);
	assert_available(alloc, G(3), G(3) - M(2), G(2));
	assert_free_runs(alloc, "4K+3G");
}

static void a_file_that_grows_stays_in_one_run(void)
{
	g_autoptr(checked_allocator) alloc = with_region(0, G(4));
	g_autoptr(GArray) out = g_array_new(FALSE, FALSE, sizeof(struct extent));
	struct allocator_request req = {
		.length = K(4),
		.unit = K(4),
		.hint = ALLOCATOR_NO_HINT,
		.regions = ALLOCATOR_ANY_REGION,
	};

	for (guint i = 0; i < 2048; i++) {
		g_assert_cmpint(allocator_alloc(alloc, &req, out), ==, 0);
		g_assert_cmpuint(out->len, ==, i + 1);
		g_assert_cmpuint(g_array_index(out, struct extent, i).start, ==, G(3) + i * K(4));
		req.file_offset += K(4);
		req.hint = G(3) + req.file_offset;
	}
}

static void congruent_hints_are_followed_into_free_chunks(void)
{
	g_autoptr(checked_allocator) alloc = with_region(0, G(8));

	assert_serves(alloc, G(1), M(2), 0, "0G+1G");
	assert_continues(alloc, G(3), M(2), G(1), G(1), "1G+3G");
	assert_continues(alloc, M(2), M(2), G(4), G(4), "4G+2M");
	/* As far as it goes, then elsewhere. */
	g_assert_cmpint(allocator_claim(alloc, G(5), M(2)), ==, 0);
	assert_continues(alloc, G(2) - M(2), M(2), G(4) + M(2), G(4) + M(2), "4098M+1022M 6G+1G");
}

static void hints_do_not_cost_large_pages(void)
{
	g_autoptr(checked_allocator) alloc = with_region(0, G(8));

	/* The file is 2M ahead of the memory: only the head of its next gigabyte goes on there, not the gigabyte. */
	g_assert_cmpint(allocator_claim(alloc, 0, M(510)), ==, 0);
	assert_continues(alloc, G(2) + M(512), M(2), M(512), M(510), "510M+512M 1G+2G");
	g_assert_cmpint(allocator_claim(alloc, G(3), M(100)), ==, 0);
	assert_continues(alloc, G(1) + M(412), M(2), M(612), G(3) + M(100), "3172M+412M 4G+1G");
}

static void incongruent_hints_do_not_break_free_memory(void)
{
	g_autoptr(checked_allocator) alloc = with_region(0, G(4));

	g_assert_cmpint(allocator_claim(alloc, G(3), M(2)), ==, 0);
	g_assert_cmpint(allocator_claim(alloc, 0, G(1)), ==, 0);
	/* Chunk 1 is untouched and would hold the file at the wrong place: rather the rest of chunk 3. */
	assert_continues(alloc, M(4), M(2), M(4), G(1), "3074M+4M");
	/* The same for an untouched block. */
	assert_serves(alloc, K(4), K(4), 0, "3078M+4K");
	assert_continues(alloc, K(4), K(4), K(4), G(3) + M(8), "3151876K+4K");
	/* Nor do 2M of the file continue a run that is 4K off. */
	assert_continues(alloc, M(3) - K(4), K(4), M(1) + K(4), G(3) + M(6) + K(8), "3151880K+1020K 3080M+2M");
}

static void useless_hints_are_ignored(void)
{
	g_autoptr(checked_allocator) alloc = with_region(G(4), G(4));

	assert_continues(alloc, M(2), M(2), 0, 0, "7G+2M");
	assert_continues(alloc, M(2), M(2), 0, G(8), "7170M+2M");
	assert_continues(alloc, M(2), M(2), 0, G(7), "7172M+2M");
	assert_continues(alloc, M(2), M(2), 0, G(7) + M(16) + K(4), "7174M+2M");
	assert_continues(alloc, M(2), M(2), 0, G(7) + M(16) + 1, "7176M+2M");
}

static void freeing_merges(void)
{
	g_autoptr(checked_allocator) alloc = with_region(0, G(4));

	g_assert_cmpint(allocator_claim(alloc, 0, G(4)), ==, 0);
	assert_free_runs(alloc, "");
	g_assert_cmpint(allocator_free(alloc, G(1) + K(4), K(4)), ==, 0);
	g_assert_cmpint(allocator_free(alloc, G(1) + K(12), K(4)), ==, 0);
	assert_free_runs(alloc, "1048580K+4K 1048588K+4K");
	g_assert_cmpint(allocator_free(alloc, G(1) + K(8), K(4)), ==, 0);
	assert_free_runs(alloc, "1048580K+12K");
	g_assert_cmpint(allocator_free(alloc, G(1), K(4)), ==, 0);
	g_assert_cmpint(allocator_free(alloc, G(1) + K(16), M(2) - K(16)), ==, 0);
	assert_free_runs(alloc, "1G+2M");
	assert_available(alloc, M(2), M(2), 0);
	g_assert_cmpint(allocator_free(alloc, G(1) + M(2), G(2) - M(2)), ==, 0);
	assert_free_runs(alloc, "1G+2G");
	assert_available(alloc, G(2), G(2), G(2));
	g_assert_cmpint(allocator_free(alloc, G(3), G(1)), ==, 0);
	g_assert_cmpint(allocator_free(alloc, 0, G(1)), ==, 0);
	assert_free_runs(alloc, "0G+4G");
}

static void double_free_is_refused(void)
{
	g_autoptr(checked_allocator) alloc = with_region(G(1), G(4));

	assert_serves(alloc, G(3), M(2), 0, "1G+3G");
	g_assert_cmpint(allocator_free(alloc, G(3) + M(4), K(4)), ==, 0);
	g_assert_cmpint(allocator_free(alloc, G(3) + M(4), K(4)), ==, -EINVAL);
	/* Nothing of a range that is partly free. */
	g_assert_cmpint(allocator_free(alloc, G(1), G(3)), ==, -EINVAL);
	g_assert_cmpint(allocator_free(alloc, G(3) + M(2), M(4)), ==, -EINVAL);
	g_assert_cmpint(allocator_free(alloc, G(3) + M(4) - K(4), K(8)), ==, -EINVAL);
	g_assert_cmpint(allocator_free(alloc, G(4), G(1)), ==, -EINVAL);
	g_assert_cmpint(allocator_free(alloc, G(4) - K(4), K(8)), ==, -EINVAL);
	/* Nor what is outside, or no range. */
	g_assert_cmpint(allocator_free(alloc, 0, K(4)), ==, -EINVAL);
	g_assert_cmpint(allocator_free(alloc, G(1) - K(4), K(8)), ==, -EINVAL);
	g_assert_cmpint(allocator_free(alloc, G(5), K(4)), ==, -EINVAL);
	g_assert_cmpint(allocator_free(alloc, G(1), 0), ==, -EINVAL);
	g_assert_cmpint(allocator_free(alloc, G(1) + 1, K(4)), ==, -EINVAL);
	g_assert_cmpint(allocator_free(alloc, G(1), UINT64_MAX - K(4) + 1), ==, -EINVAL);
	assert_free_runs(alloc, "3076M+4K 4G+1G");
}

static void claims_are_exact(void)
{
	g_autoptr(checked_allocator) alloc = with_region(G(1), G(4));

	g_assert_cmpint(allocator_claim(alloc, G(1) + K(4), G(2)), ==, 0);
	assert_free_runs(alloc, "1G+4K 3145732K+2097148K");
	g_assert_cmpint(allocator_claim(alloc, G(1), K(8)), ==, -EBUSY);
	g_assert_cmpint(allocator_claim(alloc, G(1), G(4)), ==, -EBUSY);
	g_assert_cmpint(allocator_claim(alloc, G(3), K(4)), ==, -EBUSY);
	g_assert_cmpint(allocator_claim(alloc, G(5) - K(4), K(8)), ==, -EINVAL);
	g_assert_cmpint(allocator_claim(alloc, G(1), K(4) + 1), ==, -EINVAL);
	g_assert_cmpint(allocator_claim(alloc, G(1) + 1, K(4)), ==, -EINVAL);
	g_assert_cmpint(allocator_claim(alloc, G(1), 0), ==, -EINVAL);
	/* What is busy is told only of a range that exists. */
	g_assert_cmpint(allocator_claim(alloc, G(3), G(4)), ==, -EINVAL);
	g_assert_cmpint(allocator_claim(alloc, G(1), K(4)), ==, 0);
	assert_free_runs(alloc, "3145732K+2097148K");
}

static void odd_edges_are_used_to_the_byte(void)
{
	g_autoptr(checked_allocator) alloc = with_region(G(1) - K(12), G(1) + M(2) + K(20));

	/* 12K below a chunk, the chunk, 2M + 8K above it. */
	assert_available(alloc, G(1) + M(2) + K(20), G(1) + M(2), G(1));
	assert_serves(alloc, K(12), K(4), 0, "1048564K+12K");
	assert_serves(alloc, M(2), M(2), 0, "2G+2M");
	assert_serves(alloc, G(1), G(1), 0, "1G+1G");
	assert_free_runs(alloc, "2050M+8K");
	assert_serves(alloc, K(8), K(4), 0, "2050M+8K");
	assert_available(alloc, 0, 0, 0);
}

static void a_region_inside_one_block_works(void)
{
	g_autoptr(checked_allocator) alloc = with_region(G(1) + K(16), K(12));

	assert_available(alloc, K(12), 0, 0);
	assert_serves(alloc, K(12), K(4), 0, "1048592K+12K");
	g_assert_cmpint(allocator_free(alloc, G(1) + K(20), K(4)), ==, 0);
	assert_continues(alloc, K(4), K(4), 0, G(1) + K(20), "1048596K+4K");
}

static void one_region_serves_before_several(void)
{
	g_autoptr(checked_allocator) alloc = allocator_new();

	g_assert_cmpint(allocator_add_region(alloc, G(10), G(2)), ==, 0);
	g_assert_cmpint(allocator_add_region(alloc, G(20), G(4)), ==, 1);
	g_assert_cmpint(allocator_add_region(alloc, G(30), G(3)), ==, 2);
	assert_serves(alloc, G(3), M(2), 0, "20G+3G");
	assert_serves(alloc, G(1), M(2), 0, "10G+1G");
	assert_request(alloc, G(1), M(2), 0, ALLOCATOR_NO_HINT, 1 << 2, "30G+1G");
	g_assert_cmpuint(allocator_available(alloc, DMEMFS_PAGE_1G, 1 << 0 | 1 << 2), ==, G(3));
	assert_request(alloc, G(4), M(2), 0, ALLOCATOR_NO_HINT, 1 << 0 | 1 << 2, "ENOSPC");
	/* None holds it: as much as there is from each in turn. */
	assert_serves(alloc, G(3), M(2), 0, "11G+1G 23G+1G 31G+1G");
	/* A hint into a region that may not serve is none. */
	g_assert_cmpint(allocator_free(alloc, G(10), G(1)), ==, 0);
	assert_request(alloc, M(2), M(2), 0, G(10), 1 << 2, "32G+2M");
}

/* Runs of neighbours are two runs, but a file that has both may give them back as one. */
static void regions_that_touch_stay_apart(void)
{
	g_autoptr(checked_allocator) alloc = allocator_new();

	g_assert_cmpint(allocator_add_region(alloc, G(1), G(1) + M(512)), ==, 0);
	g_assert_cmpint(allocator_add_region(alloc, G(2) + M(512), G(1) + M(512)), ==, 1);
	assert_serves(alloc, G(3), M(2), 0, "1G+1536M 2560M+1536M");
	g_assert_cmpint(allocator_free(alloc, G(1) + M(2), G(2)), ==, 0);
	assert_free_runs(alloc, "1026M+1534M 2560M+514M");
	g_assert_cmpint(allocator_claim(alloc, G(1), G(2)), ==, -EBUSY);
	g_assert_cmpint(allocator_claim(alloc, G(2), G(1)), ==, 0);
	assert_free_runs(alloc, "1026M+1022M 3G+2M");
	g_assert_cmpint(allocator_free(alloc, G(1), M(2)), ==, 0);
	g_assert_cmpint(allocator_free(alloc, G(2), G(3)), ==, -EINVAL);
}

static void runs_of_other_requests_are_left_alone(void)
{
	g_autoptr(checked_allocator) alloc = with_region(0, G(4));
	g_autoptr(GArray) out = g_array_new(FALSE, FALSE, sizeof(struct extent));
	struct allocator_request req = {
		.length = M(2),
		.unit = M(2),
		.hint = ALLOCATOR_NO_HINT,
		.regions = ALLOCATOR_ANY_REGION,
	};

	g_assert_cmpint(allocator_alloc(alloc, &req, out), ==, 0);
	req.file_offset = M(2);
	g_assert_cmpint(allocator_alloc(alloc, &req, out), ==, 0);
	req.length = G(8);
	g_assert_cmpint(allocator_alloc(alloc, &req, out), ==, -ENOSPC);
	/* They continue each other, and yet the caller gets what it asked for, run by run. */
	g_assert_cmpuint(out->len, ==, 2);
	g_assert_cmpuint(g_array_index(out, struct extent, 0).start, ==, G(3));
	g_assert_cmpuint(g_array_index(out, struct extent, 1).start, ==, G(3) + M(2));
}

static void many_chunks(void)
{
	g_autoptr(checked_allocator) alloc = with_region(G(1), G(16384));

	/* Every 100th chunk used: runs of 99 across the words and the levels of the tree. */
	for (uint64_t chunk = 100; chunk < 16384; chunk += 100)
		g_assert_cmpint(allocator_claim(alloc, G(1 + chunk), K(4)), ==, 0);
	assert_serves(alloc, G(100), G(1), 0, "1G+100G");
	assert_serves(alloc, G(99), G(1), 0, "102G+99G");
	assert_continues(alloc, G(182), G(1), G(5), G(16302), "16302G+83G 202G+99G");
	for (uint64_t chunk = 100; chunk < 16384; chunk += 100)
		g_assert_cmpint(allocator_free(alloc, G(1 + chunk), K(4)), ==, 0);
	assert_serves(alloc, G(16000), G(1), 0, "301G+16000G");
	assert_free_runs(alloc, "101G+1G 201G+1G 16301G+1G");
}

static void memory_is_told(void)
{
	g_autoptr(checked_allocator) alloc = with_region(0, G(16384));
	struct allocator_stats stats;

	allocator_get_stats(alloc, &stats);
	g_assert_cmpuint(stats.capacity, ==, G(16384));
	/* 4 bytes per chunk and little else while nothing is partly used. */
	g_assert_cmpuint(allocator_memory(alloc), >=, 16384 * 4);
	g_assert_cmpuint(allocator_memory(alloc), <, 16384 * 6);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/allocator/regions", regions_are_judged);
	g_test_add_func("/allocator/requests", requests_are_judged);
	g_test_add_func("/allocator/empty", an_empty_allocator_has_nothing);
	g_test_add_func("/allocator/bottom-and-top", large_from_the_bottom_small_from_the_top);
	g_test_add_func("/allocator/congruent-1g", whole_gigabytes_of_a_file_are_aligned);
	g_test_add_func("/allocator/congruent-2m", two_mebibytes_of_a_file_are_aligned);
	g_test_add_func("/allocator/best-fit", the_smallest_run_that_fits_serves);
	g_test_add_func("/allocator/best-fit-in-chunk", the_smallest_run_in_its_chunk_serves);
	g_test_add_func("/allocator/broken-blocks-first", pages_prefer_broken_blocks);
	g_test_add_func("/allocator/longest-first", without_one_run_the_longest_come_first);
	g_test_add_func("/allocator/fall-back", gigabytes_fall_back_to_blocks_and_pages);
	g_test_add_func("/allocator/grow", a_file_that_grows_stays_in_one_run);
	g_test_add_func("/allocator/hint/congruent", congruent_hints_are_followed_into_free_chunks);
	g_test_add_func("/allocator/hint/large-pages", hints_do_not_cost_large_pages);
	g_test_add_func("/allocator/hint/incongruent", incongruent_hints_do_not_break_free_memory);
	g_test_add_func("/allocator/hint/useless", useless_hints_are_ignored);
	g_test_add_func("/allocator/free/merge", freeing_merges);
	g_test_add_func("/allocator/free/double", double_free_is_refused);
	g_test_add_func("/allocator/claim", claims_are_exact);
	g_test_add_func("/allocator/edges", odd_edges_are_used_to_the_byte);
	g_test_add_func("/allocator/tiny", a_region_inside_one_block_works);
	g_test_add_func("/allocator/regions/mask", one_region_serves_before_several);
	g_test_add_func("/allocator/regions/touching", regions_that_touch_stay_apart);
	g_test_add_func("/allocator/append", runs_of_other_requests_are_left_alone);
	g_test_add_func("/allocator/many-chunks", many_chunks);
	g_test_add_func("/allocator/memory", memory_is_told);
	return g_test_run();
}

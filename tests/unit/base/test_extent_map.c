// SPDX-License-Identifier: GPL-2.0-or-later
/* The runs of one file: merging, cutting, gaps, and a random walk against an array of pages. */
#include <glib.h>
#include <string.h>

#include "base/extent_map.h"

#define PAGE DMEMFS_PAGE_4K

typedef struct extent_map extent_map_t;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(extent_map_t, extent_map_destroy)

/* All arguments are in pages. */
static void insert(struct extent_map *map, uint64_t offset, uint64_t start, uint64_t length)
{
	extent_map_insert(map, offset * PAGE, (struct extent){ .start = start * PAGE, .length = length * PAGE });
}

/* Removes a range, and returns the removed runs as "start+length start+length", in pages. */
static char *take(struct extent_map *map, uint64_t offset, uint64_t length)
{
	g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof(struct extent));
	GString *text = g_string_new(NULL);

	extent_map_remove(map, offset * PAGE, length == UINT64_MAX ? length : length * PAGE, runs);
	for (guint i = 0; i < runs->len; i++) {
		const struct extent *run = &g_array_index(runs, struct extent, i);

		g_string_append_printf(text, "%s%" G_GUINT64_FORMAT "+%" G_GUINT64_FORMAT, i ? " " : "",
		                       run->start / PAGE, run->length / PAGE);
	}
	return g_string_free(text, FALSE);
}

static void assert_taken(struct extent_map *map, uint64_t offset, uint64_t length, const char *expected)
{
	g_autofree char *text = take(map, offset, length);

	g_assert_cmpstr(text, ==, expected);
}

/* @expected: "offset:start+length ..." in pages. Also compares bytes and end of the map with its runs. */
static void assert_map(const struct extent_map *map, const char *expected)
{
	g_autoptr(GString) text = g_string_new(NULL);
	struct extent_map_run run;
	uint64_t bytes = 0;
	uint64_t at = 0;
	guint count = 0;

	for (; extent_map_lookup(map, at, &run); at = run.offset + run.extent.length) {
		g_string_append_printf(text, "%s%" G_GUINT64_FORMAT ":%" G_GUINT64_FORMAT "+%" G_GUINT64_FORMAT,
		                       count ? " " : "", run.offset / PAGE, run.extent.start / PAGE,
		                       run.extent.length / PAGE);
		bytes += run.extent.length;
		count++;
	}
	g_assert_cmpstr(text->str, ==, expected);
	g_assert_cmpuint(extent_map_bytes(map), ==, bytes);
	g_assert_cmpuint(extent_map_end(map), ==, at);
}

static void assert_gaps(const struct extent_map *map, uint64_t from, uint64_t to, const char *expected)
{
	g_autoptr(GArray) gaps = g_array_new(FALSE, FALSE, sizeof(struct extent_gap));
	g_autoptr(GString) text = g_string_new(NULL);

	extent_map_gaps(map, from * PAGE, to * PAGE, gaps);
	for (guint i = 0; i < gaps->len; i++) {
		const struct extent_gap *gap = &g_array_index(gaps, struct extent_gap, i);

		g_string_append_printf(text, "%s%" G_GUINT64_FORMAT "+%" G_GUINT64_FORMAT, i ? " " : "",
		                       gap->offset / PAGE, gap->length / PAGE);
	}
	g_assert_cmpstr(text->str, ==, expected);
}

static void an_empty_map_is_one_gap(void)
{
	g_autoptr(extent_map_t) map = extent_map_new();

	assert_map(map, "");
	assert_gaps(map, 3, 9, "3+6");
	assert_gaps(map, 3, 3, "");
	g_assert_cmpuint(extent_map_next_data(map, 0), ==, EXTENT_MAP_NONE);
	g_assert_cmpuint(extent_map_next_hole(map, 7), ==, 7);
	assert_taken(map, 0, UINT64_MAX, "");
	extent_map_destroy(NULL);
}

static void runs_that_continue_each_other_are_one(void)
{
	g_autoptr(extent_map_t) map = extent_map_new();

	insert(map, 10, 110, 5);
	insert(map, 15, 115, 5); /* after */
	assert_map(map, "10:110+10");
	insert(map, 5, 105, 5); /* before */
	assert_map(map, "5:105+15");
	insert(map, 30, 130, 5);
	insert(map, 20, 120, 10); /* between */
	assert_map(map, "5:105+30");
}

static void runs_that_only_touch_stay_apart(void)
{
	g_autoptr(extent_map_t) map = extent_map_new();

	insert(map, 0, 100, 5);
	insert(map, 5, 200, 5);  /* the file goes on, the memory does not */
	insert(map, 11, 205, 5); /* the memory goes on, the file does not */
	assert_map(map, "0:100+5 5:200+5 11:205+5");
	g_assert_cmpuint(extent_map_next_hole(map, 2 * PAGE), ==, 10 * PAGE);
	g_assert_cmpuint(extent_map_next_hole(map, 12 * PAGE), ==, 16 * PAGE);
}

static void runs_arrive_in_any_order(void)
{
	g_autoptr(extent_map_t) map = extent_map_new();

	insert(map, 50, 7, 2);
	insert(map, 10, 3, 2);
	insert(map, 30, 900, 2);
	insert(map, 70, 1, 2);
	assert_map(map, "10:3+2 30:900+2 50:7+2 70:1+2");
}

static void removing_cuts_runs(void)
{
	g_autoptr(extent_map_t) map = extent_map_new();

	insert(map, 0, 100, 20);
	assert_taken(map, 5, 3, "105+3");
	assert_map(map, "0:100+5 8:108+12");
	assert_taken(map, 0, 2, "100+2");
	assert_map(map, "2:102+3 8:108+12");
	assert_taken(map, 18, 9, "118+2");
	assert_map(map, "2:102+3 8:108+10");
	assert_taken(map, 4, 5, "104+1 108+1");
	assert_map(map, "2:102+2 9:109+9");
	assert_taken(map, 4, 5, "");
	insert(map, 4, 104, 5);
	assert_map(map, "2:102+16");
	assert_taken(map, 3, UINT64_MAX, "103+15");
	assert_taken(map, 0, UINT64_MAX, "102+1");
	assert_map(map, "");
}

static guint count_runs(const struct extent_map *map)
{
	struct extent_map_run run;
	guint count = 0;

	for (uint64_t at = 0; extent_map_lookup(map, at, &run); at = run.offset + run.extent.length)
		count++;
	return count;
}

static void removing_spans_many_runs(void)
{
	g_autoptr(extent_map_t) map = extent_map_new();

	for (uint64_t i = 0; i < 100; i++)
		insert(map, 10 * i, 1000 - 10 * i, 5);
	g_assert_cmpuint(count_runs(map), ==, 100);
	assert_taken(map, 12, 20, "992+3 980+5 970+2");
	g_assert_cmpuint(count_runs(map), ==, 99);
	g_autofree char *gone = take(map, 33, 960);

	g_assert_true(g_str_has_prefix(gone, "973+2 960+5 950+5 "));
	g_assert_true(g_str_has_suffix(gone, " 20+5 10+3"));
	assert_map(map, "0:1000+5 10:990+2 32:972+1 993:13+2");
}

static void gaps_are_what_is_not_there(void)
{
	g_autoptr(extent_map_t) map = extent_map_new();

	insert(map, 5, 105, 5);
	insert(map, 10, 300, 5);
	insert(map, 20, 400, 5);
	assert_gaps(map, 0, 30, "0+5 15+5 25+5");
	assert_gaps(map, 0, 5, "0+5");
	assert_gaps(map, 5, 15, "");
	assert_gaps(map, 7, 12, "");
	assert_gaps(map, 14, 21, "15+5");
	assert_gaps(map, 16, 18, "16+2");
	assert_gaps(map, 22, 26, "25+1");
	assert_gaps(map, 40, 50, "40+10");
}

static void data_and_holes_are_found(void)
{
	g_autoptr(extent_map_t) map = extent_map_new();

	insert(map, 5, 105, 5);
	insert(map, 10, 300, 5);
	g_assert_cmpuint(extent_map_next_data(map, 0), ==, 5 * PAGE);
	g_assert_cmpuint(extent_map_next_data(map, 5 * PAGE + 1), ==, 5 * PAGE + 1);
	g_assert_cmpuint(extent_map_next_data(map, 15 * PAGE - 1), ==, 15 * PAGE - 1);
	g_assert_cmpuint(extent_map_next_data(map, 15 * PAGE), ==, EXTENT_MAP_NONE);
	g_assert_cmpuint(extent_map_next_hole(map, 0), ==, 0);
	g_assert_cmpuint(extent_map_next_hole(map, 5 * PAGE - 1), ==, 5 * PAGE - 1);
	g_assert_cmpuint(extent_map_next_hole(map, 5 * PAGE), ==, 15 * PAGE);
	g_assert_cmpuint(extent_map_next_hole(map, 15 * PAGE), ==, 15 * PAGE);
}

static void the_largest_file_fits(void)
{
	g_autoptr(extent_map_t) map = extent_map_new();
	g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof(struct extent));
	uint64_t last = EXTENT_MAP_NONE / PAGE * PAGE;

	extent_map_insert(map, last - PAGE, (struct extent){ .start = 0, .length = PAGE });
	g_assert_cmpuint(extent_map_end(map), ==, last);
	g_assert_cmpuint(extent_map_next_hole(map, last - 1), ==, last);
	extent_map_remove(map, last, UINT64_MAX, runs);
	g_assert_cmpuint(runs->len, ==, 0);
	extent_map_remove(map, UINT64_MAX, UINT64_MAX, runs);
	g_assert_cmpuint(runs->len, ==, 0);
	extent_map_remove(map, 1, UINT64_MAX - 1, runs);
	g_assert_cmpuint(runs->len, ==, 1);
}

/* Two runs for one part of a file are a bug, which must abort the daemon. */
static void overlap_aborts(void)
{
	if (g_test_subprocess()) {
		g_autoptr(extent_map_t) map = extent_map_new();

		insert(map, 5, 105, 5);
		insert(map, 9, 200, 1);
		return;
	}
	g_test_trap_subprocess(NULL, 0, G_TEST_SUBPROCESS_DEFAULT);
	g_test_trap_assert_failed();
	g_test_trap_assert_stderr("*assertion failed*");
}

#define MODEL_PAGES 256

/* @model: for each page of the file the address of its memory + 1; 0 in a gap. */
static void assert_same_as_model(const struct extent_map *map, const uint64_t *model)
{
	struct extent_map_run run;
	uint64_t at = 0;
	uint64_t last_end = 0;
	uint64_t last_address = UINT64_MAX;

	while (extent_map_lookup(map, at * PAGE, &run)) {
		uint64_t begin = run.offset / PAGE;

		for (; at < begin; at++)
			g_assert_cmpuint(model[at], ==, 0);
		g_assert_false(begin == last_end && run.extent.start == last_address); /* would be one run */
		for (uint64_t i = 0; i < run.extent.length / PAGE; i++, at++)
			g_assert_cmpuint(model[at], ==, run.extent.start / PAGE + i + 1);
		last_end = at;
		last_address = run.extent.start + run.extent.length;
	}
	for (; at < MODEL_PAGES; at++)
		g_assert_cmpuint(model[at], ==, 0);
}

static void random_changes_match_the_model(void)
{
	g_autoptr(extent_map_t) map = extent_map_new();
	g_autoptr(GArray) gaps = g_array_new(FALSE, FALSE, sizeof(struct extent_gap));
	uint64_t model[MODEL_PAGES] = { 0 };

	for (int step = 0; step < 20000; step++) {
		uint64_t from = (uint64_t)g_test_rand_int_range(0, MODEL_PAGES);
		uint64_t to = (uint64_t)g_test_rand_int_range((gint32)from, MODEL_PAGES) + 1;

		if (g_test_rand_bit()) {
			g_free(take(map, from, to - from));
			memset(&model[from], 0, (to - from) * sizeof(*model));
		} else {
			/* Memory near the identity: neighbours often continue each other. */
			uint64_t shift = (uint64_t)g_test_rand_int_range(0, 2) * 1000;

			g_array_set_size(gaps, 0);
			extent_map_gaps(map, from * PAGE, to * PAGE, gaps);
			for (guint i = 0; i < gaps->len; i++) {
				struct extent_gap gap = g_array_index(gaps, struct extent_gap, i);

				insert(map, gap.offset / PAGE, gap.offset / PAGE + shift, gap.length / PAGE);
			}
			for (uint64_t page = from; page < to; page++)
				model[page] = model[page] ? model[page] : page + shift + 1;
		}
		assert_same_as_model(map, model);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/extent_map/empty", an_empty_map_is_one_gap);
	g_test_add_func("/extent_map/merge", runs_that_continue_each_other_are_one);
	g_test_add_func("/extent_map/no-merge", runs_that_only_touch_stay_apart);
	g_test_add_func("/extent_map/any-order", runs_arrive_in_any_order);
	g_test_add_func("/extent_map/remove", removing_cuts_runs);
	g_test_add_func("/extent_map/remove-many", removing_spans_many_runs);
	g_test_add_func("/extent_map/gaps", gaps_are_what_is_not_there);
	g_test_add_func("/extent_map/seek", data_and_holes_are_found);
	g_test_add_func("/extent_map/limits", the_largest_file_fits);
	g_test_add_func("/extent_map/overlap", overlap_aborts);
	g_test_add_func("/extent_map/random", random_changes_match_the_model);
	return g_test_run();
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* A host of an earlier version, with start=auto and without page-size: its files and its memory stay usable. */
#include <string.h>

#include "backend/automatic_regions.h"
#include "backend/backend.h"
#include "base/log.h"
#include "base/page_order.h"
#include "daemon/default_pages.h"
#include "unit/store/store_state.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

/* Not whole gigabytes, and the second not even a multiple of a section. */
static const struct extent ranges[] = { { 4 * GIB + 512 * MIB, 4 * GIB }, { 10 * GIB, 3 * GIB + 100 * MIB } };

struct host {
	struct config config;
	struct region_config region;
	GArray *reserved;
	GArray *regions; /* struct memory_region: what the daemon would claim */
};

/* The default of @page_size if it is 0. */
static struct host *host_new(uint64_t page_size, const struct extent *reserved, guint count)
{
	struct host *host = g_new0(struct host, 1);

	host->config.backend = BACKEND_PFN;
	host->config.any_page_size = !page_size;
	host->config.page_size = page_size ?: GIB;
	host->region =
		(struct region_config){ .name = (char *)"all", .automatic = true, .node = -1, .any_order = true };
	host->region.order = page_size && page_size < GIB ? PAGE_ORDER_2M : PAGE_ORDER_1G;
	host->reserved = extents_new();
	g_array_append_vals(host->reserved, reserved, count);
	host->regions = g_array_new(FALSE, FALSE, sizeof(struct memory_region));
	return host;
}

static void host_free(struct host *host)
{
	g_array_unref(host->reserved);
	g_array_unref(host->regions);
	g_free(host);
}

static void put_run(struct store *store, uint64_t offset, struct extent extent)
{
	const struct extent_map_run run = { offset, extent };

	store_begin(store);
	store_put_extent(store, STORE_ROOT_INO, &run);
	g_assert_cmpint(store_commit(store), ==, 0);
}

/* Deletes the runs again: the fixture checks the record, which has no such file. */
static void forget_runs(struct store *store)
{
	store_begin(store);
	store_delete_extents(store, STORE_ROOT_INO, 0, UINT64_MAX);
	g_assert_cmpint(store_commit(store), ==, 0);
	store_close(store);
}

/* As the start of the daemon does. */
static void find_regions(struct host *host, struct store *store)
{
	g_autoptr(GError) error = NULL;

	g_assert_true(default_pages_fit(&host->config, &host->region, host->reserved, store, &error));
	g_assert_no_error(error);
	g_assert_true(automatic_regions(&host->config, &host->region, host->reserved, host->regions, &error));
	g_assert_no_error(error);
}

static void assert_region(const struct host *host, guint i, uint64_t start, uint64_t length, unsigned order)
{
	const struct memory_region *region = &g_array_index(host->regions, struct memory_region, i);

	g_assert_cmpuint(host->regions->len, >, i);
	g_assert_cmphex(region->start, ==, start);
	g_assert_cmphex(region->length, ==, length);
	g_assert_cmpuint(region->order, ==, order);
}

static void without_files_there_are_large_pages(struct state *state, gconstpointer data)
{
	struct host *host = host_new(0, ranges, 2);
	struct store *store = state_open_store(state);

	(void)data;
	find_regions(host, store);
	assert_region(host, 0, 5 * GIB, 3 * GIB, PAGE_ORDER_1G);
	assert_region(host, 1, 10 * GIB, 3 * GIB, PAGE_ORDER_1G);
	store_close(store);
	host_free(host);
}

/* The regions are what they were in the earlier version. */
static void files_at_the_ends_stay(struct state *state, gconstpointer data)
{
	struct host *host = host_new(0, ranges, 2);
	struct store *store = state_open_store(state);

	(void)data;
	put_run(store, 0, (struct extent){ 4 * GIB + 512 * MIB, 128 * MIB });
	put_run(store, GIB, (struct extent){ 6 * GIB, 2 * MIB });
	find_regions(host, store);
	assert_region(host, 0, ranges[0].start, ranges[0].length, PAGE_ORDER_NONE);
	assert_region(host, 1, ranges[1].start, ranges[1].length, PAGE_ORDER_NONE);
	forget_runs(store);
	host_free(host);
}

/* The file is whole pages of 2 MiB, but lies where no section of the kernel fits. */
static void a_file_outside_of_all_sections_stays(struct state *state, gconstpointer data)
{
	struct host *host = host_new(0, ranges, 2);
	struct store *store = state_open_store(state);

	(void)data;
	put_run(store, 0, (struct extent){ 13 * GIB + 98 * MIB, 2 * MIB });
	find_regions(host, store);
	assert_region(host, 0, ranges[0].start, ranges[0].length, PAGE_ORDER_NONE);
	assert_region(host, 1, ranges[1].start, ranges[1].length, PAGE_ORDER_NONE);
	forget_runs(store);
	host_free(host);
}

static void a_host_without_a_whole_gigabyte_starts(struct state *state, gconstpointer data)
{
	static const struct extent small = { 4 * GIB + 128 * MIB, GIB };
	static const struct extent tiny = { 4 * GIB + 64 * MIB, 130 * MIB };
	struct host *host = host_new(0, &small, 1), *other = host_new(0, &tiny, 1);
	struct store *store = state_open_store(state);

	(void)data;
	find_regions(host, store);
	assert_region(host, 0, small.start, small.length, PAGE_ORDER_2M);
	find_regions(other, store);
	assert_region(other, 0, tiny.start, tiny.length, PAGE_ORDER_NONE);
	store_close(store);
	host_free(host);
	host_free(other);
}

/* A page-size that is set is what regions are multiples of. */
static void page_size_that_is_given_holds(struct state *state, gconstpointer data)
{
	struct host *large = host_new(GIB, ranges, 2), *small = host_new(2 * MIB, ranges, 2);
	struct store *store = state_open_store(state);

	(void)data;
	put_run(store, 0, (struct extent){ 6 * GIB, 2 * MIB });
	find_regions(large, store);
	assert_region(large, 0, 5 * GIB, 3 * GIB, PAGE_ORDER_NONE);
	find_regions(small, store);
	assert_region(small, 0, ranges[0].start, ranges[0].length, PAGE_ORDER_2M);
	forget_runs(store);
	host_free(large);
	host_free(small);
}

static void pages_that_are_given_hold(struct state *state, gconstpointer data)
{
	static const struct extent small = { 4 * GIB + 128 * MIB, GIB };
	struct host *host = host_new(0, &small, 1);
	g_autoptr(GError) error = NULL;

	(void)state;
	(void)data;
	host->region.any_order = false;
	g_assert_false(automatic_regions(&host->config, &host->region, host->reserved, host->regions, &error));
	g_assert_nonnull(strstr(error->message, "a whole multiple of 1024 MiB, as pages=1G"));
	g_assert_nonnull(strstr(error->message, "reserve memmap=1G$0x140000000, for example"));
	host_free(host);
}

#define ADD(name, function) \
	g_test_add("/default-pages/" name, struct state, NULL, state_set_up, function, state_tear_down)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_log_set_always_fatal(G_LOG_FATAL_MASK);
	ADD("no-files", without_files_there_are_large_pages);
	ADD("ends", files_at_the_ends_stay);
	ADD("sections", a_file_outside_of_all_sections_stays);
	ADD("small", a_host_without_a_whole_gigabyte_starts);
	ADD("page-size", page_size_that_is_given_holds);
	ADD("given", pages_that_are_given_hold);
	return g_test_run();
}

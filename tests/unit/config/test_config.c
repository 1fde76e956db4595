// SPDX-License-Identifier: GPL-2.0-or-later
/* The configuration: values that are read, a dump that is read back, and the example file. */
#include <glib.h>
#include <string.h>
#include <unistd.h>

#include "base/extent.h"
#include "base/page_order.h"
#include "config/config.h"
#include "unit/config/config_file.h"

static struct config *load(const char *text)
{
	g_autoptr(GError) error = NULL;
	struct config *config = config_file_load(text, -1, &error);

	g_assert_no_error(error);
	return config;
}

/* --- what is read --- */

static void every_key_has_a_default(void)
{
	g_autoptr(config_t) config = load("[daemon]\n");

	g_assert_cmpstr(config->file, ==, config_file_path);
	g_assert_cmpstr(config->mountpoint, ==, "/mnt/dmemfs");
	g_assert_cmpstr(config->state_dir, ==, "/var/lib/dmemfs");
	/* echo -n /var/lib/dmemfs | sha256sum */
	g_assert_cmpstr(config->memory_dir, ==, "/dev/shm/dmemfs-d2cd7a86");
	g_assert_cmpint(config->backend, ==, BACKEND_MEMORY);
	g_assert_cmpint(config->alloc, ==, ALLOC_EAGER);
	g_assert_cmpuint(config->page_size, ==, DMEMFS_PAGE_2M);
	g_assert_true(config->populate);
	g_assert_true(config->zero_in_advance);
	g_assert_cmpuint(config->zero_rate, ==, 0);
	g_assert_cmpint(config->lend, ==, LEND_OFF);
	g_assert_cmpuint(config->lend_reserve, ==, UINT64_C(4) << 30);
	g_assert_cmpuint(config->lend_idle, ==, 60);
	g_assert_cmpuint(config->take_timeout, ==, 30);
	g_assert_cmpuint(config->max_metadata, ==, UINT64_C(2) << 30);
	g_assert_cmpuint(config->threads, >=, 8);
	g_assert_cmpuint(config->threads, <=, 16);
	g_assert_null(config->metrics_file);
	g_assert_cmpuint(config->metrics_interval, ==, 15);
	g_assert_cmpuint(config->regions->len, ==, 0);
	g_assert_cmpuint(config->quotas->len, ==, 0);
}

static void default_size_is_half_of_ram(void)
{
	g_autoptr(config_t) config = load("[daemon]\npage-size=4K\n");
	uint64_t ram = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);

	g_assert_cmpuint(config->size, <=, ram / 2);
	g_assert_cmpuint(config->size, >, ram / 2 - DMEMFS_PAGE_4K);
	g_assert_cmpuint(config->size % DMEMFS_PAGE_4K, ==, 0);
}

static void memory_dir_follows_state_dir(void)
{
	g_autoptr(config_t) first = load("[daemon]\nstate-dir=/run/a\n");
	g_autoptr(config_t) second = load("[daemon]\nstate-dir=/run/b\n");
	g_autoptr(config_t) again = load("[daemon]\nstate-dir=//run//a/\n");

	g_assert_cmpstr(first->memory_dir, !=, second->memory_dir);
	g_assert_cmpstr(first->memory_dir, ==, again->memory_dir);
}

/* Requests that wait for lent memory occupy threads. */
static void more_threads_with_lending(void)
{
	g_autoptr(config_t) lends = load("[daemon]\nbackend=pfn\nlend=on\n[region x]\nstart=auto\n");
	g_autoptr(config_t) given = load("[daemon]\nbackend=pfn\nlend=on\nthreads=9\n[region x]\nstart=auto\n");

	g_assert_cmpuint(lends->threads, ==, 64);
	g_assert_cmpuint(given->threads, ==, 9);
}

static void every_key_is_read(void)
{
	g_autoptr(config_t) config = load("# a comment\n"
	                                  "\n"
	                                  "[daemon]\n"
	                                  "mountpoint=/guests\n"
	                                  "state-dir = /run/dmemfs \t\n"
	                                  "  backend=memory\n"
	                                  "page-size=1G\n"
	                                  "size=0x200000000\n"
	                                  "alloc=eager\n"
	                                  "lost-contents=remove\n"
	                                  "memory-dir=/run/dmemfs/memory\n"
	                                  "populate=false\n"
	                                  "zero-in-advance=false\n"
	                                  "zero-rate=512M\n"
	                                  "max-metadata=64M\n"
	                                  "threads=256\n"
	                                  "metrics-file=/run/dmemfs.prom\n"
	                                  "metrics-interval=3600\n"
	                                  "[quota a.b_c-1]\n"
	                                  "path=/a\n"
	                                  "max-bytes=5G\n"
	                                  "[quota all]\n"
	                                  "path=/\n"
	                                  "max-files=7\n");
	const struct quota_config *quota;

	g_assert_cmpstr(config->mountpoint, ==, "/guests");
	g_assert_cmpstr(config->state_dir, ==, "/run/dmemfs");
	g_assert_cmpstr(config->memory_dir, ==, "/run/dmemfs/memory");
	g_assert_cmpuint(config->page_size, ==, DMEMFS_PAGE_1G);
	g_assert_cmpuint(config->size, ==, 8 * DMEMFS_PAGE_1G);
	g_assert_cmpint(config->alloc, ==, ALLOC_EAGER);
	g_assert_false(config->populate);
	g_assert_false(config->zero_in_advance);
	g_assert_cmpuint(config->zero_rate, ==, 512 << 20);
	g_assert_cmpuint(config->max_metadata, ==, 64 << 20);
	g_assert_cmpuint(config->threads, ==, 256);
	g_assert_cmpstr(config->metrics_file, ==, "/run/dmemfs.prom");
	g_assert_cmpuint(config->metrics_interval, ==, 3600);
	g_assert_cmpuint(config->quotas->len, ==, 2);
	quota = g_ptr_array_index(config->quotas, 0);
	g_assert_cmpstr(quota->name, ==, "a.b_c-1");
	g_assert_cmpstr(quota->path, ==, "/a");
	g_assert_cmpuint(quota->max_bytes, ==, 5 * DMEMFS_PAGE_1G);
	g_assert_cmpuint(quota->max_files, ==, UINT64_MAX);
	quota = g_ptr_array_index(config->quotas, 1);
	g_assert_cmpuint(quota->max_bytes, ==, UINT64_MAX);
	g_assert_cmpuint(quota->max_files, ==, 7);
}

static void regions_are_sorted_by_start(void)
{
	g_autoptr(config_t) config = load("[daemon]\n"
	                                  "[region high]\nstart=8G\nsize=2G\nnode=1\n"
	                                  "[region low]\nstart=0\nsize=2M\n"
	                                  "[region adjacent]\nstart=10G\nsize=2M\nnode=auto\n");
	const struct region_config *region = g_ptr_array_index(config->regions, 0);

	g_assert_cmpuint(config->size, ==, 0);
	g_assert_cmpuint(config->regions->len, ==, 3);
	g_assert_cmpstr(region->name, ==, "low");
	g_assert_cmpuint(region->start, ==, 0);
	g_assert_cmpint(region->node, ==, -1);
	region = g_ptr_array_index(config->regions, 1);
	g_assert_cmpstr(region->name, ==, "high");
	g_assert_cmpuint(region->start, ==, 8 * DMEMFS_PAGE_1G);
	g_assert_cmpuint(region->size, ==, 2 * DMEMFS_PAGE_1G);
	g_assert_cmpint(region->node, ==, 1);
	region = g_ptr_array_index(config->regions, 2);
	g_assert_cmpstr(region->name, ==, "adjacent");
	g_assert_cmpint(region->node, ==, -1);
}

static void pfn_backend_takes_regions(void)
{
	g_autoptr(config_t) config = load("[daemon]\nbackend=pfn\n[region r]\nstart=auto\n");
	const struct region_config *region = g_ptr_array_index(config->regions, 0);

	g_assert_cmpint(config->backend, ==, BACKEND_PFN);
	g_assert_null(config->memory_dir);
	g_assert_true(region->automatic);
	g_assert_cmpuint(region->start, ==, 0);
	g_assert_cmpuint(region->size, ==, 0);
	g_assert_cmpint(region->node, ==, -1);
	g_assert_cmpuint(config->page_size, ==, DMEMFS_PAGE_1G);
	g_assert_cmpuint(region->order, ==, PAGE_ORDER_1G);
}

static unsigned order_of(const struct config *config, guint index)
{
	return ((const struct region_config *)g_ptr_array_index(config->regions, index))->order;
}

static void compound_pages_are_as_large_as_the_unit_allows(void)
{
	g_autoptr(config_t) large = load("[daemon]\nbackend=pfn\npage-size=2M\n[region r]\nstart=auto\n");
	g_autoptr(config_t) small = load("[daemon]\nbackend=pfn\npage-size=4K\n[region r]\nstart=auto\n");
	g_autoptr(config_t) memory = load("[daemon]\n[region r]\nstart=0\nsize=6M\n");

	g_assert_cmpuint(order_of(large, 0), ==, PAGE_ORDER_2M);
	g_assert_cmpuint(order_of(small, 0), ==, PAGE_ORDER_NONE);
	g_assert_cmpuint(order_of(memory, 0), ==, PAGE_ORDER_NONE);
}

/* As in versions without compound pages: start and size are multiples of 2 MiB, and neither page-size nor pages= is given. */
static void regions_need_not_be_whole_gigabytes(void)
{
	g_autoptr(config_t) halves = load("[daemon]\nbackend=pfn\n[region a]\nstart=0x120000000\nsize=3584M\n"
	                                  "[region b]\nstart=8G\nsize=2G\n");
	g_autoptr(config_t) odd = load("[daemon]\nbackend=pfn\n[region a]\nstart=4G\nsize=1538M\n");
	g_autoptr(config_t) raw = load("[daemon]\nbackend=pfn\n[region a]\nstart=4G\nsize=1538M\npages=none\n");
	g_autoptr(config_t) small = load("[daemon]\nbackend=pfn\npage-size=4K\n[region a]\nstart=4G\nsize=6148K\n");
	g_autoptr(config_t) whole = load("[daemon]\nbackend=pfn\n[region a]\nstart=4G\nsize=3G\n");

	g_assert_cmpuint(halves->page_size, ==, DMEMFS_PAGE_2M);
	g_assert_cmpuint(order_of(halves, 0), ==, PAGE_ORDER_2M);
	g_assert_cmpuint(order_of(halves, 1), ==, PAGE_ORDER_2M);
	g_assert_cmpuint(odd->page_size, ==, DMEMFS_PAGE_2M);
	g_assert_cmpuint(order_of(odd, 0), ==, PAGE_ORDER_NONE);
	g_assert_cmpuint(raw->page_size, ==, DMEMFS_PAGE_2M);
	g_assert_cmpuint(order_of(small, 0), ==, PAGE_ORDER_NONE);
	g_assert_cmpuint(whole->page_size, ==, DMEMFS_PAGE_1G);
	g_assert_cmpuint(order_of(whole, 0), ==, PAGE_ORDER_1G);
}

/* The unit may allow more than the range does. */
static void default_pages_fit_the_region(void)
{
	g_autoptr(config_t) config = load("[daemon]\nbackend=pfn\npage-size=2M\n[region a]\nstart=4G\nsize=130M\n"
	                                  "[region b]\nstart=5G\nsize=256M\n");

	g_assert_cmpuint(order_of(config, 0), ==, PAGE_ORDER_NONE);
	g_assert_cmpuint(order_of(config, 1), ==, PAGE_ORDER_2M);
}

static void regions_have_pages_of_their_own(void)
{
	g_autoptr(config_t) config = load("[daemon]\nbackend=pfn\n[region a]\nstart=4G\nsize=1G\n"
	                                  "[region b]\nstart=5G\nsize=1G\npages=2M\n"
	                                  "[region c]\nstart=6G\nsize=1G\npages=none\n");

	g_assert_cmpuint(order_of(config, 0), ==, PAGE_ORDER_1G);
	g_assert_cmpuint(order_of(config, 1), ==, PAGE_ORDER_2M);
	g_assert_cmpuint(order_of(config, 2), ==, PAGE_ORDER_NONE);
	g_assert_cmpuint(config->page_size, ==, DMEMFS_PAGE_1G);
}

/* So the dump shows the unit that files get. */
static void default_unit_is_as_large_as_the_pages(void)
{
	g_autoptr(config_t) small = load("[daemon]\nbackend=pfn\n[region a]\nstart=4G\nsize=1G\npages=2M\n");
	g_autoptr(config_t) raw = load("[daemon]\nbackend=pfn\n[region a]\nstart=auto\npages=none\n");

	g_assert_cmpuint(small->page_size, ==, DMEMFS_PAGE_2M);
	g_assert_cmpuint(raw->page_size, ==, DMEMFS_PAGE_2M);
}

static void a_region_may_end_at_the_last_address(void)
{
	g_autoptr(config_t) config = load("[daemon]\n[region r]\nstart=0x7fffffffffc00000\nsize=2M\n");

	g_assert_cmpuint(config->regions->len, ==, 1);
}

static void lines_may_end_as_on_windows(void)
{
	g_autoptr(config_t) config = load("[daemon]\r\nmountpoint=/a b\\s\r\n\r\nsize=2M\r\n");

	g_assert_cmpstr(config->mountpoint, ==, "/a b ");
	g_assert_cmpuint(config->size, ==, DMEMFS_PAGE_2M);
}

static void demand_allocation_has_its_keys(void)
{
	g_autoptr(config_t) config = load("[daemon]\nbackend=pfn\nalloc=demand\novercommit=2.5\ndemand-extent=4K\n"
	                                  "[region r]\nstart=auto\n");
	g_autoptr(config_t) defaults = load("[daemon]\n");

	g_assert_cmpint(config->alloc, ==, ALLOC_DEMAND);
	g_assert_cmpfloat(config->overcommit, ==, 2.5);
	g_assert_cmpuint(config->demand_extent, ==, DMEMFS_PAGE_4K);
	g_assert_cmpfloat(defaults->overcommit, ==, 1);
	g_assert_cmpuint(defaults->demand_extent, ==, DMEMFS_PAGE_2M);
}

/* --- what comes back --- */

static void regions_equal(const struct config *a, const struct config *b)
{
	g_assert_cmpuint(a->regions->len, ==, b->regions->len);
	for (guint i = 0; i < a->regions->len; i++) {
		const struct region_config *first = g_ptr_array_index(a->regions, i);
		const struct region_config *second = g_ptr_array_index(b->regions, i);

		g_assert_cmpstr(first->name, ==, second->name);
		g_assert_cmpint(first->automatic, ==, second->automatic);
		g_assert_cmpuint(first->start, ==, second->start);
		g_assert_cmpuint(first->size, ==, second->size);
		g_assert_cmpint(first->node, ==, second->node);
		g_assert_cmpuint(first->order, ==, second->order);
	}
}

static void quotas_equal(const struct config *a, const struct config *b)
{
	g_assert_cmpuint(a->quotas->len, ==, b->quotas->len);
	for (guint i = 0; i < a->quotas->len; i++) {
		const struct quota_config *first = g_ptr_array_index(a->quotas, i);
		const struct quota_config *second = g_ptr_array_index(b->quotas, i);

		g_assert_cmpstr(first->name, ==, second->name);
		g_assert_cmpstr(first->path, ==, second->path);
		g_assert_cmpuint(first->max_bytes, ==, second->max_bytes);
		g_assert_cmpuint(first->max_files, ==, second->max_files);
	}
}

static void configs_equal(const struct config *a, const struct config *b)
{
	g_assert_cmpstr(a->mountpoint, ==, b->mountpoint);
	g_assert_cmpstr(a->state_dir, ==, b->state_dir);
	g_assert_cmpstr(a->memory_dir, ==, b->memory_dir);
	g_assert_cmpint(a->backend, ==, b->backend);
	g_assert_cmpint(a->alloc, ==, b->alloc);
	g_assert_cmpuint(a->demand_extent, ==, b->demand_extent);
	g_assert_cmpfloat(a->overcommit, ==, b->overcommit);
	g_assert_cmpuint(a->page_size, ==, b->page_size);
	g_assert_cmpuint(a->size, ==, b->size);
	g_assert_cmpint(a->populate, ==, b->populate);
	g_assert_cmpint(a->zero_in_advance, ==, b->zero_in_advance);
	g_assert_cmpuint(a->zero_rate, ==, b->zero_rate);
	g_assert_cmpint(a->lend, ==, b->lend);
	g_assert_cmpuint(a->lend_reserve, ==, b->lend_reserve);
	g_assert_cmpuint(a->lend_idle, ==, b->lend_idle);
	g_assert_cmpuint(a->take_timeout, ==, b->take_timeout);
	g_assert_cmpuint(a->max_metadata, ==, b->max_metadata);
	g_assert_cmpuint(a->threads, ==, b->threads);
	g_assert_cmpstr(a->metrics_file, ==, b->metrics_file);
	g_assert_cmpuint(a->metrics_interval, ==, b->metrics_interval);
	regions_equal(a, b);
	quotas_equal(a, b);
}

static void a_dump_reads_back_to_the_same(gconstpointer text)
{
	g_autoptr(config_t) config = load(text);
	g_autofree char *dump = config_dump(config);
	g_autoptr(config_t) again = load(dump);
	g_autofree char *second_dump = config_dump(again);

	configs_equal(config, again);
	g_assert_cmpstr(dump, ==, second_dump);
}

static const struct {
	const char *name;
	const char *text;
} dumped[] = {
	{ "defaults", "[daemon]\n" },
	{ "metrics", "[daemon]\nmetrics-file=/a b.prom\nmetrics-interval=1\n" },
	{ "odd-size", "[daemon]\npage-size=4K\nsize=1234567168\nthreads=1\npopulate=false\nlost-contents=remove\n" },
	{ "zeroing", "[daemon]\nzero-in-advance=false\nzero-rate=1000000000\n" },
	{ "escapes", "[daemon]\nmountpoint=/\\sa\\\\b;c,d=e#f \xc3\xa4\nmemory-dir=/x\\s\n" },
	{ "imaginary-regions", "[daemon]\n[region b]\nstart=4G\nsize=6M\nnode=3\n[region a]\nstart=0\nsize=2G\n" },
	{ "pfn", "[daemon]\nbackend=pfn\n[region x]\nstart=6G\nsize=2G\n" },
	{ "pfn-pages",
	  "[daemon]\nbackend=pfn\n[region x]\nstart=6G\nsize=2G\npages=none\n[region y]\nstart=9G\nsize=1G\npages=2M\n" },
	{ "memory-pages", "[daemon]\npage-size=1G\n[region x]\nstart=6G\nsize=2G\npages=1G\n" },
	{ "pfn-auto", "[daemon]\nbackend=pfn\n[region x]\nstart=auto\nsize=auto\nnode=auto\n" },
	{ "demand", "[daemon]\nbackend=pfn\nalloc=demand\ndemand-extent=1G\novercommit=1.7\n[region x]\nstart=auto\n" },
	{ "lending",
	  "[daemon]\nbackend=pfn\nlend=on\nlend-reserve=0\nlend-idle=0\ntake-timeout=1\n[region x]\nstart=auto\n" },
	{ "quotas", "[daemon]\n[quota a]\npath=/a\nmax-bytes=3\n[quota b]\npath=/b\nmax-files=9223372036854775807\n" },
};

/* --- what the example says --- */

/* The example is all comments except [daemon]. Without the comment marks it is a configuration, too. */
static void the_example_shows_the_defaults(void)
{
	g_autofree char *path = g_test_build_filename(G_TEST_DIST, "..", "..", "configs", "dmemfsd.conf", NULL);
	g_autofree char *text = NULL;
	g_autoptr(GError) error = NULL;
	g_autoptr(config_t) example = config_load(path, &error);
	g_autoptr(config_t) defaults = load("[daemon]\n");

	g_assert_no_error(error);
	configs_equal(example, defaults);
	g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
	assert_contains(text, "\n#mountpoint=/mnt/dmemfs\n");
	assert_contains(text, "\n#state-dir=/var/lib/dmemfs\n");
	assert_contains(text, "\n#backend=memory\n");
	assert_contains(text, "\n#page-size=2M\n");
	assert_contains(text, "\n#alloc=eager\n");
	assert_contains(text, "\n#lost-contents=zero\n");
	assert_contains(text, "\n#overcommit=1\n");
	assert_contains(text, "\n#demand-extent=2M\n");
	assert_contains(text, "\n#populate=true\n");
	assert_contains(text, "\n#zero-in-advance=true\n");
	assert_contains(text, "\n#zero-rate=0\n");
	assert_contains(text, "\n#lend=off\n");
	assert_contains(text, "\n#lend-reserve=4G\n");
	assert_contains(text, "\n#lend-idle=60\n");
	assert_contains(text, "\n#take-timeout=30\n");
	assert_contains(text, "\n#threads=");
	assert_contains(text, "\n#metrics-file=");
	assert_contains(text, "\n#metrics-interval=15\n");
	assert_contains(text, "\n#size=");
	assert_contains(text, "\n#memory-dir=/dev/shm/dmemfs-");
}

static void the_example_is_right_when_uncommented(void)
{
	g_autofree char *path = g_test_build_filename(G_TEST_DIST, "..", "..", "configs", "dmemfsd.conf", NULL);
	g_autofree char *text = NULL;
	g_autoptr(GRegex) marks = g_regex_new("^#(?=[a-z-]+=|\\[)", G_REGEX_MULTILINE, 0, NULL);
	g_autofree char *bare = NULL;
	g_autoptr(config_t) config = NULL;
	char *size;

	g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
	bare = g_regex_replace_literal(marks, text, -1, 0, "", 0, NULL);
	/* The [region] groups replace this key only. */
	size = strstr(bare, "\nsize=64G\n");
	g_assert_nonnull(size);
	size[1] = '#';
	config = load(bare);
	g_assert_cmpuint(config->regions->len, ==, 1);
	g_assert_cmpuint(config->quotas->len, ==, 1);
}

static void add_dumps(void)
{
	for (size_t i = 0; i < G_N_ELEMENTS(dumped); i++) {
		g_autofree char *path = g_strconcat("/config/dump/", dumped[i].name, NULL);

		g_test_add_data_func(path, dumped[i].text, a_dump_reads_back_to_the_same);
	}
}

int main(int argc, char **argv)
{
	int status;

	g_test_init(&argc, &argv, NULL);
	config_file_setup();
	g_test_add_func("/config/defaults", every_key_has_a_default);
	g_test_add_func("/config/defaults/size", default_size_is_half_of_ram);
	g_test_add_func("/config/defaults/memory-dir", memory_dir_follows_state_dir);
	g_test_add_func("/config/defaults/threads", more_threads_with_lending);
	g_test_add_func("/config/keys", every_key_is_read);
	g_test_add_func("/config/regions", regions_are_sorted_by_start);
	g_test_add_func("/config/regions/pfn", pfn_backend_takes_regions);
	g_test_add_func("/config/regions/pages/default", compound_pages_are_as_large_as_the_unit_allows);
	g_test_add_func("/config/regions/pages/upgrade", regions_need_not_be_whole_gigabytes);
	g_test_add_func("/config/regions/pages/fit", default_pages_fit_the_region);
	g_test_add_func("/config/regions/pages", regions_have_pages_of_their_own);
	g_test_add_func("/config/regions/pages/unit", default_unit_is_as_large_as_the_pages);
	g_test_add_func("/config/regions/last", a_region_may_end_at_the_last_address);
	g_test_add_func("/config/demand", demand_allocation_has_its_keys);
	g_test_add_func("/config/crlf", lines_may_end_as_on_windows);
	g_test_add_func("/config/example/defaults", the_example_shows_the_defaults);
	g_test_add_func("/config/example/uncommented", the_example_is_right_when_uncommented);
	add_dumps();
	status = g_test_run();
	config_file_cleanup();
	return status;
}

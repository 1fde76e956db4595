// SPDX-License-Identifier: GPL-2.0-or-later
/* Which regions the daemon claims when the module has some of an earlier daemon. ioctl(2) reaches the module below. */
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backend/backend.h"
#include "backend/pfn_regions.h"
#include "base/extent.h"
#include "base/page_order.h"
#include "dmemfs_ioctl.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

static const struct extent ranges[] = { { 4 * GIB + 512 * MIB, 4 * GIB }, { 10 * GIB, 3 * GIB } };

/* What the module has: by address. A region with .owned cannot be released. */
static struct dmemfs_region module[8];
static guint count;
static unsigned short_of_memory; /* orders of this and above cannot be claimed; 0: nor can raw memory */

static uint64_t lent; /* the start of the only unit that is lent; 0: none */
static bool stuck;    /* it cannot be taken back */
static guint takes;

static int module_lent_next(struct dmemfs_lend *unit)
{
	if (!lent || unit->start > lent)
		return ENOENT;
	*unit = (struct dmemfs_lend){ .start = lent, .length = GIB, .state = DMEMFS_LEND_OFFLINE };
	return 0;
}

static int module_take(const struct dmemfs_lend *unit)
{
	if (unit->start != lent)
		return ENOENT;
	if (stuck)
		return EBUSY;
	lent = 0;
	takes++;
	return 0;
}

static int module_next(struct dmemfs_region *region)
{
	for (guint i = 0; i < count; i++) {
		if (module[i].start >= region->start) {
			*region = module[i];
			return 0;
		}
	}
	return ENOENT;
}

static int module_claim(struct dmemfs_region *region)
{
	guint at = 0;

	for (guint i = 0; i < count; i++) {
		if (region->start < module[i].start + module[i].length &&
		    module[i].start < region->start + region->length)
			return EEXIST;
		at += module[i].start < region->start;
	}
	if (region->order >= short_of_memory)
		return ENOMEM;
	region->node_length = region->length;
	memmove(&module[at + 1], &module[at], (count - at) * sizeof(module[0]));
	module[at] = *region;
	count++;
	return 0;
}

static int module_release(const struct dmemfs_region *region)
{
	for (guint i = 0; i < count; i++) {
		if (module[i].start != region->start || module[i].length != region->length)
			continue;
		if (module[i].owned || (lent >= region->start && lent < region->start + region->length))
			return EBUSY;
		memmove(&module[i], &module[i + 1], (count - i - 1) * sizeof(module[0]));
		count--;
		return 0;
	}
	return ENOENT;
}

static int module_call(unsigned long request, void *argument)
{
	switch (request) {
	case DMEMFS_IOC_HELLO:
		*(struct dmemfs_hello *)argument =
			(struct dmemfs_hello){ .abi = DMEMFS_ABI_VERSION, .features = DMEMFS_FEATURE_PAGES };
		return 0;
	case DMEMFS_IOC_REGION_NEXT:
		return module_next(argument);
	case DMEMFS_IOC_REGION_CLAIM:
		return module_claim(argument);
	case DMEMFS_IOC_REGION_RELEASE:
		return module_release(argument);
	case DMEMFS_IOC_PINNED_NEXT:
		return ENOENT;
	case DMEMFS_IOC_LENT_NEXT:
		return module_lent_next(argument);
	case DMEMFS_IOC_REGION_TAKE:
		return module_take(argument);
	default:
		return ENOTTY;
	}
}

/* Instead of that of the C library, which has the same prototype. */
int ioctl(int fd, unsigned long request, ...)
{
	va_list arguments;

	(void)fd;
	va_start(arguments, request);
	errno = module_call(request, va_arg(arguments, void *));
	va_end(arguments);
	return errno ? -1 : 0;
}

struct host {
	struct config config;
	GArray *reserved; /* struct extent */
	GArray *regions;  /* struct memory_region: what the daemon has claimed */
	GArray *former;
};

static void set_up(struct host *host, gconstpointer data)
{
	(void)data;
	count = takes = 0;
	lent = 0;
	stuck = false;
	short_of_memory = PAGE_ORDER_1G + 1;
	host->config = (struct config){ .backend = BACKEND_PFN, .any_page_size = true, .page_size = GIB };
	host->config.regions = g_ptr_array_new_with_free_func(g_free);
	host->reserved = extents_new();
	g_array_append_vals(host->reserved, ranges, G_N_ELEMENTS(ranges));
	host->regions = g_array_new(FALSE, FALSE, sizeof(struct memory_region));
	host->former = extents_new();
}

static void tear_down(struct host *host, gconstpointer data)
{
	(void)data;
	g_ptr_array_unref(host->config.regions);
	g_array_unref(host->reserved);
	g_array_unref(host->regions);
	g_array_unref(host->former);
}

/* A group without pages=; start=auto if @length is 0. */
static void add_group(struct host *host, uint64_t start, uint64_t length, unsigned order)
{
	struct region_config *region = g_new0(struct region_config, 1);

	region->name = (char *)"all";
	region->automatic = length == 0;
	region->start = start;
	region->size = length;
	region->node = -1;
	region->order = order;
	region->any_order = true;
	g_ptr_array_add(host->config.regions, region);
}

/* Claims as an earlier daemon did. */
static void claimed_before(uint64_t start, uint64_t length, unsigned order, uint64_t owned)
{
	struct dmemfs_region region = { .start = start, .length = length, .order = order, .owned = owned };

	g_assert_cmpint(module_claim(&region), ==, 0);
}

static void start(struct host *host)
{
	g_autoptr(GError) error = NULL;

	pfn_claim_regions(-1, &host->config, host->reserved, host->regions, host->former, &error);
	g_assert_no_error(error);
	g_assert_cmpuint(host->regions->len, ==, count);
}

/* start() has logged @text. */
static void start_says(struct host *host, const char *text)
{
	backend_fd log = memfd_create("log", MFD_CLOEXEC), shown = dup(STDERR_FILENO);
	char said[4096] = "";

	g_assert_cmpint(dup2(log, STDERR_FILENO), ==, STDERR_FILENO);
	start(host);
	g_assert_cmpint(dup2(shown, STDERR_FILENO), ==, STDERR_FILENO);
	g_assert_cmpint(pread(log, said, sizeof(said) - 1, 0), >, 0);
	g_test_message("%s", said);
	g_assert_nonnull(strstr(said, text));
}

static void assert_region(const struct host *host, guint i, uint64_t start, uint64_t length, unsigned order)
{
	const struct memory_region *region = &g_array_index(host->regions, struct memory_region, i);

	g_assert_cmpuint(host->regions->len, >, i);
	g_assert_cmphex(region->start, ==, start);
	g_assert_cmphex(region->length, ==, length);
	g_assert_cmpuint(region->order, ==, order);
	g_assert_cmpuint(module[i].order, ==, order);
}

static void what_is_free_gets_the_default(struct host *host, gconstpointer data)
{
	(void)data;
	claimed_before(ranges[0].start, ranges[0].length, PAGE_ORDER_NONE, 0);
	add_group(host, 0, 0, PAGE_ORDER_1G);
	start(host);
	assert_region(host, 0, 5 * GIB, 3 * GIB, PAGE_ORDER_1G);
	assert_region(host, 1, 10 * GIB, 3 * GIB, PAGE_ORDER_1G);
}

/* Else new files, which are all of one kind, could not use one of the nodes. */
static void all_nodes_keep_what_one_has_to(struct host *host, gconstpointer data)
{
	guint used = GPOINTER_TO_UINT(data);

	for (guint i = 0; i < G_N_ELEMENTS(ranges); i++)
		claimed_before(ranges[i].start, ranges[i].length, PAGE_ORDER_NONE, i == used ? 2 * MIB : 0);
	add_group(host, 0, 0, PAGE_ORDER_1G);
	start(host);
	for (guint i = 0; i < G_N_ELEMENTS(ranges); i++)
		assert_region(host, i, ranges[i].start, ranges[i].length, PAGE_ORDER_NONE);
	g_assert_cmpuint(host->former->len, ==, 0);
}

/* A region that is not whole gigabytes lowers the default of page-size. The pages of another region stay. */
static void another_region_changes_nothing(struct host *host, gconstpointer data)
{
	(void)data;
	claimed_before(4 * GIB, 2 * GIB, PAGE_ORDER_1G, GIB);
	host->config.page_size = 2 * MIB;
	add_group(host, 4 * GIB, 2 * GIB, PAGE_ORDER_2M);
	add_group(host, 8 * GIB, GIB + 512 * MIB, PAGE_ORDER_2M);
	start(host);
	assert_region(host, 0, 4 * GIB, 2 * GIB, PAGE_ORDER_1G);
	assert_region(host, 1, 8 * GIB, GIB + 512 * MIB, PAGE_ORDER_2M);
}

/* A unit that is set does not give way to pages: files could not have it. */
static void page_size_that_is_given_holds(struct host *host, gconstpointer data)
{
	g_autoptr(GError) error = NULL;

	(void)data;
	claimed_before(4 * GIB, 2 * GIB, PAGE_ORDER_1G, GIB);
	host->config.page_size = 2 * MIB;
	host->config.any_page_size = false;
	add_group(host, 4 * GIB, 2 * GIB, PAGE_ORDER_2M);
	g_assert_false(pfn_claim_regions(-1, &host->config, host->reserved, host->regions, host->former, &error));
	g_assert_nonnull(strstr(error->message, "it has pages=1G, which cannot change"));
}

static void without_memory_for_pages_there_are_none(struct host *host, gconstpointer data)
{
	(void)data;
	claimed_before(8 * GIB, GIB, PAGE_ORDER_1G, GIB);
	short_of_memory = PAGE_ORDER_2M;
	add_group(host, 4 * GIB, 2 * GIB, PAGE_ORDER_1G);
	add_group(host, 8 * GIB, GIB, PAGE_ORDER_1G);
	start(host);
	assert_region(host, 0, 4 * GIB, 2 * GIB, PAGE_ORDER_NONE);
	assert_region(host, 1, 8 * GIB, GIB, PAGE_ORDER_1G);
}

static void pages_that_are_asked_for_are_not_given_up(struct host *host, gconstpointer data)
{
	g_autoptr(GError) error = NULL;

	(void)data;
	short_of_memory = PAGE_ORDER_2M;
	add_group(host, 4 * GIB, 2 * GIB, PAGE_ORDER_1G);
	((struct region_config *)g_ptr_array_index(host->config.regions, 0))->any_order = false;
	g_assert_false(pfn_claim_regions(-1, &host->config, host->reserved, host->regions, host->former, &error));
	g_assert_nonnull(strstr(error->message, "leave the kernel more memory, or use pages=1G or none"));
}

static void nothing_can_be_claimed(struct host *host, gconstpointer data)
{
	g_autoptr(GError) error = NULL;

	(void)data;
	short_of_memory = PAGE_ORDER_NONE;
	add_group(host, 4 * GIB, 2 * GIB, PAGE_ORDER_NONE);
	g_assert_false(pfn_claim_regions(-1, &host->config, host->reserved, host->regions, host->former, &error));
	g_assert_true(g_str_has_suffix(error->message, ": leave the kernel more memory"));
}

/* The start does not wait for it. */
static void what_is_lent_of_a_former_region_is_taken_later(struct host *host, gconstpointer data)
{
	g_autoptr(GError) error = NULL;
	gint stop = 1;

	(void)data;
	claimed_before(20 * GIB, 2 * GIB, PAGE_ORDER_1G, 0);
	lent = 21 * GIB;
	add_group(host, 4 * GIB, 2 * GIB, PAGE_ORDER_1G);
	pfn_claim_regions(-1, &host->config, host->reserved, host->regions, host->former, &error);
	g_assert_no_error(error);
	g_assert_cmpuint(host->former->len, ==, 1);
	g_assert_cmpuint(takes, ==, 0);
	/* The daemon ends: it does not wait for this. */
	pfn_release_former(-1, host->former, &stop);
	g_assert_cmpuint(host->former->len, ==, 1);
	g_assert_cmpuint(takes, ==, 0);
	stop = 0;
	pfn_release_former(-1, host->former, &stop);
	g_assert_cmpuint(host->former->len, ==, 0);
	g_assert_cmpuint(takes, ==, 1);
	g_assert_cmpuint(count, ==, 1);
}

static void what_a_region_of_today_needs_is_taken_at_once(struct host *host, gconstpointer data)
{
	(void)data;
	claimed_before(4 * GIB, 4 * GIB, PAGE_ORDER_1G, 0);
	lent = 5 * GIB;
	add_group(host, 4 * GIB, 2 * GIB, PAGE_ORDER_1G);
	start(host);
	assert_region(host, 0, 4 * GIB, 2 * GIB, PAGE_ORDER_1G);
	g_assert_cmpuint(takes, ==, 1);
}

/* There may be no file at all. */
static void what_stays_lent_is_the_reason_to_keep_pages(struct host *host, gconstpointer data)
{
	uint64_t owned = GPOINTER_TO_UINT(data) * MIB;

	claimed_before(4 * GIB, 2 * GIB, PAGE_ORDER_NONE, owned);
	lent = 5 * GIB;
	stuck = true;
	add_group(host, 4 * GIB, 2 * GIB, PAGE_ORDER_1G);
	start_says(host, owned ? "keeps pages=none, because files are in it" : "keeps pages=none, because lent memory");
	assert_region(host, 0, 4 * GIB, 2 * GIB, PAGE_ORDER_NONE);
}

/* The region is as it was: nothing is taken, the daemon goes on with what is lent. */
static void a_region_that_stays_keeps_what_is_lent(struct host *host, gconstpointer data)
{
	(void)data;
	claimed_before(4 * GIB, 2 * GIB, PAGE_ORDER_1G, 0);
	lent = 5 * GIB;
	add_group(host, 4 * GIB, 2 * GIB, PAGE_ORDER_1G);
	start(host);
	g_assert_cmpuint(takes, ==, 0);
}

#define ADD(name, data, function) \
	g_test_add("/pfn-regions/" name, struct host, GUINT_TO_POINTER(data), set_up, function, tear_down)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_log_set_always_fatal(G_LOG_FATAL_MASK);
	ADD("free", 0, what_is_free_gets_the_default);
	ADD("first-node", 0, all_nodes_keep_what_one_has_to);
	ADD("second-node", 1, all_nodes_keep_what_one_has_to);
	ADD("another", 0, another_region_changes_nothing);
	ADD("page-size", 0, page_size_that_is_given_holds);
	ADD("memory", 0, without_memory_for_pages_there_are_none);
	ADD("lent-former", 0, what_is_lent_of_a_former_region_is_taken_later);
	ADD("lent-today", 0, what_a_region_of_today_needs_is_taken_at_once);
	ADD("lent-pages", 0, what_stays_lent_is_the_reason_to_keep_pages);
	ADD("lent-pages-files", 2, what_stays_lent_is_the_reason_to_keep_pages);
	ADD("lent-kept", 0, a_region_that_stays_keeps_what_is_lent);
	ADD("asked-for", 0, pages_that_are_asked_for_are_not_given_up);
	ADD("nothing", 0, nothing_can_be_claimed);
	return g_test_run();
}

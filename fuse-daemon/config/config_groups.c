// SPDX-License-Identifier: GPL-2.0-or-later
/* Reads and writes the groups [region NAME] (ranges of reserved memory) and [quota NAME] (limits of directory trees). */
#include "config/config_groups.h"

#include <string.h>

#include "base/page_order.h"
#include "config/config_keys.h"

#define NODE_MAX 1023 /* the largest node number of any kernel: CONFIG_NODES_SHIFT is at most 10 */

static const char *const region_keys[] = { "start", "size", "node", "pages", NULL };
static const char *const quota_keys[] = { "path", "max-bytes", "max-files", NULL };

const char **config_group_keys(const char *group)
{
	if (g_str_has_prefix(group, CONFIG_REGION_PREFIX))
		return g_memdup2(region_keys, sizeof(region_keys));
	if (g_str_has_prefix(group, CONFIG_QUOTA_PREFIX))
		return g_memdup2(quota_keys, sizeof(quota_keys));
	return NULL;
}

void config_region_free(gpointer data)
{
	struct region_config *region = data;

	g_free(region->name);
	g_free(region);
}

void config_quota_free(gpointer data)
{
	struct quota_config *quota = data;

	g_free(quota->name);
	g_free(quota->path);
	g_free(quota);
}

static bool require(const struct config_text *text, const char *group, const char *key, const char *remedy)
{
	return config_text_has(text, group, key) || config_text_fail(text, group, key, "is missing: %s", remedy);
}

static void load_automatic_region(const struct config_text *text, const char *group, const struct config *config)
{
	static const char *const foreign[] = { "size", "node" };

	if (config->backend != BACKEND_PFN && !config_text_failed(text, CONFIG_DAEMON, "backend"))
		config_text_fail(text, group, "start",
		                 "auto needs backend=pfn: set that, or give start and size in bytes");
	for (size_t i = 0; i < G_N_ELEMENTS(foreign); i++) {
		if (config_text_has(text, group, foreign[i]) && !config_text_is(text, group, foreign[i], "auto"))
			config_text_fail(text, group, foreign[i],
			                 "is found out by the daemon with start=auto: remove this line");
	}
}

static bool get_node(const struct config_text *text, const char *group, int *node)
{
	uint64_t number;

	*node = -1;
	if (!config_text_has(text, group, "node") || config_text_is(text, group, "node", "auto"))
		return true;
	if (!config_text_get_number(text, group, "node", 0, NODE_MAX, &number))
		return false;
	*node = (int)number;
	return true;
}

static bool check_end(const struct config_text *text, const char *group, const struct region_config *region)
{
	if (region->start <= INT64_MAX && region->size <= (uint64_t)INT64_MAX - region->start)
		return true;
	return config_text_fail(text, group, "size", "start + size is past 2^63: use smaller numbers");
}

static bool fits(const struct region_config *region, unsigned order)
{
	return (region->start | region->size) % page_order_alignment(order) == 0;
}

/* Fails when start or size do not fit the pages of the region, and names the nearest that do. */
static bool check_alignment(const struct config_text *text, const char *group, const struct region_config *region)
{
	const struct extent range = { region->start, region->size };
	uint64_t alignment = page_order_alignment(region->order);
	g_autofree char *unit = config_format_size(alignment);
	g_autofree char *advice = page_order_advice(range, alignment);
	g_autofree char *given = NULL;
	bool bad_start = range.start % alignment;
	const char *key;

	/* Raw memory only has to be a multiple of page-size. */
	if (region->order == PAGE_ORDER_NONE || fits(region, region->order))
		return true;
	key = bad_start ? "start" : "size";
	given = config_text_quote(text, group, key, bad_start ? range.start : range.length);
	return config_text_fail(text, group, key,
	                        "%s is not a multiple of %s, as pages=%s needs: use %s, or pages=none", given, unit,
	                        page_order_name(region->order), advice);
}

/* Files own whole compound pages. @page_size: 0 when it is not known. */
static bool check_page_size(const struct config_text *text, const char *group, uint64_t page_size, unsigned order)
{
	g_autofree char *page = config_format_size(page_size);

	if (page_size % page_order_bytes(order) == 0)
		return true;
	return config_text_fail(text, group, "pages",
	                        "page-size is %s, but a file has whole compound pages, of %s: use page-size=%s in "
	                        "[daemon], or smaller pages here",
	                        page, page_order_name(order), page_order_name(order));
}

static bool check_range(const struct config_text *text, const char *group, uint64_t page_size,
                        struct region_config *region)
{
	bool good;

	if (!check_end(text, group, region))
		return false;
	while (region->any_order && region->order != PAGE_ORDER_NONE && !fits(region, region->order))
		region->order -= PAGE_ORDER_STEP;
	if (!check_alignment(text, group, region))
		return false;
	good = config_text_check_multiple(text, group, "start", region->start, page_size);
	return config_text_get_pages(text, group, "size", page_size, &region->size) && good;
}

/* @good: so far. A region with a mistake becomes an empty one, which overlaps none. */
static void load_fixed_region(const struct config_text *text, const char *group, uint64_t page_size,
                              struct region_config *region, bool good)
{
	good &= require(text, group, "size", "give it in bytes");
	good &= config_text_get_size(text, group, "start", &region->start);
	good &= config_text_get_size(text, group, "size", &region->size);
	good &= !config_text_failed(text, group, "start") && !config_text_failed(text, group, "size");
	if (!good || !check_range(text, group, page_size, region))
		region->start = region->size = 0;
	get_node(text, group, &region->node);
}

/* Is the group a range of whole gigabytes, or would pages=1G refuse it anyway? */
static bool has_whole_gigabytes(const struct config_text *text, const char *group)
{
	uint64_t start = 0, size = 0;

	if (config_text_is(text, group, "start", "auto") || config_text_is(text, group, "pages", "1G"))
		return true;
	return !config_text_get_size(text, group, "start", &start) ||
	       !config_text_get_size(text, group, "size", &size) || (start | size) % DMEMFS_PAGE_1G == 0;
}

uint64_t config_default_page_size(const struct config_text *text)
{
	g_auto(GStrv) groups = g_key_file_get_groups(text->keys, NULL);

	for (char **group = groups; *group; group++) {
		if (g_str_has_prefix(*group, CONFIG_REGION_PREFIX) && !has_whole_gigabytes(text, *group))
			return DMEMFS_PAGE_2M;
	}
	/* Reserved memory is for guests, whose RAM is whole gigabytes. */
	return DMEMFS_PAGE_1G;
}

/* That of the largest compound pages that page-size is a multiple of. The memory backend has no pages of its own. */
static unsigned default_order(const struct config *config)
{
	if (config->backend != BACKEND_PFN || config->page_size < DMEMFS_PAGE_2M)
		return PAGE_ORDER_NONE;
	return config->page_size < DMEMFS_PAGE_1G ? PAGE_ORDER_2M : PAGE_ORDER_1G;
}

static void load_region(const struct config_text *text, const char *group, struct config *config)
{
	struct region_config *region = g_new0(struct region_config, 1);
	unsigned kind = default_order(config) / PAGE_ORDER_STEP;
	bool good;

	g_ptr_array_add(config->regions, region);
	region->name = g_strdup(group + strlen(CONFIG_REGION_PREFIX));
	region->node = -1;
	good = require(text, group, "start", "give an address, or auto");
	good &= config_text_get_choice(text, group, "pages", page_order_names, &kind);
	region->order = kind * PAGE_ORDER_STEP;
	region->any_order = !config_text_has(text, group, "pages");
	good &= check_page_size(text, group, config->page_size, region->order);
	region->automatic = config_text_is(text, group, "start", "auto");
	if (region->automatic)
		load_automatic_region(text, group, config);
	else
		load_fixed_region(text, group, config->page_size, region, good);
}

static bool get_limit(const struct config_text *text, const char *group, const char *key, uint64_t *limit)
{
	bool bytes = g_str_equal(key, "max-bytes");

	*limit = CONFIG_UNLIMITED;
	if (!config_text_has(text, group, key))
		return true;
	if (!(bytes ? config_text_get_size(text, group, key, limit)
	            : config_text_get_number(text, group, key, 1, INT64_MAX, limit)))
		return false;
	return *limit > 0 || config_text_fail(text, group, key, "is zero: use at least 1, or remove this line");
}

static void load_quota(const struct config_text *text, const char *group, struct config *config)
{
	struct quota_config *quota = g_new0(struct quota_config, 1);

	g_ptr_array_add(config->quotas, quota);
	quota->name = g_strdup(group + strlen(CONFIG_QUOTA_PREFIX));
	require(text, group, "path", "give a directory inside the mount, such as /tenant");
	config_text_get_path(text, group, "path", &quota->path);
	get_limit(text, group, "max-bytes", &quota->max_bytes);
	get_limit(text, group, "max-files", &quota->max_files);
	if (!config_text_has(text, group, "max-bytes") && !config_text_has(text, group, "max-files"))
		config_text_fail(text, group, NULL, "has no limit: set max-bytes or max-files");
	for (guint i = 0; quota->path && i + 1 < config->quotas->len; i++) {
		const struct quota_config *other = g_ptr_array_index(config->quotas, i);

		if (g_strcmp0(other->path, quota->path) == 0)
			config_text_fail(text, group, "path", "[quota %s] has the same path: merge the two groups",
			                 other->name);
	}
}

static gint compare_regions(gconstpointer a, gconstpointer b)
{
	const struct region_config *first = *(struct region_config *const *)a;
	const struct region_config *second = *(struct region_config *const *)b;

	return (first->start > second->start) - (first->start < second->start);
}

/* @config->regions are sorted by start. */
static void check_regions(const struct config_text *text, const struct config *config)
{
	const struct region_config *before = NULL; /* of those before, the one that ends last */

	for (guint i = 0; i < config->regions->len; i++) {
		const struct region_config *region = g_ptr_array_index(config->regions, i);
		g_autofree char *group = g_strconcat(CONFIG_REGION_PREFIX, region->name, NULL);

		if (i == DMEMFS_MAX_REGIONS)
			config_text_fail(text, group, NULL, "more than %d regions: merge adjacent ones",
			                 DMEMFS_MAX_REGIONS);
		if (region->automatic && config->regions->len > 1)
			config_text_fail(text, group, "start",
			                 "auto takes every reserved range: remove the other [region] groups");
		if (before && before->start + before->size > region->start)
			config_text_fail(text, group, "start",
			                 "the region overlaps [region %s]: change start or size of one of them",
			                 before->name);
		if (!before || region->start + region->size > before->start + before->size)
			before = region;
	}
}

void config_load_groups(const struct config_text *text, struct config *config)
{
	g_auto(GStrv) groups = g_key_file_get_groups(text->keys, NULL);

	for (char **group = groups; *group; group++) {
		if (g_str_has_prefix(*group, CONFIG_REGION_PREFIX))
			load_region(text, *group, config);
		if (g_str_has_prefix(*group, CONFIG_QUOTA_PREFIX))
			load_quota(text, *group, config);
	}
	g_ptr_array_sort(config->regions, compare_regions);
	check_regions(text, config);
}

static void dump_region(gpointer data, gpointer keys)
{
	const struct region_config *region = data;
	g_autofree char *group = g_strconcat(CONFIG_REGION_PREFIX, region->name, NULL);
	g_autofree char *start = g_strdup_printf("0x%" G_GINT64_MODIFIER "x", region->start);

	g_key_file_set_string(keys, group, "start", region->automatic ? "auto" : start);
	g_key_file_set_string(keys, group, "pages", page_order_name(region->order));
	if (region->automatic)
		return;
	config_text_set_size(keys, group, "size", region->size);
	if (region->node < 0)
		g_key_file_set_string(keys, group, "node", "auto");
	else
		g_key_file_set_integer(keys, group, "node", region->node);
}

static void dump_quota(gpointer data, gpointer keys)
{
	const struct quota_config *quota = data;
	g_autofree char *group = g_strconcat(CONFIG_QUOTA_PREFIX, quota->name, NULL);

	config_text_set_path(keys, group, "path", quota->path);
	if (quota->max_bytes != CONFIG_UNLIMITED)
		config_text_set_size(keys, group, "max-bytes", quota->max_bytes);
	if (quota->max_files != CONFIG_UNLIMITED)
		g_key_file_set_uint64(keys, group, "max-files", quota->max_files);
}

void config_groups_dump(GKeyFile *keys, const struct config *config)
{
	g_ptr_array_foreach(config->regions, dump_region, keys);
	g_ptr_array_foreach(config->quotas, dump_quota, keys);
}

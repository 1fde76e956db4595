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

static bool require(const struct config_text *text, const char *group, const char *key, const char *remedy,
                    GError **error)
{
	return config_text_has(text, group, key) || config_text_fail(text, group, key, error, "is missing: %s", remedy);
}

static bool load_automatic_region(const struct config_text *text, const char *group, const struct config *config,
                                  GError **error)
{
	static const char *const foreign[] = { "size", "node" };

	if (config->backend != BACKEND_PFN)
		return config_text_fail(text, group, "start", error,
		                        "auto needs backend=pfn: set that, or give start and size in bytes");
	for (size_t i = 0; i < G_N_ELEMENTS(foreign); i++) {
		if (config_text_has(text, group, foreign[i]) && !config_text_is(text, group, foreign[i], "auto"))
			return config_text_fail(text, group, foreign[i], error,
			                        "is found out by the daemon with start=auto: remove this line");
	}
	return true;
}

static bool get_node(const struct config_text *text, const char *group, int *node, GError **error)
{
	uint64_t number;

	*node = -1;
	if (!config_text_has(text, group, "node") || config_text_is(text, group, "node", "auto"))
		return true;
	if (!config_text_get_number(text, group, "node", 0, NODE_MAX, &number, error))
		return false;
	*node = (int)number;
	return true;
}

static bool check_end(const struct config_text *text, const char *group, const struct region_config *region,
                      GError **error)
{
	if (region->start <= INT64_MAX && region->size <= (uint64_t)INT64_MAX - region->start)
		return true;
	return config_text_fail(text, group, "size", error, "start + size is past 2^63: use smaller numbers");
}

static bool fits(const struct region_config *region, unsigned order)
{
	return (region->start | region->size) % page_order_alignment(order) == 0;
}

/* Fails when start or size do not fit the pages of the region, and names the nearest that do. */
static bool check_alignment(const struct config_text *text, const char *group, const struct region_config *region,
                            GError **error)
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
	return config_text_fail(text, group, key, error,
	                        "%s is not a multiple of %s, as pages=%s needs: use %s, or pages=none", given, unit,
	                        page_order_name(region->order), advice);
}

/* Files own whole compound pages. */
static bool check_page_size(const struct config_text *text, const char *group, uint64_t page_size, unsigned order,
                            GError **error)
{
	g_autofree char *page = config_format_size(page_size);

	if (page_size % page_order_bytes(order) == 0)
		return true;
	return config_text_fail(text, group, "pages", error,
	                        "page-size is %s, but a file has whole compound pages, of %s: use page-size=%s in "
	                        "[daemon], or smaller pages here",
	                        page, page_order_name(order), page_order_name(order));
}

static bool load_fixed_region(const struct config_text *text, const char *group, uint64_t page_size,
                              struct region_config *region, GError **error)
{
	if (!require(text, group, "size", "give it in bytes", error) ||
	    !config_text_get_size(text, group, "start", &region->start, error) ||
	    !config_text_get_size(text, group, "size", &region->size, error) || !check_end(text, group, region, error))
		return false;
	while (region->any_order && region->order != PAGE_ORDER_NONE && !fits(region, region->order))
		region->order -= PAGE_ORDER_STEP;
	if (!check_alignment(text, group, region, error) ||
	    !config_text_check_multiple(text, group, "start", region->start, page_size, error) ||
	    !config_text_get_pages(text, group, "size", page_size, &region->size, error) ||
	    !get_node(text, group, &region->node, error))
		return false;
	return true;
}

/* Is the group a range of whole gigabytes, or would pages=1G refuse it anyway? */
static bool has_whole_gigabytes(const struct config_text *text, const char *group)
{
	uint64_t start = 0, size = 0;

	if (config_text_is(text, group, "start", "auto") || config_text_is(text, group, "pages", "1G"))
		return true;
	return !config_text_get_size(text, group, "start", &start, NULL) ||
	       !config_text_get_size(text, group, "size", &size, NULL) || (start | size) % DMEMFS_PAGE_1G == 0;
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

static bool load_region(const struct config_text *text, const char *group, struct config *config, GError **error)
{
	struct region_config *region = g_new0(struct region_config, 1);
	unsigned kind = default_order(config) / PAGE_ORDER_STEP;

	g_ptr_array_add(config->regions, region);
	region->name = g_strdup(group + strlen(CONFIG_REGION_PREFIX));
	region->node = -1;
	if (!require(text, group, "start", "give an address, or auto", error) ||
	    !config_text_get_choice(text, group, "pages", page_order_names, &kind, error))
		return false;
	region->order = kind * PAGE_ORDER_STEP;
	region->any_order = !config_text_has(text, group, "pages");
	if (!check_page_size(text, group, config->page_size, region->order, error))
		return false;
	region->automatic = config_text_is(text, group, "start", "auto");
	return region->automatic ? load_automatic_region(text, group, config, error)
	                         : load_fixed_region(text, group, config->page_size, region, error);
}

static bool get_limit(const struct config_text *text, const char *group, const char *key, uint64_t *limit,
                      GError **error)
{
	bool bytes = g_str_equal(key, "max-bytes");

	*limit = CONFIG_UNLIMITED;
	if (!config_text_has(text, group, key))
		return true;
	if (!(bytes ? config_text_get_size(text, group, key, limit, error)
	            : config_text_get_number(text, group, key, 1, INT64_MAX, limit, error)))
		return false;
	return *limit > 0 || config_text_fail(text, group, key, error, "is zero: use at least 1, or remove this line");
}

static bool load_quota(const struct config_text *text, const char *group, struct config *config, GError **error)
{
	struct quota_config *quota = g_new0(struct quota_config, 1);

	g_ptr_array_add(config->quotas, quota);
	quota->name = g_strdup(group + strlen(CONFIG_QUOTA_PREFIX));
	if (!require(text, group, "path", "give a directory inside the mount, such as /tenant", error) ||
	    !config_text_get_path(text, group, "path", &quota->path, error) ||
	    !get_limit(text, group, "max-bytes", &quota->max_bytes, error) ||
	    !get_limit(text, group, "max-files", &quota->max_files, error))
		return false;
	if (quota->max_bytes == CONFIG_UNLIMITED && quota->max_files == CONFIG_UNLIMITED)
		return config_text_fail(text, group, NULL, error, "has no limit: set max-bytes or max-files");
	for (guint i = 0; i + 1 < config->quotas->len; i++) {
		const struct quota_config *other = g_ptr_array_index(config->quotas, i);

		if (g_str_equal(other->path, quota->path))
			return config_text_fail(text, group, "path", error,
			                        "[quota %s] has the same path: merge the two groups", other->name);
	}
	return true;
}

static gint compare_regions(gconstpointer a, gconstpointer b)
{
	const struct region_config *first = *(struct region_config *const *)a;
	const struct region_config *second = *(struct region_config *const *)b;

	return (first->start > second->start) - (first->start < second->start);
}

/* @config->regions are sorted by start. */
static bool check_regions(const struct config_text *text, const struct config *config, GError **error)
{
	const struct region_config *before = NULL;

	for (guint i = 0; i < config->regions->len; i++) {
		const struct region_config *region = g_ptr_array_index(config->regions, i);
		g_autofree char *group = g_strconcat(CONFIG_REGION_PREFIX, region->name, NULL);

		if (i == DMEMFS_MAX_REGIONS)
			return config_text_fail(text, group, NULL, error, "more than %d regions: merge adjacent ones",
			                        DMEMFS_MAX_REGIONS);
		if (region->automatic && config->regions->len > 1)
			return config_text_fail(text, group, "start", error,
			                        "auto takes every reserved range: remove the other [region] groups");
		if (before && before->start + before->size > region->start)
			return config_text_fail(text, group, "start", error,
			                        "the region overlaps [region %s]: change start or size of one of them",
			                        before->name);
		before = region;
	}
	return true;
}

bool config_load_groups(const struct config_text *text, struct config *config, GError **error)
{
	g_auto(GStrv) groups = g_key_file_get_groups(text->keys, NULL);

	for (char **group = groups; *group; group++) {
		if (g_str_has_prefix(*group, CONFIG_REGION_PREFIX) && !load_region(text, *group, config, error))
			return false;
		if (g_str_has_prefix(*group, CONFIG_QUOTA_PREFIX) && !load_quota(text, *group, config, error))
			return false;
	}
	g_ptr_array_sort(config->regions, compare_regions);
	return check_regions(text, config, error);
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

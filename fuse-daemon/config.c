// SPDX-License-Identifier: GPL-2.0-or-later
/* The configuration file: its keys, their defaults, and what must hold between them. */
#include "config.h"

#include <string.h>
#include <unistd.h>

#include "allocator.h"
#include "config_text.h"

#define DAEMON         "daemon"
#define REGION_PREFIX  "region "
#define QUOTA_PREFIX   "quota "
#define NAME_MAX_BYTES 63
#define NODE_MAX       1023 /* of a kernel with CONFIG_NODES_SHIFT=10, the largest there is */
#define THREADS_MAX    256
#define UNLIMITED      UINT64_MAX

static const char *const daemon_keys[] = { "mountpoint", "state-dir", "backend", "page-size", "size", "alloc",
	                                   "memory-dir", "populate", "threads", NULL };
static const char *const region_keys[] = { "start", "size", "node", NULL };
static const char *const quota_keys[] = { "path", "max-bytes", "max-files", NULL };

static const char *const backend_names[] = { [BACKEND_MEMORY] = "memory", [BACKEND_PFN] = "pfn", NULL };
static const char *const alloc_names[] = { [ALLOC_EAGER] = "eager", [ALLOC_DEMAND] = "demand", NULL };

G_DEFINE_QUARK(dmemfs-config-error-quark, config_error)

static void region_free(gpointer data)
{
	struct region_config *region = data;

	g_free(region->name);
	g_free(region);
}

static void quota_free(gpointer data)
{
	struct quota_config *quota = data;

	g_free(quota->name);
	g_free(quota->path);
	g_free(quota);
}

void config_destroy(struct config *config)
{
	if (!config)
		return;
	g_free(config->file);
	g_free(config->mountpoint);
	g_free(config->state_dir);
	g_free(config->memory_dir);
	g_ptr_array_unref(config->regions);
	g_ptr_array_unref(config->quotas);
	g_free(config);
}

static const char *const *keys_of_group(const char *group)
{
	if (g_str_equal(group, DAEMON))
		return daemon_keys;
	if (g_str_has_prefix(group, REGION_PREFIX))
		return region_keys;
	if (g_str_has_prefix(group, QUOTA_PREFIX))
		return quota_keys;
	return NULL;
}

static bool check_keys(const struct config_text *text, const char *group, const char *const *known, GError **error)
{
	g_auto(GStrv) keys = g_key_file_get_keys(text->keys, group, NULL, NULL);

	for (char **key = keys; *key; key++) {
		g_autofree char *list = NULL;

		if (g_strv_contains(known, *key))
			continue;
		list = g_strjoinv(", ", (char **)known);
		return config_text_fail(text, group, *key, error, "unknown key: this group has %s", list);
	}
	return true;
}

static bool check_name(const struct config_text *text, const char *group, GError **error)
{
	const char *space = strchr(group, ' ');
	size_t length = space ? strspn(space + 1, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "._-") : 0;

	if (space && (length == 0 || length > NAME_MAX_BYTES || space[1 + length]))
		return config_text_fail(text, group, NULL, error,
		                        "not a name: use 1 to %d letters, digits, '.', '_' or '-'", NAME_MAX_BYTES);
	return true;
}

static bool check_groups(const struct config_text *text, GError **error)
{
	g_auto(GStrv) groups = g_key_file_get_groups(text->keys, NULL);

	for (char **group = groups; *group; group++) {
		const char *const *known = keys_of_group(*group);

		if (!known)
			return config_text_fail(text, *group, NULL, error,
			                        "unknown group: use [daemon], [region NAME] or [quota NAME]");
		if (!check_name(text, *group, error) || !check_keys(text, *group, known, error))
			return false;
	}
	if (!g_key_file_has_group(text->keys, DAEMON))
		return config_text_fail(text, NULL, NULL, error, "no [daemon] group: add the line [daemon]");
	return true;
}

static bool check_multiple(const struct config_text *text, const char *group, const char *key, uint64_t bytes,
                           uint64_t page_size, GError **error)
{
	g_autofree char *page = config_format_size(page_size);
	g_autofree char *nearest = config_format_size(MAX(bytes - bytes % page_size, page_size));

	if (bytes % page_size == 0)
		return true;
	return config_text_fail(text, group, key, error, "is not a multiple of page-size, %s: use %s, for example", page,
	                        nearest);
}

/* A size that must be there, be more than nothing and consist of whole pages. */
static bool get_pages(const struct config_text *text, const char *group, const char *key, uint64_t page_size,
                      uint64_t *bytes, GError **error)
{
	if (!config_text_get_size(text, group, key, bytes, error))
		return false;
	if (*bytes == 0)
		return config_text_fail(text, group, key, error, "is zero: use at least one page");
	return check_multiple(text, group, key, *bytes, page_size, error);
}

static bool get_page_size(const struct config_text *text, struct config *config, GError **error)
{
	if (!config_text_get_size(text, DAEMON, "page-size", &config->page_size, error))
		return false;
	if (config->page_size == DMEMFS_PAGE_4K || config->page_size == DMEMFS_PAGE_2M ||
	    config->page_size == DMEMFS_PAGE_1G)
		return true;
	return config_text_fail(text, DAEMON, "page-size", error, "is no size of a page: use 4K, 2M or 1G");
}

static bool get_threads(const struct config_text *text, struct config *config, GError **error)
{
	uint64_t threads = CLAMP(2 * g_get_num_processors(), 4, 16);

	if (!config_text_get_number(text, DAEMON, "threads", 1, THREADS_MAX, &threads, error))
		return false;
	config->threads = (unsigned)threads;
	return true;
}

static bool load_daemon(const struct config_text *text, struct config *config, GError **error)
{
	unsigned backend = BACKEND_MEMORY;
	unsigned alloc = ALLOC_EAGER;

	config->mountpoint = g_strdup("/mnt/dmemfs");
	config->state_dir = g_strdup("/var/lib/dmemfs");
	config->page_size = DMEMFS_PAGE_2M;
	if (!config_text_get_path(text, DAEMON, "mountpoint", &config->mountpoint, error) ||
	    !config_text_get_path(text, DAEMON, "state-dir", &config->state_dir, error) ||
	    !config_text_get_choice(text, DAEMON, "backend", backend_names, &backend, error) ||
	    !config_text_get_choice(text, DAEMON, "alloc", alloc_names, &alloc, error) ||
	    !get_page_size(text, config, error) || !get_threads(text, config, error))
		return false;
	config->backend = (enum backend_kind)backend;
	config->alloc = (enum alloc_mode)alloc;
	return true;
}

/* Daemons with state directories of their own must not share the memory of their files by default. */
static char *default_memory_dir(const char *state_dir)
{
	g_autofree char *digest = g_compute_checksum_for_string(G_CHECKSUM_SHA256, state_dir, -1);

	return g_strdup_printf("/dev/shm/dmemfs-%.8s", digest);
}

/* Half of the machine's RAM, which is also what tmpfs gives at most by default (tmpfs(5)). */
static uint64_t default_size(uint64_t page_size)
{
	uint64_t ram = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);

	return ram / 2 / page_size * page_size;
}

static bool get_capacity(const struct config_text *text, struct config *config, GError **error)
{
	bool given = config_text_has(text, DAEMON, "size");

	if (config->regions->len > 0) {
		if (given)
			return config_text_fail(text, DAEMON, "size", error,
			                        "the [region] groups say how much memory there is: remove this line, or them");
		return true;
	}
	config->size = default_size(config->page_size);
	if (!given && config->size == 0)
		return config_text_fail(text, DAEMON, "page-size", error,
		                        "half of this machine's RAM is less than one page: set size, or use a smaller page");
	return get_pages(text, DAEMON, "size", config->page_size, &config->size, error);
}

static bool load_memory_backend(const struct config_text *text, struct config *config, GError **error)
{
	config->memory_dir = default_memory_dir(config->state_dir);
	config->populate = true;
	return config_text_get_path(text, DAEMON, "memory-dir", &config->memory_dir, error) &&
	       config_text_get_bool(text, DAEMON, "populate", &config->populate, error) &&
	       get_capacity(text, config, error);
}

static bool load_pfn_backend(const struct config_text *text, const struct config *config, GError **error)
{
	static const char *const foreign[] = { "size", "memory-dir", "populate" };

	for (size_t i = 0; i < G_N_ELEMENTS(foreign); i++) {
		if (config_text_has(text, DAEMON, foreign[i]))
			return config_text_fail(text, DAEMON, foreign[i], error,
			                        "has no meaning with backend=pfn: remove this line");
	}
	if (config->regions->len == 0)
		return config_text_fail(text, DAEMON, "backend", error,
		                        "backend=pfn has no memory: add a group [region NAME] with start and size, or start=auto");
	return true;
}

static bool require(const struct config_text *text, const char *group, const char *key, const char *remedy,
                    GError **error)
{
	return config_text_has(text, group, key) ||
	       config_text_fail(text, group, key, error, "is missing: %s", remedy);
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
			return config_text_fail(text, group, foreign[i], error, "comes from the machine with start=auto: remove this line");
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

static bool load_fixed_region(const struct config_text *text, const char *group, uint64_t page_size,
                              struct region_config *region, GError **error)
{
	if (!require(text, group, "size", "give it in bytes", error) ||
	    !config_text_get_size(text, group, "start", &region->start, error) ||
	    !check_multiple(text, group, "start", region->start, page_size, error) ||
	    !get_pages(text, group, "size", page_size, &region->size, error) ||
	    !get_node(text, group, &region->node, error))
		return false;
	if (region->size > (uint64_t)INT64_MAX - region->start)
		return config_text_fail(text, group, "size", error,
		                        "start + size is past 2^63: use smaller numbers");
	return true;
}

static bool load_region(const struct config_text *text, const char *group, struct config *config, GError **error)
{
	struct region_config *region = g_new0(struct region_config, 1);

	g_ptr_array_add(config->regions, region);
	region->name = g_strdup(group + strlen(REGION_PREFIX));
	region->node = -1;
	if (!require(text, group, "start", "give an address, or auto", error))
		return false;
	region->automatic = config_text_is(text, group, "start", "auto");
	return region->automatic ? load_automatic_region(text, group, config, error) :
	                           load_fixed_region(text, group, config->page_size, region, error);
}

static bool get_limit(const struct config_text *text, const char *group, const char *key, uint64_t *limit,
                      GError **error)
{
	bool bytes = g_str_equal(key, "max-bytes");

	*limit = UNLIMITED;
	if (!config_text_has(text, group, key))
		return true;
	if (!(bytes ? config_text_get_size(text, group, key, limit, error) :
	              config_text_get_number(text, group, key, 1, INT64_MAX, limit, error)))
		return false;
	return *limit > 0 || config_text_fail(text, group, key, error, "is zero: use at least 1, or remove this line");
}

static bool load_quota(const struct config_text *text, const char *group, struct config *config, GError **error)
{
	struct quota_config *quota = g_new0(struct quota_config, 1);

	g_ptr_array_add(config->quotas, quota);
	quota->name = g_strdup(group + strlen(QUOTA_PREFIX));
	if (!require(text, group, "path", "give a directory inside the mount, such as /tenant", error) ||
	    !config_text_get_path(text, group, "path", &quota->path, error) ||
	    !get_limit(text, group, "max-bytes", &quota->max_bytes, error) ||
	    !get_limit(text, group, "max-files", &quota->max_files, error))
		return false;
	if (quota->max_bytes == UNLIMITED && quota->max_files == UNLIMITED)
		return config_text_fail(text, group, NULL, error, "limits nothing: set max-bytes or max-files");
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
		g_autofree char *group = g_strconcat(REGION_PREFIX, region->name, NULL);

		if (i == ALLOCATOR_MAX_REGIONS)
			return config_text_fail(text, group, NULL, error, "more than %d regions: merge adjacent ones",
			                        ALLOCATOR_MAX_REGIONS);
		if (region->automatic && config->regions->len > 1)
			return config_text_fail(text, group, "start", error,
			                        "auto takes every reserved range: remove the other [region] groups");
		if (before && before->start + before->size > region->start)
			return config_text_fail(text, group, "start", error,
			                        "the region overlaps [region %s]: change start or size of one of them", before->name);
		before = region;
	}
	return true;
}

static bool load_groups(const struct config_text *text, struct config *config, GError **error)
{
	g_auto(GStrv) groups = g_key_file_get_groups(text->keys, NULL);

	for (char **group = groups; *group; group++) {
		if (g_str_has_prefix(*group, REGION_PREFIX) && !load_region(text, *group, config, error))
			return false;
		if (g_str_has_prefix(*group, QUOTA_PREFIX) && !load_quota(text, *group, config, error))
			return false;
	}
	g_ptr_array_sort(config->regions, compare_regions);
	return check_regions(text, config, error);
}

/* Is @path @directory, or below it? Both are absolute and have no superfluous slashes. */
static bool lies_in(const char *path, const char *directory)
{
	size_t length = strlen(directory);

	if (g_str_equal(directory, "/"))
		return true;
	return strncmp(path, directory, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

static bool check_apart(const struct config_text *text, const char *key, const char *path, const char *mountpoint,
                        GError **error)
{
	if (!lies_in(path, mountpoint) && !lies_in(mountpoint, path))
		return true;
	return config_text_fail(text, DAEMON, key, error,
	                        "%s and the mountpoint %s are one inside the other: put them apart", path, mountpoint);
}

static bool check_directories(const struct config_text *text, const struct config *config, GError **error)
{
	if (!check_apart(text, "state-dir", config->state_dir, config->mountpoint, error))
		return false;
	if (!config->memory_dir)
		return true;
	if (!check_apart(text, "memory-dir", config->memory_dir, config->mountpoint, error))
		return false;
	/* The other way round is fine: a state directory on tmpfs has room for the memory. */
	if (lies_in(config->state_dir, config->memory_dir))
		return config_text_fail(text, DAEMON, "memory-dir", error,
		                        "%s holds the state-dir, too: use a directory for nothing else", config->memory_dir);
	return true;
}

static bool load(const struct config_text *text, struct config *config, GError **error)
{
	if (!check_groups(text, error) || !load_daemon(text, config, error) || !load_groups(text, config, error))
		return false;
	if (!(config->backend == BACKEND_PFN ? load_pfn_backend(text, config, error) :
	                                       load_memory_backend(text, config, error)))
		return false;
	return check_directories(text, config, error);
}

struct config *config_load(const char *file, GError **error)
{
	g_autoptr(config_text_t) text = config_text_load(file, error);
	g_autoptr(config_t) config = g_new0(struct config, 1);

	config->file = g_strdup(file);
	config->regions = g_ptr_array_new_with_free_func(region_free);
	config->quotas = g_ptr_array_new_with_free_func(quota_free);
	if (!text || !load(text, config, error))
		return NULL;
	return g_steal_pointer(&config);
}

static void dump_size(GKeyFile *keys, const char *group, const char *key, uint64_t bytes)
{
	g_autofree char *text = config_format_size(bytes);

	g_key_file_set_string(keys, group, key, text);
}

static void dump_daemon(GKeyFile *keys, const struct config *config)
{
	g_key_file_set_string(keys, DAEMON, "mountpoint", config->mountpoint);
	g_key_file_set_string(keys, DAEMON, "state-dir", config->state_dir);
	g_key_file_set_string(keys, DAEMON, "backend", backend_names[config->backend]);
	dump_size(keys, DAEMON, "page-size", config->page_size);
	if (config->size)
		dump_size(keys, DAEMON, "size", config->size);
	g_key_file_set_string(keys, DAEMON, "alloc", alloc_names[config->alloc]);
	if (config->memory_dir) {
		g_key_file_set_string(keys, DAEMON, "memory-dir", config->memory_dir);
		g_key_file_set_boolean(keys, DAEMON, "populate", config->populate);
	}
	g_key_file_set_integer(keys, DAEMON, "threads", (gint)config->threads);
}

static void dump_region(gpointer data, gpointer keys)
{
	const struct region_config *region = data;
	g_autofree char *group = g_strconcat(REGION_PREFIX, region->name, NULL);
	g_autofree char *start = g_strdup_printf("0x%" G_GINT64_MODIFIER "x", region->start);

	g_key_file_set_string(keys, group, "start", region->automatic ? "auto" : start);
	if (region->automatic)
		return;
	dump_size(keys, group, "size", region->size);
	if (region->node < 0)
		g_key_file_set_string(keys, group, "node", "auto");
	else
		g_key_file_set_integer(keys, group, "node", region->node);
}

static void dump_quota(gpointer data, gpointer keys)
{
	const struct quota_config *quota = data;
	g_autofree char *group = g_strconcat(QUOTA_PREFIX, quota->name, NULL);

	g_key_file_set_string(keys, group, "path", quota->path);
	if (quota->max_bytes != UNLIMITED)
		dump_size(keys, group, "max-bytes", quota->max_bytes);
	if (quota->max_files != UNLIMITED)
		g_key_file_set_uint64(keys, group, "max-files", quota->max_files);
}

char *config_dump(const struct config *config)
{
	g_autoptr(GKeyFile) keys = g_key_file_new();

	dump_daemon(keys, config);
	g_ptr_array_foreach(config->regions, dump_region, keys);
	g_ptr_array_foreach(config->quotas, dump_quota, keys);
	return g_key_file_to_data(keys, NULL, NULL);
}

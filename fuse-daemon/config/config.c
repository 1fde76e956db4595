// SPDX-License-Identifier: GPL-2.0-or-later
/* Reads the configuration: keys, their defaults, and the conditions between keys. */
#include "config/config.h"

#include <string.h>
#include <unistd.h>

#include "base/extent.h"
#include "config/config_groups.h"
#include "config/config_keys.h"
#include "config/config_text.h"

#define THREADS_MAX 256
/* Bytes. About as much as NAMESPACE_INODES_MAX files take. */
#define MAX_METADATA_DEFAULT (UINT64_C(2) << 30)
#define MAX_METADATA_LEAST   (UINT64_C(1) << 20)
#define METRICS_INTERVAL_MAX 3600
#define OVERCOMMIT_MAX       1000.0

void config_destroy(struct config *config)
{
	if (!config)
		return;
	g_free(config->file);
	g_free(config->mountpoint);
	g_free(config->state_dir);
	g_free(config->memory_dir);
	g_free(config->metrics_file);
	g_ptr_array_unref(config->regions);
	g_ptr_array_unref(config->quotas);
	g_free(config);
}

static bool get_page_size(const struct config_text *text, const char *key, uint64_t *size, GError **error)
{
	if (!config_text_get_size(text, CONFIG_DAEMON, key, size, error))
		return false;
	if (*size == DMEMFS_PAGE_4K || *size == DMEMFS_PAGE_2M || *size == DMEMFS_PAGE_1G)
		return true;
	return config_text_fail(text, CONFIG_DAEMON, key, error, "is not a page size: use 4K, 2M or 1G");
}

static bool get_max_metadata(const struct config_text *text, struct config *config, GError **error)
{
	config->max_metadata = MAX_METADATA_DEFAULT;
	if (!config_text_get_size(text, CONFIG_DAEMON, "max-metadata", &config->max_metadata, error))
		return false;
	if (config->max_metadata >= MAX_METADATA_LEAST)
		return true;
	return config_text_fail(text, CONFIG_DAEMON, "max-metadata", error,
	                        "is too small: use at least 1M; the default is 2G");
}

static bool get_threads(const struct config_text *text, struct config *config, GError **error)
{
	uint64_t threads = CLAMP(2 * g_get_num_processors(), 8, 16);

	if (!config_text_get_number(text, CONFIG_DAEMON, "threads", 1, THREADS_MAX, &threads, error))
		return false;
	config->threads = (unsigned)threads;
	return true;
}

static bool get_metrics(const struct config_text *text, struct config *config, GError **error)
{
	uint64_t interval = 15; /* seconds; Prometheus usually scrapes every 15 s to 60 s */

	if (!config_text_get_path(text, CONFIG_DAEMON, "metrics-file", &config->metrics_file, error) ||
	    !config_text_get_number(text, CONFIG_DAEMON, "metrics-interval", 1, METRICS_INTERVAL_MAX, &interval, error))
		return false;
	config->metrics_interval = (unsigned)interval;
	if (!config->metrics_file || g_str_has_suffix(config->metrics_file, ".prom"))
		return true;
	return config_text_fail(text, CONFIG_DAEMON, "metrics-file", error,
	                        "\"%s\" does not end in .prom: node_exporter reads only such files: rename it",
	                        config->metrics_file);
}

static bool load_daemon(const struct config_text *text, struct config *config, GError **error)
{
	unsigned backend = BACKEND_MEMORY;
	unsigned alloc = ALLOC_EAGER;
	unsigned lost_contents = LOST_ZERO;

	config->mountpoint = g_strdup("/mnt/dmemfs");
	config->state_dir = g_strdup("/var/lib/dmemfs");
	config->page_size = config->demand_extent = DMEMFS_PAGE_2M;
	config->overcommit = 1.0;
	config->zero_in_advance = true;
	if (!config_text_get_path(text, CONFIG_DAEMON, "mountpoint", &config->mountpoint, error) ||
	    !config_text_get_path(text, CONFIG_DAEMON, "state-dir", &config->state_dir, error) ||
	    !config_text_get_choice(text, CONFIG_DAEMON, "backend", config_backend_names, &backend, error) ||
	    !config_text_get_choice(text, CONFIG_DAEMON, "alloc", config_alloc_names, &alloc, error) ||
	    !config_text_get_choice(text, CONFIG_DAEMON, "lost-contents", config_lost_names, &lost_contents, error) ||
	    !config_text_get_bool(text, CONFIG_DAEMON, "zero-in-advance", &config->zero_in_advance, error) ||
	    !config_text_get_size(text, CONFIG_DAEMON, "zero-rate", &config->zero_rate, error) ||
	    !get_page_size(text, "page-size", &config->page_size, error) ||
	    !get_page_size(text, "demand-extent", &config->demand_extent, error) ||
	    !config_text_get_factor(text, CONFIG_DAEMON, "overcommit", OVERCOMMIT_MAX, &config->overcommit, error) ||
	    !get_max_metadata(text, config, error) || !get_threads(text, config, error) ||
	    !get_metrics(text, config, error))
		return false;
	config->backend = (enum backend_kind)backend;
	config->alloc = (enum alloc_mode)alloc;
	config->lost_contents = (enum lost_contents)lost_contents;
	return true;
}

/* By default, two daemons with different state directories must have different memory directories. */
static char *default_memory_dir(const char *state_dir)
{
	g_autofree char *digest = g_compute_checksum_for_string(G_CHECKSUM_SHA256, state_dir, -1);

	return g_strdup_printf("/dev/shm/dmemfs-%.8s", digest);
}

/* Half of the machine's RAM in bytes, which is also the default limit of a tmpfs (tmpfs(5)). */
static uint64_t default_size(uint64_t page_size)
{
	uint64_t ram = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);

	return ram / 2 / page_size * page_size;
}

static bool get_capacity(const struct config_text *text, struct config *config, GError **error)
{
	bool given = config_text_has(text, CONFIG_DAEMON, "size");

	if (config->regions->len > 0) {
		if (given)
			return config_text_fail(text, CONFIG_DAEMON, "size", error,
			                        "the [region] groups set the size: remove this line, or those groups");
		return true;
	}
	config->size = default_size(config->page_size);
	if (!given && config->size == 0)
		return config_text_fail(
			text, CONFIG_DAEMON, "page-size", error,
			"half of this machine's RAM is less than one page: set size, or use a smaller page");
	return config_text_get_pages(text, CONFIG_DAEMON, "size", config->page_size, &config->size, error);
}

static bool load_memory_backend(const struct config_text *text, struct config *config, GError **error)
{
	if (config->alloc == ALLOC_DEMAND)
		return config_text_fail(text, CONFIG_DAEMON, "alloc", error,
		                        "demand needs backend=pfn, which gets page faults (tmpfs does not): use eager");
	config->memory_dir = default_memory_dir(config->state_dir);
	config->memory_dir_given = config_text_has(text, CONFIG_DAEMON, "memory-dir");
	config->populate = true;
	return config_text_get_path(text, CONFIG_DAEMON, "memory-dir", &config->memory_dir, error) &&
	       config_text_get_bool(text, CONFIG_DAEMON, "populate", &config->populate, error) &&
	       get_capacity(text, config, error);
}

static bool load_pfn_backend(const struct config_text *text, const struct config *config, GError **error)
{
	static const char *const foreign[] = { "size", "memory-dir", "populate" };

	for (size_t i = 0; i < G_N_ELEMENTS(foreign); i++) {
		if (config_text_has(text, CONFIG_DAEMON, foreign[i]))
			return config_text_fail(text, CONFIG_DAEMON, foreign[i], error,
			                        "has no meaning with backend=pfn: remove this line");
	}
	if (config->regions->len == 0)
		return config_text_fail(
			text, CONFIG_DAEMON, "backend", error,
			"backend=pfn has no memory: add a group [region NAME] with start and size, or start=auto");
	return true;
}

/* Is @path equal to @directory, or below it? Both are absolute, without doubled or trailing slashes. */
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
	return config_text_fail(text, CONFIG_DAEMON, key, error,
	                        "%s is inside the mountpoint %s, or the other way round: keep them apart", path,
	                        mountpoint);
}

static bool check_directories(const struct config_text *text, const struct config *config, GError **error)
{
	if (!check_apart(text, "state-dir", config->state_dir, config->mountpoint, error))
		return false;
	/* The daemon would wait for an answer to its own request. */
	if (config->metrics_file && lies_in(config->metrics_file, config->mountpoint))
		return config_text_fail(text, CONFIG_DAEMON, "metrics-file", error,
		                        "%s is on the mount itself: use a path outside of it", config->metrics_file);
	if (!config->memory_dir)
		return true;
	if (!check_apart(text, "memory-dir", config->memory_dir, config->mountpoint, error))
		return false;
	/* memory-dir below state-dir is allowed: the state directory may be on tmpfs. */
	if (lies_in(config->state_dir, config->memory_dir))
		return config_text_fail(text, CONFIG_DAEMON, "memory-dir", error,
		                        "%s contains the state-dir: use a directory that is used for nothing else",
		                        config->memory_dir);
	return true;
}

static bool load(const struct config_text *text, struct config *config, GError **error)
{
	if (!config_check_names(text, error) || !load_daemon(text, config, error) ||
	    !config_load_groups(text, config, error))
		return false;
	if (!(config->backend == BACKEND_PFN ? load_pfn_backend(text, config, error)
	                                     : load_memory_backend(text, config, error)))
		return false;
	return check_directories(text, config, error);
}

struct config *config_load(const char *file, GError **error)
{
	g_autoptr(config_text_t) text = config_text_load(file, error);
	g_autoptr(config_t) config = g_new0(struct config, 1);

	config->file = g_strdup(file);
	config->regions = g_ptr_array_new_with_free_func(config_region_free);
	config->quotas = g_ptr_array_new_with_free_func(config_quota_free);
	if (!text || !load(text, config, error))
		return NULL;
	return g_steal_pointer(&config);
}

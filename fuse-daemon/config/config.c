// SPDX-License-Identifier: GPL-2.0-or-later
/* Reads and writes the configuration; the conditions between keys. */
#include "config/config.h"

#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/page_order.h"
#include "config/config_daemon.h"
#include "config/config_groups.h"
#include "config/config_host.h"
#include "config/config_keys.h"
#include "config/config_text.h"

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

static void set_default_page_size(const struct config_text *text, struct config *config)
{
	config->any_page_size = !config_text_has(text, CONFIG_DAEMON, "page-size");
	if (config_text_failed(text, CONFIG_DAEMON, "page-size") || config_text_failed(text, CONFIG_DAEMON, "backend"))
		config->page_size = 0; /* not known: nothing is compared with it */
	else if (config->backend == BACKEND_PFN && config->any_page_size)
		config->page_size = config_default_page_size(text);
}

/* The default follows the largest pages that a region has. open_storage() does the same with those that regions have got. */
static void lower_default_page_size(struct config *config)
{
	unsigned largest = PAGE_ORDER_NONE;

	if (config->backend != BACKEND_PFN || !config->any_page_size)
		return;
	for (guint i = 0; i < config->regions->len; i++)
		largest = MAX(largest, ((const struct region_config *)g_ptr_array_index(config->regions, i))->order);
	config->page_size = page_order_default_unit(largest);
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

static void get_capacity(const struct config_text *text, struct config *config)
{
	bool given = config_text_has(text, CONFIG_DAEMON, "size");

	if (config->regions->len > 0) {
		if (given)
			config_text_fail(text, CONFIG_DAEMON, "size",
			                 "the [region] groups set the size: remove this line, or those groups");
		return;
	}
	if (config->page_size == 0)
		return;
	config->size = default_size(config->page_size);
	if (!given && config->size == 0)
		config_text_fail(text, CONFIG_DAEMON, "page-size",
		                 "half of this machine's RAM is less than one page: set size, or use a smaller page");
	else
		config_text_get_pages(text, CONFIG_DAEMON, "size", config->page_size, &config->size);
}

static void check_memory_backend(const struct config_text *text, struct config *config)
{
	if (config->alloc == ALLOC_DEMAND)
		config_text_fail(text, CONFIG_DAEMON, "alloc",
		                 "demand needs backend=pfn, which gets page faults (tmpfs does not): use eager");
	if (config->lend == LEND_ON)
		config_text_fail(
			text, CONFIG_DAEMON, "lend",
			"on needs backend=pfn, because the host uses all memory of this backend already: use off");
	config->memory_dir_given = config->memory_dir;
	if (!config->memory_dir)
		config->memory_dir = default_memory_dir(config->state_dir);
	get_capacity(text, config);
}

/* Requests that wait for lent memory occupy threads, and a host may start many guests at once. A thread takes 140 KiB. */
#define THREADS_WITH_LENDING 64

static void check_pfn_backend(const struct config_text *text, struct config *config)
{
	config_daemon_check_backend(text, config);
	if (config->lend == LEND_ON && !config_text_has(text, CONFIG_DAEMON, "threads"))
		config->threads = THREADS_WITH_LENDING;
	if (config->lend == LEND_ON && config->threads < 2)
		config_text_fail(
			text, CONFIG_DAEMON, "threads",
			"lend=on needs 2 or more, because a request that waits for lent memory keeps its thread");
	if (config->lend == LEND_ON && !config->zero_in_advance)
		config_text_fail(
			text, CONFIG_DAEMON, "lend",
			"on needs zero-in-advance=true, because only memory that was zeroed is lent: use off, or "
			"remove zero-in-advance=false");
	/* A group that is not known may be one, misspelt. */
	if (config->regions->len == 0 && !config_text_failed(text, "", NULL))
		config_text_fail(
			text, CONFIG_DAEMON, "backend",
			"backend=pfn has no memory: add a group [region NAME] with start and size, or start=auto");
}

static void check_metrics(const struct config_text *text, const struct config *config)
{
	if (config->metrics_file && !g_str_has_suffix(config->metrics_file, ".prom"))
		config_text_fail(text, CONFIG_DAEMON, "metrics-file",
		                 "\"%s\" does not end in .prom: node_exporter reads only such files: rename it",
		                 config->metrics_file);
}

/* Is @path equal to @directory, or below it? Both are absolute, without doubled or trailing slashes. */
static bool lies_in(const char *path, const char *directory)
{
	size_t length = strlen(directory);

	if (g_str_equal(directory, "/"))
		return true;
	return strncmp(path, directory, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

static void check_apart(const struct config_text *text, const char *key, const char *path, const char *mountpoint)
{
	if (lies_in(path, mountpoint) || lies_in(mountpoint, path))
		config_text_fail(text, CONFIG_DAEMON, key,
		                 "%s is inside the mountpoint %s, or the other way round: keep them apart", path,
		                 mountpoint);
}

static void check_mountpoint_apart(const struct config_text *text, const struct config *config)
{
	check_apart(text, "state-dir", config->state_dir, config->mountpoint);
	/* The daemon would wait for an answer to its own request. */
	if (config->metrics_file && lies_in(config->metrics_file, config->mountpoint))
		config_text_fail(text, CONFIG_DAEMON, "metrics-file",
		                 "%s is on the mount itself: use a path outside of it", config->metrics_file);
	if (config->memory_dir)
		check_apart(text, "memory-dir", config->memory_dir, config->mountpoint);
}

static void check_directories(const struct config_text *text, const struct config *config)
{
	if (!config_text_failed(text, CONFIG_DAEMON, "mountpoint"))
		check_mountpoint_apart(text, config);
	/* memory-dir below state-dir is allowed: the state directory may be on tmpfs. */
	if (config->memory_dir && !config_text_failed(text, CONFIG_DAEMON, "state-dir") &&
	    lies_in(config->state_dir, config->memory_dir))
		config_text_fail(text, CONFIG_DAEMON, "memory-dir",
		                 "%s contains the state-dir: use a directory that is used for nothing else",
		                 config->memory_dir);
}

static void load(const struct config_text *text, struct config *config, bool check_host)
{
	if (!config_text_read(text) || !config_check_names(text))
		return;
	config_daemon_load(text, config);
	set_default_page_size(text, config);
	config_load_groups(text, config);
	lower_default_page_size(config);
	if (config->backend == BACKEND_PFN)
		check_pfn_backend(text, config);
	else if (!config_text_failed(text, CONFIG_DAEMON, "backend"))
		check_memory_backend(text, config);
	check_metrics(text, config);
	check_directories(text, config);
	if (check_host)
		config_check_host(text, config);
}

/* True if there are no mistakes. */
static bool check_mistakes(const struct config_text *text, GError **error)
{
	g_autofree char *mistakes = text->mistakes->len > 0 ? config_text_mistakes(text) : NULL;

	if (mistakes)
		g_set_error_literal(error, CONFIG_ERROR, CONFIG_ERROR_INVALID, mistakes);
	return !mistakes;
}

static struct config *load_file(const char *file, bool check_host, GError **error)
{
	g_autoptr(config_text_t) text = config_text_new(file);
	g_autoptr(config_t) config = g_new0(struct config, 1);

	config->file = g_strdup(file);
	config->regions = g_ptr_array_new_with_free_func(config_region_free);
	config->quotas = g_ptr_array_new_with_free_func(config_quota_free);
	load(text, config, check_host);
	return check_mistakes(text, error) ? g_steal_pointer(&config) : NULL;
}

struct config *config_load(const char *file, GError **error)
{
	return load_file(file, false, error);
}

struct config *config_load_for_host(const char *file, GError **error)
{
	return load_file(file, true, error);
}

bool config_check_for_host(const struct config *config, GError **error)
{
	g_autoptr(config_text_t) text = config_text_new(config->file);

	if (config_text_read(text))
		config_check_host(text, config);
	return check_mistakes(text, error);
}

void config_log_error(const GError *error)
{
	g_auto(GStrv) lines = g_strsplit(error->message, "\n", error->domain == CONFIG_ERROR ? -1 : 1);

	for (char **line = lines; *line; line++)
		log_error("%s", *line);
}

char *config_dump(const struct config *config)
{
	g_autoptr(GKeyFile) keys = g_key_file_new();

	config_daemon_dump(keys, config);
	config_groups_dump(keys, config);
	return g_key_file_to_data(keys, NULL, NULL);
}

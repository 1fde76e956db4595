// SPDX-License-Identifier: GPL-2.0-or-later
/* Writes the effective configuration in the format of the configuration file. */
#include <string.h>

#include "config/config.h"
#include "config/config_keys.h"

static void dump_size(GKeyFile *keys, const char *group, const char *key, uint64_t bytes)
{
	g_autofree char *text = config_format_size(bytes);

	g_key_file_set_string(keys, group, key, text);
}

/* Escapes a space at the end, which would be stripped when the file is read. GKeyFile escapes leading ones only. */
static void dump_path(GKeyFile *keys, const char *group, const char *key, const char *path)
{
	g_key_file_set_string(keys, group, key, path);
	if (g_str_has_suffix(path, " ")) {
		g_autofree char *raw = g_key_file_get_value(keys, group, key, NULL);
		g_autofree char *escaped = NULL;

		raw[strlen(raw) - 1] = '\0';
		escaped = g_strconcat(raw, "\\s", NULL);
		g_key_file_set_value(keys, group, key, escaped);
	}
}

static void dump_daemon(GKeyFile *keys, const struct config *config)
{
	char factor[G_ASCII_DTOSTR_BUF_SIZE];

	dump_path(keys, CONFIG_DAEMON, "mountpoint", config->mountpoint);
	dump_path(keys, CONFIG_DAEMON, "state-dir", config->state_dir);
	g_key_file_set_string(keys, CONFIG_DAEMON, "backend", config_backend_names[config->backend]);
	dump_size(keys, CONFIG_DAEMON, "page-size", config->page_size);
	if (config->size)
		dump_size(keys, CONFIG_DAEMON, "size", config->size);
	g_key_file_set_string(keys, CONFIG_DAEMON, "alloc", config_alloc_names[config->alloc]);
	dump_size(keys, CONFIG_DAEMON, "demand-extent", config->demand_extent);
	g_key_file_set_string(keys, CONFIG_DAEMON, "overcommit",
	                      g_ascii_formatd(factor, sizeof(factor), "%.15g", config->overcommit));
	g_key_file_set_string(keys, CONFIG_DAEMON, "lost-contents", config_lost_names[config->lost_contents]);
	g_key_file_set_boolean(keys, CONFIG_DAEMON, "zero-in-advance", config->zero_in_advance);
	dump_size(keys, CONFIG_DAEMON, "zero-rate", config->zero_rate);
	if (config->memory_dir) {
		dump_path(keys, CONFIG_DAEMON, "memory-dir", config->memory_dir);
		g_key_file_set_boolean(keys, CONFIG_DAEMON, "populate", config->populate);
	}
	dump_size(keys, CONFIG_DAEMON, "max-metadata", config->max_metadata);
	g_key_file_set_integer(keys, CONFIG_DAEMON, "threads", (gint)config->threads);
	if (config->metrics_file)
		dump_path(keys, CONFIG_DAEMON, "metrics-file", config->metrics_file);
	g_key_file_set_integer(keys, CONFIG_DAEMON, "metrics-interval", (gint)config->metrics_interval);
}

static void dump_region(gpointer data, gpointer keys)
{
	const struct region_config *region = data;
	g_autofree char *group = g_strconcat(CONFIG_REGION_PREFIX, region->name, NULL);
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
	g_autofree char *group = g_strconcat(CONFIG_QUOTA_PREFIX, quota->name, NULL);

	dump_path(keys, group, "path", quota->path);
	if (quota->max_bytes != CONFIG_UNLIMITED)
		dump_size(keys, group, "max-bytes", quota->max_bytes);
	if (quota->max_files != CONFIG_UNLIMITED)
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

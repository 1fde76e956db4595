// SPDX-License-Identifier: GPL-2.0-or-later
/* The names of groups, keys and values that the configuration knows. */
#include "config/config_keys.h"

#include <string.h>

#include "base/log.h"
#include "config/config.h"

#define NAME_MAX_BYTES 63

static const char *const daemon_keys[] = {
	"mountpoint",      "state-dir",        "backend",    "page-size",     "size",
	"alloc",           "memory-dir",       "populate",   "threads",       "lost-contents",
	"zero-in-advance", "zero-rate",        "overcommit", "demand-extent", "max-metadata",
	"metrics-file",    "metrics-interval", NULL
};
static const char *const region_keys[] = { "start", "size", "node", NULL };
/* Keys of earlier versions. They have no effect; the daemon warns, and starts. */
static const char *const obsolete_daemon_keys[] = { "busy-poll", NULL };
static const char *const quota_keys[] = { "path", "max-bytes", "max-files", NULL };

const char *const config_backend_names[] = { [BACKEND_MEMORY] = "memory", [BACKEND_PFN] = "pfn", NULL };
const char *const config_alloc_names[] = { [ALLOC_EAGER] = "eager", [ALLOC_DEMAND] = "demand", NULL };
const char *const config_lost_names[] = { [LOST_ZERO] = "zero", [LOST_REMOVE] = "remove", NULL };

static const char *const *keys_of_group(const char *group)
{
	if (g_str_equal(group, CONFIG_DAEMON))
		return daemon_keys;
	if (g_str_has_prefix(group, CONFIG_REGION_PREFIX))
		return region_keys;
	if (g_str_has_prefix(group, CONFIG_QUOTA_PREFIX))
		return quota_keys;
	return NULL;
}

static bool is_obsolete(const struct config_text *text, const char *group, const char *key)
{
	g_autoptr(GError) remark = NULL;

	if (!g_str_equal(group, CONFIG_DAEMON) || !g_strv_contains(obsolete_daemon_keys, key))
		return false;
	config_text_fail(text, group, key, &remark, "is obsolete and has no effect: remove the line");
	log_warning("%s", remark->message);
	return true;
}

static bool check_keys(const struct config_text *text, const char *group, const char *const *known, GError **error)
{
	g_auto(GStrv) keys = g_key_file_get_keys(text->keys, group, NULL, NULL);

	for (char **key = keys; *key; key++) {
		g_autofree char *list = NULL;

		if (g_strv_contains(known, *key) || is_obsolete(text, group, *key))
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

bool config_check_names(const struct config_text *text, GError **error)
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
	if (!g_key_file_has_group(text->keys, CONFIG_DAEMON))
		return config_text_fail(text, NULL, NULL, error, "no [daemon] group: add the line [daemon]");
	return true;
}

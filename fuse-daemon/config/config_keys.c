// SPDX-License-Identifier: GPL-2.0-or-later
/* Refuses groups and keys that the configuration does not know. */
#include "config/config_keys.h"

#include <string.h>

#include "base/closest.h"
#include "base/log.h"
#include "config/config_daemon.h"
#include "config/config_groups.h"

#define NAME_MAX_BYTES 63

/* Keys of earlier versions. They have no effect; the daemon warns, and starts. */
static const char *const obsolete_daemon_keys[] = { "busy-poll", NULL };

/* To be freed, but not the names in it; NULL: there is no such group. */
static const char **keys_of_group(const char *group)
{
	return g_str_equal(group, CONFIG_DAEMON) ? config_daemon_keys() : config_group_keys(group);
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
		g_autofree char *list = NULL, *remark = NULL;

		if (g_strv_contains(known, *key) || is_obsolete(text, group, *key))
			continue;
		list = g_strjoinv(", ", (char **)known);
		remark = closest_remark(*key, known);
		return config_text_fail(text, group, *key, error, "unknown key%s: this group has %s", remark, list);
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
		g_autofree const char **known = keys_of_group(*group);

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

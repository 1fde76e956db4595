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
	g_autofree char *place = config_text_place(text, group, key);

	if (!g_str_equal(group, CONFIG_DAEMON) || !g_strv_contains(obsolete_daemon_keys, key))
		return false;
	log_warning("%s: is obsolete and has no effect: remove the line", place);
	return true;
}

static void check_keys(const struct config_text *text, const char *group, const char *const *known)
{
	g_auto(GStrv) keys = g_key_file_get_keys(text->keys, group, NULL, NULL);

	for (char **key = keys; *key; key++) {
		g_autofree char *list = NULL, *remark = NULL;

		if (g_strv_contains(known, *key) || is_obsolete(text, group, *key))
			continue;
		list = g_strjoinv(", ", (char **)known);
		remark = closest_remark(*key, known);
		config_text_fail(text, group, *key, "unknown key%s: this group has %s", remark, list);
	}
}

static void check_name(const struct config_text *text, const char *group)
{
	const char *space = strchr(group, ' ');
	size_t length = space ? strspn(space + 1, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "._-") : 0;

	if (space && (length == 0 || length > NAME_MAX_BYTES || space[1 + length]))
		config_text_fail(text, group, NULL, "not a name: use 1 to %d letters, digits, '.', '_' or '-'",
		                 NAME_MAX_BYTES);
}

bool config_check_names(const struct config_text *text)
{
	g_auto(GStrv) groups = g_key_file_get_groups(text->keys, NULL);

	for (char **group = groups; *group; group++) {
		g_autofree const char **known = keys_of_group(*group);

		if (!known) {
			config_text_fail(text, *group, NULL,
			                 "unknown group: use [daemon], [region NAME] or [quota NAME]");
			config_text_lose_group(text);
			continue;
		}
		check_name(text, *group);
		check_keys(text, *group, known);
	}
	if (g_key_file_has_group(text->keys, CONFIG_DAEMON))
		return true;
	/* After another mistake it may be there, misspelt. */
	if (text->mistakes->len == 0)
		config_text_fail(text, CONFIG_DAEMON, NULL, "the group is missing: add the line [daemon]");
	return false;
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* Finds groups [quota NAME] of the configuration that cannot be applied. */
#include "quota/quota_check.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "base/log.h"
#include "store/store.h"

/* Why a limit cannot be applied, and the remedy; static text. */
static const char *describe(int err)
{
	switch (err) {
	case -EXDEV:
		return "hard links lead out of it: remove them, or this group";
	case -ENOTDIR:
		return "is not a directory: remove it, or name another path";
	case -EDQUOT:
		return "cannot be made: the quota around it is full: make room there";
	case -ENOSPC:
		return "no space left for metadata: make room in state-dir, or raise max-metadata";
	default:
		return g_strerror(-err);
	}
}

void quota_check_warn(const struct config *config, const struct quota_config *quota, int err)
{
	log_warning("%s: [quota %s]: not in force: %s: %s", config->file, quota->name, quota->path, describe(err));
}

/* Asks the running daemon, by its mount, whether @path can be a tree. 0 or a negative errno. */
static int ask_daemon(const char *mountpoint, const char *path)
{
	g_auto(GStrv) names = g_strsplit(path, "/", -1);
	g_autoptr(GString) place = g_string_new(mountpoint);
	struct stat st;

	for (char **name = names; *name; name++) {
		g_string_append_printf(place, "/%s", *name);
		if (lstat(place->str, &st) < 0)
			return 0; /* the daemon creates it when it starts */
		if (!S_ISDIR(st.st_mode))
			return -ENOTDIR;
	}
	return lgetxattr(place->str, "trusted.dmemfs.quota.obstacle", NULL, 0) > 0 ? -EXDEV : 0;
}

static int find_obstacle(const struct config *config, const struct quota_config *quota)
{
	int err = store_find_obstacle(config->state_dir, quota->path);

	return err == -EBUSY ? ask_daemon(config->mountpoint, quota->path) : err;
}

const char *quota_check_obstacle(const struct config *config, const struct quota_config *quota)
{
	int err = find_obstacle(config, quota);

	return err ? describe(err) : NULL;
}

void quota_check(const struct config *config)
{
	for (guint i = 0; i < config->quotas->len; i++) {
		const struct quota_config *quota = g_ptr_array_index(config->quotas, i);
		int err = find_obstacle(config, quota);

		if (err)
			quota_check_warn(config, quota, err);
	}
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* Sets the limits of the configuration's [quota NAME] groups at the start. */
#include "namespace/quota_setup.h"

#include <errno.h>
#include <unistd.h>

#include "quota/quota_check.h"

/* Finds or makes the directory @name in @parent. */
static int need_directory(struct namespace *ns, uint64_t parent, const char *name, uint64_t *ino)
{
	const struct namespace_caller self = { getuid(), getgid() };
	struct stat attr;
	int err = namespace_lookup(ns, parent, name, &attr);

	if (err == -ENOENT)
		err = namespace_make(ns, parent, name, S_IFDIR | 0755, NULL, self, &attr);
	if (err)
		return err;
	namespace_forget(ns, attr.st_ino, 1);
	*ino = attr.st_ino;
	return S_ISDIR(attr.st_mode) ? 0 : -ENOTDIR;
}

static int need_path(struct namespace *ns, const char *path, uint64_t *ino)
{
	g_auto(GStrv) names = g_strsplit(path, "/", -1);
	int err = 0;

	*ino = STORE_ROOT_INO;
	for (char **name = names; *name && !err; name++) {
		if (**name)
			err = need_directory(ns, *ino, *name, ino);
	}
	return err;
}

/* No transaction when the limit is in force already. */
static int set_limit(struct namespace *ns, uint64_t ino, enum quota_resource resource, uint64_t max)
{
	struct quota_usage usage = { .max.of = { QUOTA_UNLIMITED, QUOTA_UNLIMITED } };
	int err = namespace_get_quota(ns, ino, &usage);

	if (err && err != -ENODATA)
		return err;
	return usage.max.of[resource] == max ? 0 : namespace_set_limit(ns, ino, resource, max, 0);
}

static int set_up(struct namespace *ns, const struct quota_config *quota)
{
	uint64_t ino;
	int err = need_path(ns, quota->path, &ino);

	if (!err && quota->max_bytes != QUOTA_UNLIMITED)
		err = set_limit(ns, ino, QUOTA_BYTES, quota->max_bytes);
	if (!err)
		err = set_limit(ns, ino, QUOTA_FILES, quota->max_files);
	if (!err)
		err = set_limit(ns, ino, QUOTA_BYTES, quota->max_bytes);
	return err;
}

void quota_setup(struct namespace *ns, const struct config *config)
{
	for (guint i = 0; i < config->quotas->len; i++) {
		const struct quota_config *quota = g_ptr_array_index(config->quotas, i);
		int err = set_up(ns, quota);

		if (err)
			quota_check_warn(config, quota, err);
	}
}

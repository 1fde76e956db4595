// SPDX-License-Identifier: GPL-2.0-or-later
/* NUMA policies in the namespace. */
#include "namespace/namespace_numa.h"

#include <errno.h>

#include "base/current_request.h"
#include "namespace/namespace_alloc.h"
#include "namespace/namespace_record.h"
#include "pool/pool.h"

static bool can_have_policy(const struct inode *inode)
{
	return S_ISDIR(inode->mode) || S_ISREG(inode->mode);
}

static void set_policy(struct inode *inode, struct numa_policy *policy)
{
	if (S_ISREG(inode->mode)) {
		file_restore_policy(inode->file, policy);
	} else {
		numa_policy_unref(inode->policy);
		inode->policy = numa_policy_ref(policy);
	}
}

bool numa_restore(struct inode *inode, const void *value, size_t size)
{
	g_autoptr(numa_policy_t) policy = numa_policy_parse(value, size);

	if (!policy || !can_have_policy(inode))
		return false;
	set_policy(inode, policy);
	return true;
}

static int set_directory(struct namespace *ns, uint64_t ino, struct numa_policy *policy, int flags)
{
	g_autofree char *text = policy ? numa_policy_format(policy) : NULL;
	int err = 0;

	g_mutex_lock(&ns->lock);
	struct inode *dir = inode_find_directory(ns, ino, &err);

	if (!err)
		err = current_request_may_set(dir->policy, policy, flags);
	if (!err)
		err = record_text(ns, dir, FILE_RECORD_POLICY, text);
	if (!err)
		set_policy(dir, policy);
	g_mutex_unlock(&ns->lock);
	return err;
}

static int set_file(struct namespace *ns, uint64_t ino, struct numa_policy *policy, int flags)
{
	struct file *file;
	int err = namespace_get_file(ns, ino, &file);

	if (err)
		return err;
	err = file_set_policy(file, policy, flags);
	namespace_put_file(ns, ino);
	return err;
}

int namespace_set_numa(struct namespace *ns, uint64_t ino, uid_t uid, struct numa_policy *policy, int flags)
{
	struct stat attr;
	bool applied;
	mode_t mode;
	int err = alloc_check_owner(ns, ino, uid, &mode, &applied);

	if (err || applied)
		return err;
	if (policy && !pool_has_nodes(ns->storage->pool, policy))
		return -ENODEV;
	if (S_ISDIR(mode))
		return set_directory(ns, ino, policy, flags);
	err = set_file(ns, ino, policy, flags);
	/* Sets ctime, and puts the request on record. */
	return err ? err : namespace_setattr(ns, ino, 0, &attr);
}

int namespace_get_numa(struct namespace *ns, uint64_t ino, struct numa_policy **policy)
{
	struct file *file;
	int err = namespace_get_file(ns, ino, &file);

	*policy = NULL;
	if (!err) {
		*policy = file_get_policy(file);
		namespace_put_file(ns, ino);
	} else if (err == -EISDIR) {
		g_mutex_lock(&ns->lock);
		const struct inode *dir = inode_find(ns, ino);

		*policy = dir ? numa_policy_ref(dir->policy) : NULL;
		g_mutex_unlock(&ns->lock);
	} else if (err == -ENOENT) {
		return err;
	}
	return *policy ? 0 : -ENODATA;
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* NUMA policies in the namespace. */
#include "namespace_node.h"

#include <errno.h>

#include "namespace_record.h"

/* A regular file keeps its own. */
static bool can_have_policy(const struct inode *inode)
{
	return S_ISDIR(inode->mode) || S_ISREG(inode->mode);
}

static void set_policy(struct inode *inode, struct node_policy *policy)
{
	if (S_ISREG(inode->mode)) {
		file_restore_policy(inode->file, policy);
	} else {
		node_policy_unref(inode->policy);
		inode->policy = node_policy_ref(policy);
	}
}

void node_inherit(const struct inode *dir, struct inode *inode)
{
	if (dir->policy && can_have_policy(inode))
		set_policy(inode, dir->policy);
}

void node_record(const struct namespace *ns, const struct inode *dir, const struct inode *inode)
{
	if (dir->policy && can_have_policy(inode))
		file_record_policy(ns->storage->store, inode->ino, dir->policy);
}

bool node_restore(struct inode *inode, const void *value, size_t size)
{
	g_autoptr(node_policy_t) policy = node_policy_parse(value, size);

	if (!policy || !can_have_policy(inode))
		return false;
	set_policy(inode, policy);
	return true;
}

/* What @ino is, and who may say where its memory is to be: its owner and root. */
static int check_owner(struct namespace *ns, uint64_t ino, uid_t uid, mode_t *mode)
{
	int err = 0;

	g_mutex_lock(&ns->lock);
	const struct inode *inode = inode_find(ns, ino);

	if (!inode)
		err = -ENOENT;
	else if (!can_have_policy(inode))
		err = -ENODATA;
	else if (uid != 0 && uid != inode->uid)
		err = -EPERM;
	else
		*mode = inode->mode;
	g_mutex_unlock(&ns->lock);
	return err;
}

static int set_directory(struct namespace *ns, uint64_t ino, struct node_policy *policy, int flags)
{
	struct timespec now = inode_now();
	int err = 0;

	g_mutex_lock(&ns->lock);
	struct inode *dir = inode_find_directory(ns, ino, &err);

	if (!err)
		err = node_policy_may_set(dir->policy, policy, flags);
	if (!err) {
		record_begin(ns);
		file_record_policy(ns->storage->store, ino, policy);
		record_touched(ns, dir, now, false);
		err = record_commit(ns, 0);
	}
	if (!err) {
		set_policy(dir, policy);
		dir->ctime = now;
	}
	g_mutex_unlock(&ns->lock);
	return err;
}

static int set_file(struct namespace *ns, uint64_t ino, struct node_policy *policy, int flags)
{
	struct file *file;
	int err = namespace_get_file(ns, ino, &file);

	if (err)
		return err;
	err = file_set_policy(file, policy, flags);
	namespace_put_file(ns, ino);
	return err;
}

int namespace_set_node(struct namespace *ns, uint64_t ino, uid_t uid, struct node_policy *policy, int flags)
{
	struct stat attr;
	uint64_t done;
	mode_t mode;
	int err = check_owner(ns, ino, uid, &mode);

	if (err)
		return err;
	if (policy && !placement_has_nodes(ns->storage->placement, policy))
		return -ENODEV;
	g_mutex_lock(&ns->lock);
	bool applied = record_is_done(ns, &done);

	g_mutex_unlock(&ns->lock);
	if (applied)
		return 0;
	if (S_ISDIR(mode))
		return set_directory(ns, ino, policy, flags);
	err = set_file(ns, ino, policy, flags);
	/* ctime, and a record of the request. */
	return err ? err : namespace_setattr(ns, ino, 0, &attr);
}

int namespace_get_node(struct namespace *ns, uint64_t ino, struct node_policy **policy)
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

		*policy = dir ? node_policy_ref(dir->policy) : NULL;
		g_mutex_unlock(&ns->lock);
	} else if (err == -ENOENT) {
		return err;
	}
	return *policy ? 0 : -ENODATA;
}

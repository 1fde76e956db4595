// SPDX-License-Identifier: GPL-2.0-or-later
/* Inodes by number: lookups of the kernel, attributes, extended attributes, access to contents. */
#include "namespace.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <string.h>

#include "inode.h"

struct namespace *namespace_new(const struct storage *storage, uint64_t last_ino, uid_t root_uid, gid_t root_gid)
{
	struct namespace *ns = g_new0(struct namespace, 1);
	struct inode *root;

	g_mutex_init(&ns->lock);
	ns->inodes = g_hash_table_new(g_int64_hash, g_int64_equal);
	ns->next_ino = NAMESPACE_ROOT_INO;
	ns->storage = storage;
	inode_new(ns, S_IFDIR | 0755, NULL, (struct namespace_caller){ root_uid, root_gid }, &root);
	ns->next_ino = MAX(last_ino, NAMESPACE_ROOT_INO) + 1;
	root->nlink = 2;
	root->parent = NAMESPACE_ROOT_INO;
	return ns;
}

void namespace_destroy(struct namespace *ns)
{
	GHashTableIter iter;
	gpointer inode;

	if (!ns)
		return;
	g_hash_table_iter_init(&iter, ns->inodes);
	while (g_hash_table_iter_next(&iter, NULL, &inode)) {
		g_hash_table_iter_steal(&iter);
		inode_destroy(inode);
	}
	g_hash_table_unref(ns->inodes);
	g_mutex_clear(&ns->lock);
	g_free(ns);
}

void namespace_get_counts(struct namespace *ns, struct namespace_counts *counts)
{
	GHashTableIter iter;
	gpointer value;

	g_mutex_lock(&ns->lock);
	*counts = (struct namespace_counts){
		.inodes = g_hash_table_size(ns->inodes),
		.files = ns->files,
		.directories = ns->directories,
	};
	g_hash_table_iter_init(&iter, ns->inodes);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const struct inode *inode = value;

		if (S_ISREG(inode->mode))
			counts->allocated += file_allocated(inode->file);
	}
	g_mutex_unlock(&ns->lock);
}

uint64_t namespace_inodes(struct namespace *ns)
{
	g_mutex_lock(&ns->lock);
	uint64_t inodes = g_hash_table_size(ns->inodes);

	g_mutex_unlock(&ns->lock);
	return inodes;
}

void namespace_forget(struct namespace *ns, uint64_t ino, uint64_t count)
{
	struct inode *dead = NULL;

	g_mutex_lock(&ns->lock);
	struct inode *inode = inode_find(ns, ino);

	if (inode) {
		inode->nlookup -= MIN(count, inode->nlookup);
		dead = inode_unused(ns, inode);
	}
	g_mutex_unlock(&ns->lock);
	inode_destroy(dead);
}

int namespace_getattr(struct namespace *ns, uint64_t ino, struct stat *attr)
{
	g_mutex_lock(&ns->lock);
	struct inode *inode = inode_find(ns, ino);

	if (inode)
		inode_stat(inode, attr);
	g_mutex_unlock(&ns->lock);
	return inode ? 0 : -ENOENT;
}

int namespace_setattr(struct namespace *ns, uint64_t ino, int to_set, struct stat *attr)
{
	struct timespec now = inode_now();

	g_mutex_lock(&ns->lock);
	struct inode *inode = inode_find(ns, ino);

	if (inode) {
		if (to_set & FUSE_SET_ATTR_MODE)
			inode->mode = (inode->mode & S_IFMT) | (attr->st_mode & ~(mode_t)S_IFMT);
		if (to_set & FUSE_SET_ATTR_UID)
			inode->uid = attr->st_uid;
		if (to_set & FUSE_SET_ATTR_GID)
			inode->gid = attr->st_gid;
		if (to_set & FUSE_SET_ATTR_ATIME)
			inode->atime = (to_set & FUSE_SET_ATTR_ATIME_NOW) ? now : attr->st_atim;
		if (to_set & FUSE_SET_ATTR_MTIME)
			inode->mtime = (to_set & FUSE_SET_ATTR_MTIME_NOW) ? now : attr->st_mtim;
		/* Every successful change shows in ctime (POSIX). */
		inode->ctime = (to_set & FUSE_SET_ATTR_CTIME) ? attr->st_ctim : now;
		inode_stat(inode, attr);
	}
	g_mutex_unlock(&ns->lock);
	return inode ? 0 : -ENOENT;
}

int namespace_readlink(struct namespace *ns, uint64_t ino, char **target)
{
	int err = 0;

	g_mutex_lock(&ns->lock);
	const struct inode *inode = inode_find(ns, ino);

	if (!inode)
		err = -ENOENT;
	else if (!S_ISLNK(inode->mode))
		err = -EINVAL;
	else
		*target = g_strdup(inode->target);
	g_mutex_unlock(&ns->lock);
	return err;
}

int namespace_setxattr(struct namespace *ns, uint64_t ino, const char *name, const void *value, size_t size, int flags)
{
	int err = xattr_name_supported(name);

	if (err)
		return err;
	g_mutex_lock(&ns->lock);
	struct inode *inode = inode_find(ns, ino);

	if (!inode) {
		err = -ENOENT;
	} else {
		if (!inode->xattrs)
			inode->xattrs = xattrs_new();
		err = xattrs_set(inode->xattrs, name, value, size, flags);
		if (!err)
			inode->ctime = inode_now();
	}
	g_mutex_unlock(&ns->lock);
	return err;
}

int namespace_getxattr(struct namespace *ns, uint64_t ino, const char *name, void **value, size_t *size)
{
	int err = xattr_name_supported(name);

	if (err)
		return err;
	g_mutex_lock(&ns->lock);
	const struct inode *inode = inode_find(ns, ino);

	if (!inode) {
		err = -ENOENT;
	} else {
		const void *found = inode->xattrs ? xattrs_get(inode->xattrs, name, size) : NULL;

		if (found)
			*value = g_memdup2(found, *size);
		else
			err = -ENODATA;
	}
	g_mutex_unlock(&ns->lock);
	return err;
}

ssize_t namespace_listxattr(struct namespace *ns, uint64_t ino, bool privileged, char *list, size_t size)
{
	ssize_t length;

	g_mutex_lock(&ns->lock);
	const struct inode *inode = inode_find(ns, ino);

	if (!inode)
		length = -ENOENT;
	else
		length = inode->xattrs ? xattrs_list(inode->xattrs, privileged, list, size) : 0;
	g_mutex_unlock(&ns->lock);
	return length;
}

int namespace_removexattr(struct namespace *ns, uint64_t ino, const char *name)
{
	int err = xattr_name_supported(name);

	if (err)
		return err;
	g_mutex_lock(&ns->lock);
	struct inode *inode = inode_find(ns, ino);

	if (!inode) {
		err = -ENOENT;
	} else {
		err = inode->xattrs ? xattrs_remove(inode->xattrs, name) : -ENODATA;
		if (!err)
			inode->ctime = inode_now();
	}
	g_mutex_unlock(&ns->lock);
	return err;
}

int namespace_get_file(struct namespace *ns, uint64_t ino, struct file **file)
{
	int err = 0;

	*file = NULL;
	g_mutex_lock(&ns->lock);
	struct inode *inode = inode_find(ns, ino);

	if (!inode) {
		err = -ENOENT;
	} else if (!S_ISREG(inode->mode)) {
		err = S_ISDIR(inode->mode) ? -EISDIR : -EINVAL;
	} else {
		inode->pins++;
		*file = inode->file;
	}
	g_mutex_unlock(&ns->lock);
	return err;
}

void namespace_put_file(struct namespace *ns, uint64_t ino)
{
	g_mutex_lock(&ns->lock);
	struct inode *inode = inode_find(ns, ino);

	inode->pins--;

	struct inode *dead = inode_unused(ns, inode);

	g_mutex_unlock(&ns->lock);
	inode_destroy(dead);
}

void namespace_modified(struct namespace *ns, uint64_t ino, bool unprivileged)
{
	g_mutex_lock(&ns->lock);
	struct inode *inode = inode_find(ns, ino);

	if (inode) {
		inode->mtime = inode->ctime = inode_now();
		if (unprivileged) {
			inode->mode &= ~(mode_t)S_ISUID;
			/* Without group execution the bit means mandatory locking, not privilege (inode(7)). */
			if (inode->mode & S_IXGRP)
				inode->mode &= ~(mode_t)S_ISGID;
		}
	}
	g_mutex_unlock(&ns->lock);
}

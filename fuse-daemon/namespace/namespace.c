// SPDX-License-Identifier: GPL-2.0-or-later
/* Operations on an inode by its number: forget, attributes, extended attributes, access to the contents. */
#include "namespace/namespace.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <string.h>

#include "base/log.h"
#include "file/unlinked_mapped.h"
#include "namespace/inode.h"
#include "namespace/namespace_record.h"

struct namespace *namespace_new(const struct storage *storage)
{
	struct namespace *ns = g_new0(struct namespace, 1);

	g_mutex_init(&ns->lock);
	ns->inodes = g_hash_table_new(g_int64_hash, g_int64_equal);
	ns->leaving = g_hash_table_new(g_int64_hash, g_int64_equal);
	g_cond_init(&ns->left);
	ns->stale = g_hash_table_new(g_int64_hash, g_int64_equal);
	ns->nameless = g_hash_table_new(NULL, NULL);
	ns->storage = storage;
	return ns;
}

void namespace_destroy(struct namespace *ns, bool unmounted)
{
	GHashTableIter iter;
	gpointer value;

	if (!ns)
		return;
	record_flush(ns);
	if (ns->counted) {
		g_autofree char *drift = namespace_check_quotas(ns);

		if (drift)
			log_error("%s", drift);
	}
	g_hash_table_iter_init(&iter, ns->inodes);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		struct inode *inode = value;

		g_hash_table_iter_steal(&iter);
		if (unmounted && inode->nlink == 0)
			inode_destroy(ns, inode);
		else
			inode_release(inode);
	}
	g_clear_pointer(&ns->done, g_hash_table_unref);
	g_clear_pointer(&ns->recent, g_hash_table_unref);
	g_hash_table_unref(ns->stale);
	g_hash_table_unref(ns->nameless);
	g_hash_table_unref(ns->leaving);
	g_cond_clear(&ns->left);
	g_hash_table_unref(ns->inodes);
	g_mutex_clear(&ns->lock);
	g_free(ns);
}

void namespace_set_kernel(struct namespace *ns, bool (*kernel_knows)(uint64_t ino, void *data), void *data)
{
	ns->kernel_knows = kernel_knows;
	ns->kernel_data = data;
}

void namespace_get_counts(struct namespace *ns, struct namespace_counts *counts)
{
	g_mutex_lock(&ns->lock);
	*counts = (struct namespace_counts){
		.inodes = g_hash_table_size(ns->inodes),
		.files = ns->files,
		.directories = ns->directories,
	};
	g_mutex_unlock(&ns->lock);
}

uint64_t namespace_removed_bytes(struct namespace *ns)
{
	uint64_t bytes = unlinked_mapped_bytes(ns->storage->unlinked_mapped);
	GHashTableIter iter;
	gpointer inode;

	g_mutex_lock(&ns->lock);
	g_hash_table_iter_init(&iter, ns->nameless);
	while (g_hash_table_iter_next(&iter, &inode, NULL))
		bytes += file_allocated(((const struct inode *)inode)->file);
	g_mutex_unlock(&ns->lock);
	return bytes;
}

void namespace_get_inodes(struct namespace *ns, uint64_t *there, uint64_t *free)
{
	uint64_t max = ns->storage->max_metadata;

	g_mutex_lock(&ns->lock);
	*there = g_hash_table_size(ns->inodes);
	*free = max > ns->held ? (max - ns->held) / (INODE_FOOTPRINT + NAME_FOOTPRINT("")) : 0;
	*free = MIN(*free, NAMESPACE_INODES_MAX - MIN(NAMESPACE_INODES_MAX, *there));
	g_mutex_unlock(&ns->lock);
}

void namespace_forget(struct namespace *ns, uint64_t ino, uint64_t count)
{
	struct inode *dead = NULL;

	g_mutex_lock(&ns->lock);
	struct inode *inode = inode_find(ns, ino);

	if (inode) {
		inode->nlookup -= MIN(count, inode->nlookup);
		record_forgotten(ns, ino);
		if (inode->nlink == 0)
			record_disinherit(ns, inode);
		dead = inode_unused(ns, inode);
	}
	g_mutex_unlock(&ns->lock);
	inode_destroy(ns, dead);
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

/* The row of @inode with the new values of @attr. */
static struct store_inode changed_attributes(const struct inode *inode, int to_set, const struct stat *attr)
{
	struct store_inode row = inode_row(inode);
	struct timespec now = inode_now();

	if (to_set & FUSE_SET_ATTR_MODE)
		row.mode = (row.mode & S_IFMT) | (attr->st_mode & ~(mode_t)S_IFMT);
	if (to_set & FUSE_SET_ATTR_UID)
		row.uid = attr->st_uid;
	if (to_set & FUSE_SET_ATTR_GID)
		row.gid = attr->st_gid;
	if (to_set & FUSE_SET_ATTR_ATIME)
		row.atime = (to_set & FUSE_SET_ATTR_ATIME_NOW) ? now : attr->st_atim;
	if (to_set & FUSE_SET_ATTR_MTIME)
		row.mtime = (to_set & FUSE_SET_ATTR_MTIME_NOW) ? now : attr->st_mtim;
	/* POSIX: every successful change sets ctime. */
	row.ctime = (to_set & FUSE_SET_ATTR_CTIME) ? attr->st_ctim : now;
	return row;
}

static int put_attributes(const struct namespace *ns, struct inode *inode, const struct store_inode *row)
{
	int err;

	record_begin(ns);
	store_put_attributes(ns->storage->store, row);
	err = record_commit(ns, 0);
	if (err)
		return err;
	inode->mode = row->mode;
	inode->uid = row->uid;
	inode->gid = row->gid;
	inode->atime = row->atime;
	inode->mtime = row->mtime;
	inode->ctime = row->ctime;
	g_hash_table_remove(ns->stale, &inode->ino);
	return 0;
}

int namespace_setattr(struct namespace *ns, uint64_t ino, int to_set, struct stat *attr)
{
	int err = -ENOENT;

	g_mutex_lock(&ns->lock);
	struct inode *inode = inode_find(ns, ino);

	if (inode) {
		struct store_inode row = changed_attributes(inode, to_set, attr);

		err = put_attributes(ns, inode, &row);
		inode_stat(inode, attr);
	}
	g_mutex_unlock(&ns->lock);
	return err;
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

static int set_xattr(struct namespace *ns, struct inode *inode, const char *name, const void *value, size_t size,
                     int flags)
{
	size_t before = xattrs_footprint(inode->xattrs);
	int err;

	if (!inode->xattrs)
		inode->xattrs = xattrs_new();
	err = xattrs_may_set(inode->xattrs, name, size, flags);

	ssize_t growth = xattrs_growth(inode->xattrs, name, size);

	if (!err && growth > 0)
		err = inode_room(ns, (uint64_t)growth);
	if (err)
		return err;
	err = record_xattr(ns, inode, name, value, size);
	if (err)
		return err;
	xattrs_set(inode->xattrs, name, value, size, 0);
	inode_count_xattrs(ns, inode, before);
	return 0;
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

static int remove_xattr(struct namespace *ns, struct inode *inode, const char *name)
{
	size_t before = xattrs_footprint(inode->xattrs);
	size_t size;
	int err;

	if (!inode->xattrs || !xattrs_get(inode->xattrs, name, &size))
		return -ENODATA;
	err = record_xattr(ns, inode, name, NULL, 0);
	if (err)
		return err;
	xattrs_remove(inode->xattrs, name);
	inode_count_xattrs(ns, inode, before);
	return 0;
}

/* @value NULL: removes it. */
static int change_xattr(struct namespace *ns, uint64_t ino, const char *name, const void *value, size_t size, int flags)
{
	int err = xattr_name_supported(name);
	uint64_t made;

	if (err)
		return err;
	g_mutex_lock(&ns->lock);
	struct inode *inode = inode_find(ns, ino);

	if (!inode)
		err = -ENOENT;
	else if (!record_is_done(ns, &made))
		err = value ? set_xattr(ns, inode, name, value, size, flags) : remove_xattr(ns, inode, name);
	g_mutex_unlock(&ns->lock);
	return err;
}

int namespace_setxattr(struct namespace *ns, uint64_t ino, const char *name, const void *value, size_t size, int flags)
{
	return change_xattr(ns, ino, name, size ? value : "", size, flags);
}

int namespace_removexattr(struct namespace *ns, uint64_t ino, const char *name)
{
	return change_xattr(ns, ino, name, NULL, 0, 0);
}

int namespace_get_file(struct namespace *ns, uint64_t ino, struct file **file)
{
	struct inode *inode;
	int err = 0;

	*file = NULL;
	g_mutex_lock(&ns->lock);
	while (!(inode = inode_find(ns, ino)) && g_hash_table_contains(ns->leaving, &ino))
		g_cond_wait(&ns->left, &ns->lock);
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
	inode_destroy(ns, dead);
}

int namespace_kill_privileges(struct namespace *ns, uint64_t ino, bool set_id)
{
	int err = 0;

	g_mutex_lock(&ns->lock);
	struct inode *inode = inode_find(ns, ino);

	if (inode && set_id && (inode->mode & (S_ISUID | S_ISGID))) {
		struct store_inode row = inode_row(inode);

		/* Without group execution S_ISGID means mandatory locking, not privilege (inode(7)). */
		row.mode &= ~(mode_t)(S_ISUID | (row.mode & S_IXGRP ? S_ISGID : 0));
		if (row.mode != inode->mode)
			err = put_attributes(ns, inode, &row);
	}
	if (!err && inode && inode->xattrs)
		err = remove_xattr(ns, inode, "security.capability");
	g_mutex_unlock(&ns->lock);
	return err == -ENODATA ? 0 : err;
}

void namespace_modified(struct namespace *ns, uint64_t ino)
{
	g_mutex_lock(&ns->lock);
	struct inode *inode = inode_find(ns, ino);

	if (inode) {
		inode->mtime = inode->ctime = inode_now();
		g_hash_table_add(ns->stale, &inode->ino);
	}
	g_mutex_unlock(&ns->lock);
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* Inodes and their table. */
#include "namespace/inode.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "pool/pool.h"

struct timespec inode_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now;
}

struct inode *inode_find(const struct namespace *ns, uint64_t ino)
{
	return g_hash_table_lookup(ns->inodes, &ino);
}

struct inode *inode_find_directory(const struct namespace *ns, uint64_t ino, int *err)
{
	struct inode *inode = inode_find(ns, ino);

	if (!inode || inode->nlink == 0)
		*err = -ENOENT;
	else if (!S_ISDIR(inode->mode))
		*err = -ENOTDIR;
	else
		return inode;
	return NULL;
}

/* An inode with empty contents; a symlink gets its @target. */
static struct inode *new_inode(struct namespace *ns, uint64_t ino, mode_t mode, const char *target)
{
	struct inode *inode = g_new0(struct inode, 1);

	inode->ino = ino;
	inode->mode = mode;
	if (S_ISREG(mode))
		inode->file = file_new(ns->storage, ino);
	else if (S_ISDIR(mode))
		inode->entries = directory_new();
	else if (S_ISLNK(mode))
		inode->target = g_strdup(target);
	return inode;
}

static uint64_t footprint(const struct inode *inode)
{
	return INODE_FOOTPRINT + (S_ISLNK(inode->mode) ? strlen(inode->target) : 0) + xattrs_footprint(inode->xattrs);
}

int inode_room(const struct namespace *ns, uint64_t bytes)
{
	return ns->held + bytes > ns->storage->max_metadata ? -ENOSPC : 0;
}

struct directory_entry *inode_add_name(struct namespace *ns, struct inode *dir, const char *name, uint64_t ino)
{
	ns->held += NAME_FOOTPRINT(name);
	return directory_insert(dir->entries, name, ino);
}

void inode_remove_name(struct namespace *ns, struct inode *dir, struct directory_entry *entry)
{
	ns->held -= NAME_FOOTPRINT(entry->name);
	directory_remove(dir->entries, entry);
}

void inode_count_xattrs(struct namespace *ns, const struct inode *inode, size_t before)
{
	ns->held += xattrs_footprint(inode->xattrs) - before;
}

int inode_new(struct namespace *ns, mode_t mode, const char *target, struct namespace_caller caller,
              struct inode **inode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
	case S_IFDIR:
	case S_IFLNK:
	case S_IFIFO:
	case S_IFSOCK:
		break;
	default:
		return -EPERM;
	}
	if (g_hash_table_size(ns->inodes) >= NAMESPACE_INODES_MAX)
		return -ENOSPC;

	struct inode *made = new_inode(ns, ns->next_ino++, mode, target);

	made->uid = caller.uid;
	made->gid = caller.gid;
	made->atime = made->mtime = made->ctime = inode_now();
	*inode = made;
	return 0;
}

struct inode *inode_restore(struct namespace *ns, const struct store_inode *row)
{
	struct inode *inode = new_inode(ns, row->ino, row->mode, row->target);

	inode->uid = row->uid;
	inode->gid = row->gid;
	inode->atime = row->atime;
	inode->mtime = row->mtime;
	inode->ctime = row->ctime;
	if (S_ISREG(inode->mode))
		file_restore(inode->file, row->size);
	return inode;
}

void inode_add(struct namespace *ns, struct inode *inode)
{
	ns->files += S_ISREG(inode->mode);
	ns->directories += S_ISDIR(inode->mode);
	ns->held += footprint(inode);
	g_hash_table_insert(ns->inodes, &inode->ino, inode);
	if (S_ISREG(inode->mode) && inode->nlink == 0)
		g_hash_table_add(ns->nameless, inode);
}

struct store_inode inode_row(const struct inode *inode)
{
	return (struct store_inode){
		.ino = inode->ino,
		.mode = inode->mode,
		.uid = inode->uid,
		.gid = inode->gid,
		.size = S_ISREG(inode->mode) ? file_size(inode->file) : 0,
		.atime = inode->atime,
		.mtime = inode->mtime,
		.ctime = inode->ctime,
		.target = S_ISLNK(inode->mode) ? inode->target : NULL,
	};
}

void inode_add_link(struct namespace *ns, struct inode *inode)
{
	inode->nlink++;
	g_hash_table_remove(ns->nameless, inode);
}

void inode_drop_link(struct namespace *ns, struct inode *inode)
{
	inode->nlink--;
	if (inode->nlink == 0 && S_ISREG(inode->mode)) {
		g_hash_table_add(ns->nameless, inode);
		pool_expect(ns->storage->pool);
	}
}

struct inode *inode_unused(struct namespace *ns, struct inode *inode)
{
	if (inode->nlink || inode->nlookup || inode->pins || inode->inherited)
		return NULL;
	g_hash_table_remove(ns->inodes, &inode->ino);
	if (S_ISREG(inode->mode) && file_is_demand(inode->file))
		g_hash_table_add(ns->leaving, &inode->ino);
	g_hash_table_remove(ns->stale, &inode->ino);
	g_hash_table_remove(ns->nameless, inode);
	ns->files -= S_ISREG(inode->mode);
	ns->directories -= S_ISDIR(inode->mode);
	ns->held -= footprint(inode);
	return inode;
}

/* Frees @inode, but not the struct file of a regular file. */
static void free_inode(struct inode *inode)
{
	if (S_ISDIR(inode->mode)) {
		directory_destroy(inode->entries);
		numa_policy_unref(inode->policy);
	} else if (S_ISLNK(inode->mode)) {
		g_free(inode->target);
	}
	xattrs_destroy(inode->xattrs);
	g_free(inode);
}

void inode_destroy(struct namespace *ns, struct inode *inode)
{
	if (!inode)
		return;
	if (S_ISREG(inode->mode)) {
		file_destroy(inode->file);
		g_mutex_lock(&ns->lock);
		if (g_hash_table_remove(ns->leaving, &inode->ino))
			g_cond_broadcast(&ns->left);
		g_mutex_unlock(&ns->lock);
	} else {
		quota_assign(ns->storage->quotas, &inode->account, NULL, 0);
		store_delete_inode_later(ns->storage->store, inode->ino, NULL);
	}
	free_inode(inode);
}

void inode_release(struct inode *inode)
{
	if (S_ISREG(inode->mode))
		file_release(inode->file);
	free_inode(inode);
}

void inode_stat(const struct inode *inode, struct stat *attr)
{
	*attr = (struct stat){
		.st_ino = inode->ino,
		.st_mode = inode->mode,
		.st_nlink = inode->nlink,
		.st_uid = inode->uid,
		.st_gid = inode->gid,
		.st_atim = inode->atime,
		.st_mtim = inode->mtime,
		.st_ctim = inode->ctime,
		.st_blksize = NAMESPACE_IO_SIZE,
	};
	if (S_ISREG(inode->mode)) {
		attr->st_size = (off_t)file_size(inode->file);
		attr->st_blocks = (blkcnt_t)(file_allocated(inode->file) / 512);
	} else if (S_ISLNK(inode->mode)) {
		attr->st_size = (off_t)strlen(inode->target);
	} else if (S_ISDIR(inode->mode)) {
		attr->st_size = directory_count(inode->entries);
	}
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* Inodes and their table. */
#include "inode.h"

#include <errno.h>
#include <string.h>
#include <time.h>

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

	struct inode *made = g_new0(struct inode, 1);

	made->ino = ns->next_ino++;
	made->mode = mode;
	made->uid = caller.uid;
	made->gid = caller.gid;
	made->atime = made->mtime = made->ctime = inode_now();
	if (S_ISREG(mode)) {
		made->file = file_new(ns->storage, made->ino);
		ns->files++;
	} else if (S_ISDIR(mode)) {
		made->entries = directory_new();
		ns->directories++;
	} else if (S_ISLNK(mode)) {
		made->target = g_strdup(target);
	}
	g_hash_table_insert(ns->inodes, &made->ino, made);
	*inode = made;
	return 0;
}

void inode_drop_link(struct namespace *ns, struct inode *inode)
{
	inode->nlink--;
	inode->ctime = inode_now();
	if (inode->nlink == 0 && S_ISREG(inode->mode))
		placement_expect(ns->storage->placement);
}

struct inode *inode_unused(struct namespace *ns, struct inode *inode)
{
	if (inode->nlink || inode->nlookup || inode->pins)
		return NULL;
	g_hash_table_remove(ns->inodes, &inode->ino);
	ns->files -= S_ISREG(inode->mode);
	ns->directories -= S_ISDIR(inode->mode);
	return inode;
}

void inode_destroy(struct inode *inode)
{
	if (!inode)
		return;
	if (S_ISREG(inode->mode))
		file_destroy(inode->file);
	else if (S_ISDIR(inode->mode))
		directory_destroy(inode->entries);
	else if (S_ISLNK(inode->mode))
		g_free(inode->target);
	xattrs_destroy(inode->xattrs);
	g_free(inode);
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

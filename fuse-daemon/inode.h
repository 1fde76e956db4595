/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inodes and their table. Internal to the namespace, whose lock guards everything here. */
#ifndef DMEMFS_INODE_H
#define DMEMFS_INODE_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "directory.h"
#include "file.h"
#include "namespace.h"
#include "xattr.h"

struct inode {
	uint64_t ino;
	uint64_t nlookup; /* references of the kernel */
	uint32_t nlink;
	uint32_t pins; /* requests at work on the contents */
	mode_t mode;
	uid_t uid;
	gid_t gid;
	struct timespec atime, mtime, ctime;
	struct xattrs *xattrs; /* NULL: none */
	union {
		struct file *file; /* S_ISREG */
		struct {
			struct directory *entries; /* S_ISDIR */
			uint64_t parent;
		};
		char *target; /* S_ISLNK */
	};
};

struct namespace {
	GMutex lock;
	GHashTable *inodes; /* &inode->ino -> inode */
	uint64_t next_ino;
	uint64_t directories;
	uint64_t files;
	const struct storage *storage;
};

/* NULL when there is none. */
struct inode *inode_find(const struct namespace *ns, uint64_t ino);
/* A live directory, else NULL and *@err: -ENOENT (also when it was removed), -ENOTDIR. */
struct inode *inode_find_directory(const struct namespace *ns, uint64_t ino, int *err);
/* A new inode in the table, with no name yet. -EPERM: no such type here, -ENOSPC: NAMESPACE_INODES_MAX. */
int inode_new(struct namespace *ns, mode_t mode, const char *target, struct namespace_caller caller,
              struct inode **inode);
/* One name less. The memory of a file without a name is expected back. */
void inode_drop_link(struct namespace *ns, struct inode *inode);
/*
 * After a name, a lookup or a pin is gone: takes an inode that has none of them left out of the table. Returns it
 * for inode_destroy() after the lock is released (giving up memory makes system calls), else NULL.
 */
struct inode *inode_unused(struct namespace *ns, struct inode *inode);
/* NULL is fine. */
void inode_destroy(struct inode *inode);

void inode_stat(const struct inode *inode, struct stat *attr);
struct timespec inode_now(void);

#endif

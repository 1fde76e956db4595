/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inodes and their table. Internal to the namespace, whose lock guards everything here. */
#ifndef DMEMFS_INODE_H
#define DMEMFS_INODE_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "file/file.h"
#include "namespace/directory.h"
#include "namespace/namespace.h"
#include "namespace/xattr.h"
#include "store/store.h"

/* What a directory says of how the files that are made in it get memory; unset: as the configuration does. */
enum dir_alloc { DIR_ALLOC_UNSET, DIR_ALLOC_EAGER, DIR_ALLOC_DEMAND };

struct inode {
	uint64_t ino;
	uint64_t nlookup; /* references of the kernel */
	bool inherited;   /* the kernel may have references from an earlier daemon as well: it has to be asked */
	uint32_t nlink;
	uint32_t pins; /* requests at work on the contents */
	mode_t mode;
	uid_t uid;
	gid_t gid;
	struct timespec atime, mtime, ctime;
	struct xattrs *xattrs;        /* NULL: none */
	struct quota_account account; /* of all but files, whose is in file.h: the tree that it counts in */
	union {
		struct file *file; /* S_ISREG */
		struct {
			struct directory *entries; /* S_ISDIR */
			uint64_t parent;
			struct quota *quota;        /* the tree that begins here, NULL: none */
			struct numa_policy *policy; /* of what is made here; of files it is in file.h */
			uint64_t unit;              /* the same: bytes, 0 the configuration's */
			enum dir_alloc alloc;
			bool discard;
		};
		char *target; /* S_ISLNK */
	};
};

struct namespace
{
	GMutex lock;
	GHashTable *inodes; /* &inode->ino -> inode */
	GHashTable
		*leaving; /* &inode->ino: inode_unused() has taken it, inode_destroy() is not done with its file yet */
	GCond left;
	GHashTable *stale; /* &inode->ino: times that are newer than on record */
	GHashTable *done;  /* owned &unique -> owned ino: requests that an earlier daemon applied; NULL: all answered */
	GHashTable
		*recent; /* owned ino, of the answers of those requests: the kernel may not have looked at them yet */
	int64_t recent_until; /* g_get_monotonic_time() */
	bool remembers;       /* requests that the kernel will not send again are still on record */
	uint64_t next_ino;
	uint64_t directories;
	uint64_t files;
	uint64_t held; /* bytes that inodes in the table, names and attributes count for */
	bool counted;  /* quota trees hold what they say, from the end of the load on */
	const struct storage *storage;
	bool (*kernel_knows)(uint64_t ino, void *data);
	void *kernel_data;
};

/* NULL when there is none. */
struct inode *inode_find(const struct namespace *ns, uint64_t ino);
/* A live directory, else NULL and *@err: -ENOENT (also when it was removed), -ENOTDIR. */
struct inode *inode_find_directory(const struct namespace *ns, uint64_t ino, int *err);
/*
 * What users can make the daemon grow by has a limit, storage.max_metadata. The figures are about what it really takes:
 * a struct and its place in tables, and the bytes that users gave.
 */
#define INODE_FOOTPRINT      480
#define NAME_FOOTPRINT(name) (96 + strlen(name))
/* 0, or -ENOSPC: there is no room for so many bytes more. */
int inode_room(const struct namespace *ns, uint64_t bytes);
struct directory_entry *inode_add_name(struct namespace *ns, struct inode *dir, const char *name, uint64_t ino);
void inode_remove_name(struct namespace *ns, struct inode *dir, struct directory_entry *entry);
/* Those of @inode took @before bytes till now (xattrs_footprint()). */
void inode_count_xattrs(struct namespace *ns, const struct inode *inode, size_t before);

/* A new inode with no name yet, not in the table. -EPERM: no such type here, -ENOSPC: NAMESPACE_INODES_MAX. */
int inode_new(struct namespace *ns, mode_t mode, const char *target, struct namespace_caller caller,
              struct inode **inode);
/* One that is on record; its contents are empty. */
struct inode *inode_restore(struct namespace *ns, const struct store_inode *row);
void inode_add(struct namespace *ns, struct inode *inode);
/* Without a trace: it is not in the table, or the daemon ends. Its memory, if any, stays on record. */
void inode_release(struct inode *inode);
/* What is on record of it. Valid as long as @inode. */
struct store_inode inode_row(const struct inode *inode);
/* One name less. The memory of a file without a name is expected back. */
void inode_drop_link(struct namespace *ns, struct inode *inode);
/*
 * After a name, a lookup or a pin is gone: takes an inode that has none of them left out of the table. Returns it
 * for inode_destroy() after the lock is released (giving up memory makes system calls), else NULL.
 */
struct inode *inode_unused(struct namespace *ns, struct inode *inode);
/* Without the lock. NULL is fine. */
void inode_destroy(struct namespace *ns, struct inode *inode);

void inode_stat(const struct inode *inode, struct stat *attr);
struct timespec inode_now(void);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inodes and their table. Internal to the namespace, whose lock guards everything here unless a comment says
 * otherwise.
 */
#ifndef DMEMFS_INODE_H
#define DMEMFS_INODE_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/page_order.h"
#include "file/file.h"
#include "namespace/directory.h"
#include "namespace/namespace.h"
#include "namespace/xattr.h"
#include "store/store.h"

/* How files that are made in a directory get memory; unset: as the configuration says. */
enum dir_alloc { DIR_ALLOC_UNSET, DIR_ALLOC_EAGER, DIR_ALLOC_DEMAND };

struct inode {
	uint64_t ino;
	uint64_t nlookup; /* references of the kernel */
	bool inherited;   /* the kernel may also have references from an earlier daemon: ask kernel_knows() */
	bool has_lost; /* files and directories: @lost_remove counts, and new inodes inherit it; else the configuration does */
	bool lost_remove; /* when the contents are lost, the file is removed, else it reads as zeroes */
	uint32_t nlink;
	uint32_t pins; /* users of the contents: namespace_get_file() without namespace_put_file() */
	mode_t mode;
	uid_t uid;
	gid_t gid;
	struct timespec atime, mtime, ctime;
	struct xattrs *xattrs;        /* NULL: none */
	struct quota_account account; /* the quota tree that counts the inode; for regular files it is in struct file */
	/* Where the inode got its last name: the directory, and the cookie there. Only a directory still has that name for sure. */
	uint64_t parent, cookie;
	union {
		struct file *file; /* S_ISREG */
		struct {
			struct directory *entries;  /* S_ISDIR */
			struct quota *quota;        /* the tree that begins here, NULL: none */
			struct numa_policy *policy; /* for new files and directories in it; NULL: none */
			uint64_t unit;              /* the same: allocation unit in bytes; 0: the configuration's */
			bool has_order; /* the same: the order of compound pages is @order, else the default */
			unsigned order;
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
	/* Set of &inode->ino: files with demand allocation between inode_unused() and the end of file_destroy(). */
	GHashTable *leaving;
	GCond left;           /* an inode is in @leaving no more */
	GHashTable *stale;    /* set of &inode->ino: inodes whose times are newer than on record */
	GHashTable *nameless; /* set of inode: regular files in the table that have no name (any more) */
	/* Requests that an earlier daemon applied: owned &unique -> owned ino. NULL: none of them can come again. */
	GHashTable *done;
	/*
	 * Set of owned ino: inodes in the answers to those requests. The kernel may not have processed the answers
	 * yet.
	 */
	GHashTable *recent;
	int64_t recent_until; /* when to drop @recent: g_get_monotonic_time(), us */
	bool remembers;       /* requests that the kernel will not send again are still on record */
	uint64_t next_ino;
	uint64_t directories;
	uint64_t files;
	uint64_t held; /* bytes that inodes in the table, names and attributes take; limit: storage.max_metadata */
	bool counted;  /* the usage of quota trees is counted: true once the load is done */
	const struct storage *storage;
	bool (*kernel_knows)(uint64_t ino, void *data);
	void *kernel_data;
};

/* NULL when there is none. */
struct inode *inode_find(const struct namespace *ns, uint64_t ino);
/* A directory that is not removed. Otherwise NULL, and *@err is -ENOENT or -ENOTDIR; else *@err is left alone. */
struct inode *inode_find_directory(const struct namespace *ns, uint64_t ino, int *err);
/*
 * storage.max_metadata limits how much memory of the daemon users can take with inodes, names and attributes. The two
 * figures are estimates of the real cost in bytes: the struct, its place in tables, and the bytes that users gave.
 */
#define INODE_FOOTPRINT      480
#define NAME_FOOTPRINT(name) (96 + strlen(name))
/* 0 when @bytes more fit below storage.max_metadata, else -ENOSPC. */
int inode_room(const struct namespace *ns, uint64_t bytes);
/* As directory_insert() and directory_remove(); they count the name in @held. */
struct directory_entry *inode_add_name(struct namespace *ns, struct inode *dir, const char *name, uint64_t ino);
void inode_remove_name(struct namespace *ns, struct inode *dir, struct directory_entry *entry);
/* After the attributes of @inode changed: corrects @held. @before: their xattrs_footprint() before the change. */
void inode_count_xattrs(struct namespace *ns, const struct inode *inode, size_t before);

/*
 * Makes an inode without a name, not in the table; the caller owns it until inode_add() or inode_release(). Errors:
 * -EPERM (a type that dmemfs does not have), -ENOSPC (NAMESPACE_INODES_MAX).
 */
int inode_new(struct namespace *ns, mode_t mode, const char *target, struct namespace_caller caller,
              struct inode **inode);
/* Makes the inode of a row of the record, without entries, attributes and memory. Ownership as for inode_new(). */
struct inode *inode_restore(struct namespace *ns, const struct store_inode *row);
/* The table owns @inode from now on. */
void inode_add(struct namespace *ns, struct inode *inode);
/* Frees an inode that is not in the table. Leaves the record and the memory of a file as they are. */
void inode_release(struct inode *inode);
/* The row of @inode for the record. Its pointers are valid as long as @inode. */
struct store_inode inode_row(const struct inode *inode);
/* The inode, which is in the table, has one name more. */
void inode_add_link(struct namespace *ns, struct inode *inode);
/* The inode lost one name. After the last name of a file, tells the pool that its memory may come back soon. */
void inode_drop_link(struct namespace *ns, struct inode *inode);
/*
 * Call it after a name, a lookup or a pin is gone. An inode with none of these left is taken out of the table and
 * returned: the caller passes it to inode_destroy() without the lock, because that makes system calls. Else NULL.
 */
struct inode *inode_unused(struct namespace *ns, struct inode *inode);
/* Deletes the inode, its record and its memory. Takes the namespace's lock, so call it without. NULL is fine. */
void inode_destroy(struct namespace *ns, struct inode *inode);

/*
 * "inode 7 (/vm1)": for messages, with the path from the root of the mount if the last name is still there; of a long path only the
 * end. Escaped as in C, but for quotes. O(log n). g_malloc'ed.
 */
char *inode_describe(const struct namespace *ns, uint64_t ino);
void inode_stat(const struct inode *inode, struct stat *attr);
struct timespec inode_now(void);

#endif

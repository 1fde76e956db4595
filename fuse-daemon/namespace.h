/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inodes, names and attributes: owner of the inode table and of the tree.
 *
 * One lock, held for memory operations only, never across a system call; a file's own lock (file.c) may be held when
 * it is taken, never the other way round.
 *
 * An inode lives while it has a name (nlink), the kernel knows it (nlookup) or a request works on it (pins); when
 * all three are gone it is removed from the table, and its memory is given up after the lock is released.
 * Inode numbers rise and are never used twice, so they serve as FUSE node ids with generation 0.
 * The size and the memory of a regular file belong to its struct file, everything else of stat(2) to the inode.
 *
 * Functions return 0 or a negative errno. Those that fill @attr for an entry reply have counted one kernel lookup.
 * The kernel checks permissions (default_permissions), and that names have no '/' in them.
 */
#ifndef DMEMFS_NAMESPACE_H
#define DMEMFS_NAMESPACE_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "file.h"

#define NAMESPACE_ROOT_INO   1
#define NAMESPACE_NAME_MAX   255
#define NAMESPACE_LINK_MAX   65000           /* ext4's */
#define NAMESPACE_IO_SIZE    (128 * 1024)    /* st_blksize: what stdio and cp use as buffer, so not the page size */
#define NAMESPACE_INODES_MAX (UINT64_C(1) << 22) /* at some 500 bytes each; ENOSPC past it */

struct namespace;
struct inode;

/* Who asks: the owner of what is made. */
struct namespace_caller {
	uid_t uid;
	gid_t gid;
};

struct namespace_counts {
	uint64_t inodes; /* all, the root and removed ones that are still in use included */
	uint64_t files;  /* regular files among them */
	uint64_t directories;
	uint64_t allocated; /* bytes of memory in regular files */
};

/* Inode numbers are larger than @last_ino, which an earlier daemon used. */
struct namespace *namespace_new(const struct storage *storage, uint64_t last_ino, uid_t root_uid, gid_t root_gid);
/* Gives up the memory of every file. */
void namespace_destroy(struct namespace *ns);
/* O(inodes). */
void namespace_get_counts(struct namespace *ns, struct namespace_counts *counts);
/* How many inodes there are, O(1). */
uint64_t namespace_inodes(struct namespace *ns);

int namespace_lookup(struct namespace *ns, uint64_t parent, const char *name, struct stat *attr);
void namespace_forget(struct namespace *ns, uint64_t ino, uint64_t count);

int namespace_getattr(struct namespace *ns, uint64_t ino, struct stat *attr);
/*
 * What to change, as in FUSE's SETATTR; sizes are file.c's. A bit of FUSE_SET_ATTR_*. @attr: in the new values, out
 * all attributes.
 */
int namespace_setattr(struct namespace *ns, uint64_t ino, int to_set, struct stat *attr);

/*
 * Makes an inode of the type in @mode: regular file, directory, symlink to @target, FIFO or socket; devices are
 * -EPERM. @name NULL makes a file without a name (O_TMPFILE).
 */
int namespace_make(struct namespace *ns, uint64_t parent, const char *name, mode_t mode, const char *target,
                   struct namespace_caller caller, struct stat *attr);
int namespace_link(struct namespace *ns, uint64_t ino, uint64_t parent, const char *name, struct stat *attr);
int namespace_unlink(struct namespace *ns, uint64_t parent, const char *name);
int namespace_rmdir(struct namespace *ns, uint64_t parent, const char *name);
/* @flags: 0, RENAME_NOREPLACE or RENAME_EXCHANGE, as renameat2(2). */
int namespace_rename(struct namespace *ns, uint64_t parent, const char *name, uint64_t new_parent,
                     const char *new_name, unsigned flags);
int namespace_readlink(struct namespace *ns, uint64_t ino, char **target);

/*
 * Calls @visit for each entry after @cookie, "." and ".." first, until it returns false. @attr has st_ino and the
 * type in st_mode, and all the rest with @full; then each visited entry but "." and ".." has counted one
 * kernel lookup when @visit returns true.
 */
int namespace_readdir(struct namespace *ns, uint64_t ino, uint64_t cookie, bool full,
                      bool (*visit)(const char *name, uint64_t cookie, const struct stat *attr, void *data), void *data);

int namespace_setxattr(struct namespace *ns, uint64_t ino, const char *name, const void *value, size_t size, int flags);
/* The value, g_malloc'ed. */
int namespace_getxattr(struct namespace *ns, uint64_t ino, const char *name, void **value, size_t *size);
/* As xattrs_list(). */
ssize_t namespace_listxattr(struct namespace *ns, uint64_t ino, bool privileged, char *list, size_t size);
int namespace_removexattr(struct namespace *ns, uint64_t ino, const char *name);

/*
 * The contents of the regular file @ino, valid until namespace_put_file(). *@file is NULL on error: -ENOENT, -EISDIR
 * (a directory), -EINVAL (neither).
 */
int namespace_get_file(struct namespace *ns, uint64_t ino, struct file **file);
void namespace_put_file(struct namespace *ns, uint64_t ino);
/* The contents changed: mtime and ctime; @unprivileged writers also clear set-user-id and set-group-id. */
void namespace_modified(struct namespace *ns, uint64_t ino, bool unprivileged);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inodes, names and attributes: owner of the inode table and of the tree.
 *
 * One lock guards the table and the tree. It is held for memory operations and for the commit of a change (store.h),
 * never across another system call. It may be taken while a file's lock (file.c) is held, never the other way round.
 *
 * Each change is one transaction of the record, committed before the change shows. The transaction also records the
 * request that asked for the change: when the kernel sends a request again after a takeover, the daemon answers it
 * from the record and changes nothing.
 *
 * An inode lives while it has a name (nlink), the kernel knows it (nlookup) or a request works on it (pins). When all
 * three are gone, the inode is removed from the table, and its memory is given up after the lock is released. After a
 * takeover nlookup is only a lower bound: at a FORGET of an inode without a name the daemon asks the kernel whether
 * it still knows the inode, and gives the inode up if not.
 *
 * Inode numbers rise and are never used twice, so they serve as FUSE node ids with generation 0.
 * The size and the memory of a regular file belong to its struct file, everything else of stat(2) to the inode.
 *
 * Every directory is in a quota tree (quota.h). An operation that makes, links or moves an inode fails with -EDQUOT
 * when it would exceed a limit, and with -EXDEV when the inode would have names in two trees.
 *
 * All functions take the lock, unless a comment says otherwise. They return 0 or a negative errno. Functions that
 * fill @attr for an entry reply (lookup, make, link) count one kernel lookup (nlookup) of the inode.
 * The kernel checks permissions (default_permissions), and that names have no '/' in them.
 */
#ifndef DMEMFS_NAMESPACE_H
#define DMEMFS_NAMESPACE_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "file/file.h"

/* How often namespace_flush() is due, in seconds. */
#define NAMESPACE_FLUSH_PERIOD 1

#define NAMESPACE_LINK_MAX   65000               /* ext4's */
#define NAMESPACE_IO_SIZE    (128 * 1024)        /* st_blksize: what stdio and cp use as buffer, so not the page size */
#define NAMESPACE_INODES_MAX (UINT64_C(1) << 22) /* ENOSPC above; an inode takes some 500 bytes */

struct namespace;
struct inode;

/* The process that makes an inode; it becomes the owner. */
struct namespace_caller {
	uid_t uid;
	gid_t gid;
};

struct namespace_counts {
	uint64_t inodes; /* all, including the root and removed inodes that are still in use */
	uint64_t files;  /* regular files among them */
	uint64_t directories;
};

/* An empty namespace, without a root; namespace_load() must follow. @storage must outlive it. */
struct namespace *namespace_new(const struct storage *storage);
/*
 * Writes the times that are not on record yet and frees everything. Files stay on record and in the backend. With
 * @unmounted no process can reach removed files any more: their records and their memory are deleted. NULL is fine.
 */
void namespace_destroy(struct namespace *ns, bool unmounted);

/*
 * The start calls namespace_load(), namespace_attach() and, once the kernel can be asked, namespace_settle(), in this
 * order. Load and attach run before the first request, on one thread.
 *
 * Fills the tables from the record and claims the memory of all files from the pool. @kept false: the memory no
 * longer has the contents of the files (the machine was switched off), so files get other memory, which reads zero.
 * @takeover: the connection is that of an earlier daemon. The kernel then knows inodes, and may send requests again
 * that were applied.
 */
bool namespace_load(struct namespace *ns, bool kept, bool takeover, GError **error);
/* Makes the backend's objects hold what the record says. */
bool namespace_attach(struct namespace *ns, GError **error);
/* After pins_record(): charges the memory that devices hold to the files that had it, also removed ones. 0 or a negative errno. */
int namespace_count_pinned(struct namespace *ns);
/*
 * After a takeover the number of the kernel's references is not known. @kernel_knows tells whether the kernel has the
 * inode at all. It is called with the lock held. Call this before the first request.
 */
void namespace_set_kernel(struct namespace *ns, bool (*kernel_knows)(uint64_t ino, void *data), void *data);
/*
 * The passthrough registrations on record (file_inherit()): a set of GINT_TO_POINTER(backing id), owned by the
 * caller.
 */
GHashTable *namespace_backing_ids(struct namespace *ns);
/* Deletes removed files that an earlier daemon left and that no process has open. */
void namespace_settle(struct namespace *ns);
/* Call it when all requests of the earlier daemon are answered: the kernel will send none of them again. */
void namespace_replayed(struct namespace *ns);
/* Is there a regular file with this number? */
bool namespace_has_file(struct namespace *ns, uint64_t ino);
/* New inodes get numbers above @last. */
void namespace_skip_inos(struct namespace *ns, uint64_t last);

/*
 * Writes the times to the record that write(2) and similar calls changed. All other changes are committed with their
 * request; these are committed only here. Call it every NAMESPACE_FLUSH_PERIOD seconds.
 */
void namespace_flush(struct namespace *ns);

/* See inode_describe(). */
char *namespace_describe(struct namespace *ns, uint64_t ino);

/* O(1), because any user may ask. */
void namespace_get_counts(struct namespace *ns, struct namespace_counts *counts);
/*
 * The memory of files that have no name (any more), but that a process still has open or maps, in bytes. The pool counts it as in use,
 * not as pending. O(number of such files).
 */
uint64_t namespace_removed_bytes(struct namespace *ns);
/* *@there: the number of inodes. *@free: about how many more with short names fit below the limits. O(1). */
void namespace_get_inodes(struct namespace *ns, uint64_t *there, uint64_t *free);

/*
 * @name may also be "." (then @parent may be any inode) or "..": the kernel looks these up when a file handle (NFS,
 * open_by_handle_at(2)) names an inode that is not in its caches any more.
 */
int namespace_lookup(struct namespace *ns, uint64_t parent, const char *name, struct stat *attr);
/* The kernel gave up @count lookups of the inode. */
void namespace_forget(struct namespace *ns, uint64_t ino, uint64_t count);

int namespace_getattr(struct namespace *ns, uint64_t ino, struct stat *attr);
/*
 * Changes attributes as FUSE's SETATTR does, but not the size, which file_truncate() changes. @to_set: mask of
 * FUSE_SET_ATTR_*. @attr has the new values, and all attributes when the function returns.
 */
int namespace_setattr(struct namespace *ns, uint64_t ino, int to_set, struct stat *attr);

/*
 * Makes an inode of the type in @mode: regular file, directory, symlink to @target, FIFO or socket. Devices fail with
 * -EPERM. @name NULL makes a file without a name (O_TMPFILE).
 */
int namespace_make(struct namespace *ns, uint64_t parent, const char *name, mode_t mode, const char *target,
                   struct namespace_caller caller, struct stat *attr);
int namespace_link(struct namespace *ns, uint64_t ino, uint64_t parent, const char *name, struct stat *attr);
int namespace_unlink(struct namespace *ns, uint64_t parent, const char *name);
int namespace_rmdir(struct namespace *ns, uint64_t parent, const char *name);
/* @flags: 0, RENAME_NOREPLACE or RENAME_EXCHANGE, as renameat2(2). May wait for quota that removed files give back. */
int namespace_rename(struct namespace *ns, uint64_t parent, const char *name, uint64_t new_parent, const char *new_name,
                     unsigned flags);
/* *@target: g_malloc'ed. -EINVAL: the inode is not a symlink. */
int namespace_readlink(struct namespace *ns, uint64_t ino, char **target);

/*
 * Calls @visit, with the lock held, for each entry after @cookie: "." and ".." first, then from the newest to the
 * oldest (directory.h). Stops when @visit returns false. Without @full, @attr has only st_ino and the type in
 * st_mode. With @full it has all attributes of entries other than "." and "..", and each of these counts one kernel
 * lookup when @visit returns true. @demand: the entry is a file with demand allocation, whose st_blocks change when a
 * process touches it.
 */
int namespace_readdir(struct namespace *ns, uint64_t ino, uint64_t cookie, bool full,
                      bool (*visit)(const char *name, uint64_t cookie, const struct stat *attr, bool demand,
                                    void *data),
                      void *data);

int namespace_setxattr(struct namespace *ns, uint64_t ino, const char *name, const void *value, size_t size, int flags);
/* *@value: g_malloc'ed, of *@size bytes. */
int namespace_getxattr(struct namespace *ns, uint64_t ino, const char *name, void **value, size_t *size);
/* As xattrs_list(). */
ssize_t namespace_listxattr(struct namespace *ns, uint64_t ino, bool privileged, char *list, size_t size);
int namespace_removexattr(struct namespace *ns, uint64_t ino, const char *name);

/*
 * Sets the limit @max (bytes or inodes) of the directory @ino; QUOTA_UNLIMITED removes it. The limit may be below the
 * present usage: then nothing can be added until the usage is below the limit. @flags as setxattr(2). Errors: -ENODATA
 * (there is no limit to remove), -EXDEV (an inode has names inside and outside of the directory). The first limit of a
 * directory costs O(inodes below it).
 */
int namespace_set_limit(struct namespace *ns, uint64_t ino, enum quota_resource resource, uint64_t max, int flags);
/* 0 when the directory may have a limit, else the error of namespace_set_limit(). O(inodes below it). */
int namespace_may_limit(struct namespace *ns, uint64_t ino);
/* Usage and limits of the tree that begins at @ino: the root, or a directory with a limit. Others: -ENODATA. */
int namespace_get_quota(struct namespace *ns, uint64_t ino, struct quota_usage *usage);
/* Usage and limits of the innermost tree around @ino, or of the tree that begins there. */
void namespace_get_room(struct namespace *ns, uint64_t ino, struct quota_usage *usage);
/*
 * Sets from which NUMA nodes the file @ino gets memory, or files that are made in the directory @ino; NULL: from any
 * node. Takes its own reference to @policy. @uid must be root or the owner. @flags as setxattr(2). Errors: -EPERM,
 * -ENODEV (a node has no region), -ENODATA (there is no policy to remove, or @ino is neither file nor directory).
 */
int namespace_set_numa(struct namespace *ns, uint64_t ino, uid_t uid, struct numa_policy *policy, int flags);
/* *@policy: a reference that the caller owns. -ENODATA: there is none. */
int namespace_get_numa(struct namespace *ns, uint64_t ino, struct numa_policy **policy);

/*
 * Sets the allocation unit of files that are made in the directory @ino from now on: DMEMFS_PAGE_4K, _2M, _1G, or 0
 * for the unit of the configuration. @uid and @flags as for namespace_set_numa(); -ENODATA: there is no unit to
 * remove; -EINVAL: the unit is less than a compound page of these files.
 */
int namespace_set_page_size(struct namespace *ns, uint64_t ino, uid_t uid, uint64_t unit, int flags);
/* The unit of the file @ino, or of files that are made in the directory @ino, in bytes. */
int namespace_get_page_size(struct namespace *ns, uint64_t ino, uint64_t *unit);

/*
 * Sets the compound pages of files that are made in the directory @ino from now on: a name of page_order.h, or NULL for
 * those of the configuration. On a file it sets those of the file (-EBUSY: the file is not empty, or was opened once).
 * -EINVAL: no such name, or such a page is larger than the unit of these files; -ENODEV: no region has such pages. @uid,
 * @flags and other errors as for namespace_set_numa().
 */
int namespace_set_pages(struct namespace *ns, uint64_t ino, uid_t uid, const char *value, int flags);
/* The order of the file @ino, or of files that are made in the directory @ino. -ENODATA: it is neither. */
int namespace_get_pages(struct namespace *ns, uint64_t ino, unsigned *order);

/*
 * Sets how files that are made in the directory @ino get memory from now on: "eager", "demand", or NULL for what the
 * configuration says. On a file it sets how the file itself gets memory (-EBUSY: the file is not empty). -EOPNOTSUPP:
 * the backend has no demand allocation. @uid, @flags and other errors as for namespace_set_numa().
 */
int namespace_set_alloc(struct namespace *ns, uint64_t ino, uid_t uid, const char *value, int flags);
/* Sets whether MADV_DONTNEED may discard memory of the file, or of files made in the directory from now on. */
int namespace_set_discard(struct namespace *ns, uint64_t ino, uid_t uid, bool discard);
/* -ENODATA: @ino is neither file nor directory. */
int namespace_get_alloc(struct namespace *ns, uint64_t ino, bool *demand, bool *discard);

/*
 * Sets what happens to the file @ino when its contents are lost, and what files and directories inherit that are made in the directory
 * @ino from now on: "zero", "remove", or NULL for what the configuration says. -EINVAL: another value. @uid, @flags and other errors
 * as for namespace_set_numa().
 */
int namespace_set_lost_contents(struct namespace *ns, uint64_t ino, uid_t uid, const char *value, int flags);
/* *@value: static text; NULL: it is not set. -ENODATA: @ino is neither file nor directory. */
int namespace_get_lost_contents(struct namespace *ns, uint64_t ino, const char **value);

/*
 * Compares the usage of all quota trees with a new count. NULL: they agree; else what differs, g_malloc'ed. No
 * request may be at work. O(inodes).
 */
char *namespace_check_quotas(struct namespace *ns);

/*
 * The contents of the regular file @ino, valid until namespace_put_file(). *@file is NULL on error: -ENOENT, -EISDIR
 * (a directory), -EINVAL (another type). When a process still maps a removed file with demand allocation, the file is
 * found here or, after -ENOENT, in unlinked_mapped.h: the function waits while the file moves from one to the other.
 */
int namespace_get_file(struct namespace *ns, uint64_t ino, struct file **file);
void namespace_put_file(struct namespace *ns, uint64_t ino);
/*
 * Before a write: removes the file's capabilities (security.capability) and, with @set_id, its set-user-id and
 * set-group-id bits.
 */
int namespace_kill_privileges(struct namespace *ns, uint64_t ino, bool set_id);
/* The contents changed: sets mtime and ctime to now. namespace_flush() puts them on record. */
void namespace_modified(struct namespace *ns, uint64_t ino);

#endif

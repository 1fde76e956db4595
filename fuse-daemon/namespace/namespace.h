/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inodes, names and attributes: owner of the inode table and of the tree.
 *
 * One lock, held for memory operations and for the commit of a change (store.h), never across another system call; a
 * file's own lock (file.c) may be held when it is taken, never the other way round.
 *
 * Every change is on record before it shows, all of it or nothing, together with the request that asked for it: a
 * request that comes again after a takeover is answered from that record and changes nothing.
 *
 * An inode lives while it has a name (nlink), the kernel knows it (nlookup) or a request works on it (pins); when
 * all three are gone it is removed from the table, and its memory is given up after the lock is released. After a
 * takeover nlookup is a lower bound only: an inode without a name is given up when the kernel, asked at a FORGET, does
 * not know it.
 * Inode numbers rise and are never used twice, so they serve as FUSE node ids with generation 0.
 * The size and the memory of a regular file belong to its struct file, everything else of stat(2) to the inode.
 *
 * Every directory is in a quota tree (quota.h). What makes, names or moves fails with -EDQUOT when a tree may not have
 * it, and with -EXDEV when it would leave an inode with names in two trees.
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

#include "file/file.h"

/* How often namespace_flush() is due, in seconds. */
#define NAMESPACE_FLUSH_PERIOD 1

#define NAMESPACE_LINK_MAX   65000               /* ext4's */
#define NAMESPACE_IO_SIZE    (128 * 1024)        /* st_blksize: what stdio and cp use as buffer, so not the page size */
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
};

/* Empty: namespace_load() follows. */
struct namespace *namespace_new(const struct storage *storage);
/*
 * Puts everything away. What is on record stays; with @unmounted nobody can reach removed files any more, and they
 * are deleted.
 */
void namespace_destroy(struct namespace *ns, bool unmounted);

/*
 * The start, in this order: load, attach, then, once the kernel can be asked, settle.
 *
 * Fills the tables from the record and claims the memory of all files. @kept false: the contents are not what the
 * record says they are (the machine was switched off), so files get other memory, which reads zero. @takeover: the
 * connection is that of an earlier daemon; the kernel knows inodes, and may send requests again that were applied.
 */
bool namespace_load(struct namespace *ns, bool kept, bool takeover, GError **error);
/* Makes the backend's objects what the record says. */
bool namespace_attach(struct namespace *ns, GError **error);
/*
 * After a takeover nobody knows how many references the kernel has: @kernel_knows tells whether it has the inode at all.
 * Called with the lock held.
 */
void namespace_set_kernel(struct namespace *ns, bool (*kernel_knows)(uint64_t ino, void *data), void *data);
/* The registrations on record (file_inherit()): set of backing ids by GINT_TO_POINTER(), owned by the caller. */
GHashTable *namespace_backing_ids(struct namespace *ns);
/* Deletes removed files that an earlier daemon left and nobody has open. */
void namespace_settle(struct namespace *ns);
/* All requests of the earlier daemon were answered. */
void namespace_replayed(struct namespace *ns);
/* Is there a regular file of this number? */
bool namespace_has_file(struct namespace *ns, uint64_t ino);
/* New inodes get numbers above @last. */
void namespace_skip_inos(struct namespace *ns, uint64_t last);

/*
 * Puts times on record that came from write(2) and its like: they alone are not committed with the request, but
 * when this is called, about every second.
 */
void namespace_flush(struct namespace *ns);

/* O(1): any user may ask. */
void namespace_get_counts(struct namespace *ns, struct namespace_counts *counts);
/* How many inodes there are, and how many more there can be, with short names; O(1). */
void namespace_get_inodes(struct namespace *ns, uint64_t *there, uint64_t *free);

/*
 * @name may also be "." (then @parent may be any inode) and "..": the kernel asks for them when a file handle (NFS,
 * open_by_handle_at(2)) names an inode that it does not have any more.
 */
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
int namespace_rename(struct namespace *ns, uint64_t parent, const char *name, uint64_t new_parent, const char *new_name,
                     unsigned flags);
int namespace_readlink(struct namespace *ns, uint64_t ino, char **target);

/*
 * Calls @visit for each entry after @cookie, "." and ".." first, then from the newest to the oldest (directory.h), until
 * it returns false. @attr has st_ino and the
 * type in st_mode, and all the rest with @full; then each visited entry but "." and ".." has counted one
 * kernel lookup when @visit returns true. @demand: a file whose st_blocks change as it is touched.
 */
int namespace_readdir(struct namespace *ns, uint64_t ino, uint64_t cookie, bool full,
                      bool (*visit)(const char *name, uint64_t cookie, const struct stat *attr, bool demand,
                                    void *data),
                      void *data);

int namespace_setxattr(struct namespace *ns, uint64_t ino, const char *name, const void *value, size_t size, int flags);
/* The value, g_malloc'ed. */
int namespace_getxattr(struct namespace *ns, uint64_t ino, const char *name, void **value, size_t *size);
/* As xattrs_list(). */
ssize_t namespace_listxattr(struct namespace *ns, uint64_t ino, bool privileged, char *list, size_t size);
int namespace_removexattr(struct namespace *ns, uint64_t ino, const char *name);

/*
 * A limit of the directory @ino; QUOTA_UNLIMITED removes it. It may be less than the tree holds: then nothing is added
 * until it is not. @flags as setxattr(2). -ENODATA: there is none to remove, -EXDEV: inodes have names in and out of what
 * would become a tree. The first limit of a directory costs O(inodes below it).
 */
int namespace_set_limit(struct namespace *ns, uint64_t ino, enum quota_resource resource, uint64_t max, int flags);
/* Could the directory have a limit? 0, or why not. O(inodes below it). */
int namespace_may_limit(struct namespace *ns, uint64_t ino);
/* -ENODATA: no directory with a limit, or the root. */
int namespace_get_quota(struct namespace *ns, uint64_t ino, struct quota_usage *usage);
/* What the tree that @ino is in leaves room for. */
void namespace_get_room(struct namespace *ns, uint64_t ino, struct quota_usage *usage);
/*
 * From which NUMA nodes the file @ino gets memory, or what is made in the directory @ino; NULL: from any. @uid must be
 * root or the owner. @flags as setxattr(2). -ENODEV: a node without a region, -ENODATA: there is none to remove, or @ino
 * is neither.
 */
int namespace_set_numa(struct namespace *ns, uint64_t ino, uid_t uid, struct numa_policy *policy, int flags);
/* A reference; -ENODATA: there is none. */
int namespace_get_numa(struct namespace *ns, uint64_t ino, struct numa_policy **policy);

/*
 * The allocation unit of files that are made in the directory @ino from now on: DMEMFS_PAGE_4K, _2M, _1G, or 0 for that of
 * the configuration. The rest as for namespace_set_numa().
 */
int namespace_set_page_size(struct namespace *ns, uint64_t ino, uid_t uid, uint64_t unit, int flags);
/* That of the file @ino, or of what is made in the directory @ino. */
int namespace_get_page_size(struct namespace *ns, uint64_t ino, uint64_t *unit);

/*
 * How files that are made in the directory @ino get memory from now on, "eager" or "demand", NULL: as the configuration
 * says; or how the file @ino does (-EBUSY: it is not empty). -EOPNOTSUPP: not with this backend. The rest as for
 * namespace_set_numa().
 */
int namespace_set_alloc(struct namespace *ns, uint64_t ino, uid_t uid, const char *value, int flags);
/* Whether mappings of the file, or of files made in the directory, allow MADV_DONTNEED from now on. */
int namespace_set_discard(struct namespace *ns, uint64_t ino, uid_t uid, bool discard);
/* -ENODATA: neither file nor directory. */
int namespace_get_alloc(struct namespace *ns, uint64_t ino, bool *demand, bool *discard);

/* At rest: do the trees hold what they say? NULL: yes, else what is wrong, g_malloc'ed. O(inodes). */
char *namespace_check_quotas(struct namespace *ns);

/*
 * The contents of the regular file @ino, valid until namespace_put_file(). *@file is NULL on error: -ENOENT, -EISDIR
 * (a directory), -EINVAL (neither). A file with demand allocation that is -ENOENT is with the lingering ones (unlinked_mapped.h), if a
 * process still maps it: there is no moment at which it has no owner.
 */
int namespace_get_file(struct namespace *ns, uint64_t ino, struct file **file);
void namespace_put_file(struct namespace *ns, uint64_t ino);
/* Before a write: what runs the file gets no privilege from it any more. @set_id: set-user-id and set-group-id go, too. */
int namespace_kill_privileges(struct namespace *ns, uint64_t ino, bool set_id);
/* The contents changed: mtime and ctime. */
void namespace_modified(struct namespace *ns, uint64_t ino);

#endif

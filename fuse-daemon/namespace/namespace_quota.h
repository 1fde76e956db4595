/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which quota tree (quota.h) an inode is in. Internal to the namespace, whose lock is held for everything here.
 *
 * The record holds the limits as extended attributes of their directories, under the names that getfattr(1) shows. A
 * file without a name is in no directory, so the record also holds the trees that count it (RECORD_TREES).
 */
#ifndef DMEMFS_NAMESPACE_QUOTA_H
#define DMEMFS_NAMESPACE_QUOTA_H

#include "namespace/inode.h"

/*
 * Clients do not see this attribute. Its value: the inode numbers of the trees' directories in decimal, inner ones
 * first. The load skips directories that have no limit any more or do not exist.
 */
#define RECORD_TREES "dmemfs.quota.trees"

/* The innermost tree that counts the entries of @dir. O(1): each inode has a pointer to its tree. */
struct quota *quota_inside(const struct namespace *ns, const struct inode *dir);
/* Never NULL, owned by @inode. The account of a directory names the tree around the directory; it has no bytes. */
struct quota_account *quota_account_of(struct inode *inode);
/* Assigns @inode, which is new, to the tree of @dir. */
void quota_place(const struct namespace *ns, const struct inode *dir, struct inode *inode);

/*
 * Inside a transaction that takes the last name of @inode, in @dir, or makes it without one: records the trees of a
 * file.
 */
void quota_record_nameless(const struct namespace *ns, const struct inode *dir, const struct inode *inode);
/* Inside a transaction that adds a name: when a file without a name gets one, deletes the record of its trees. */
void quota_record_named(const struct namespace *ns, const struct inode *inode);

/* After @inode lost its last name, in @dir: it counts as an inode no more, and a tree that began there is dissolved. */
void quota_name_lost(const struct namespace *ns, const struct inode *dir, struct inode *inode);
/*
 * Before @inode gets a name in @dir: -EXDEV when that is in another tree. If it is the first name of @inode, counts
 * the inode, or fails with -EDQUOT.
 */
int quota_add_name(const struct namespace *ns, const struct inode *dir, struct inode *inode);
/* Undoes a quota_add_name() that succeeded, before the name was added. */
void quota_drop_name(const struct namespace *ns, const struct inode *dir, struct inode *inode);

/*
 * Before @moved goes from directory @from to @to. With @exchanged, @replaced goes from @to to @from; else @replaced
 * (NULL: none) loses its name in @to. Moves what the trees count. Errors: -EDQUOT (@patience says when to try again),
 * -EXDEV (a directory that has entries or a limit, or an inode with several names, cannot go into another tree).
 * quota_rename_undo() undoes a success.
 */
int quota_rename(const struct namespace *ns, const struct inode *from, struct inode *moved, const struct inode *to,
                 struct inode *replaced, bool exchanged, struct quota_patience *patience);
void quota_rename_undo(const struct namespace *ns, const struct inode *from, struct inode *moved,
                       const struct inode *to, struct inode *replaced, bool exchanged);

/* The quota attributes of the record, collected during the load. */
struct quota_record;

struct quota_record *quota_record_new(void);
void quota_record_free(struct quota_record *record);
typedef struct quota_record quota_record_t;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(quota_record_t, quota_record_free)

/* Is @name one of the quota attributes? */
bool quota_record_is(const char *name);
/* Adds an attribute. Copies @value. False: the name or the value is not valid. */
bool quota_record_add(struct quota_record *record, uint64_t ino, const char *name, const void *value, size_t size);
/* Makes the trees and counts what is in them. Last in the load: inodes, entries and extents must be there. */
void quota_count_all(struct namespace *ns, const struct quota_record *record);

#endif

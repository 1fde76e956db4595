/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which quota tree (quota.h) an inode is in. Internal to the namespace, whose lock is held for everything here.
 *
 * On record are the limits, as extended attributes of their directories under the names by which getfattr(1) shows them,
 * and for files without a name, which lie in no directory, the trees that they count in (RECORD_TREES).
 */
#ifndef DMEMFS_NAMESPACE_QUOTA_H
#define DMEMFS_NAMESPACE_QUOTA_H

#include "namespace/inode.h"

/* What no client sees: numbers of directories, inner ones first. Those without a limit, or gone, are passed over. */
#define RECORD_TREES "dmemfs.quota.trees"

/* The innermost tree that what is in @dir belongs to. O(1): each inode carries the tree that it counts in. */
struct quota *quota_inside(const struct namespace *ns, const struct inode *dir);
/* Never NULL. That of a directory names the tree around it, and charges nothing. */
struct quota_account *quota_account_of(struct inode *inode);
/* A new inode in @dir, in the table from now on. */
void quota_place(const struct namespace *ns, const struct inode *dir, struct inode *inode);

/* Inside a transaction that leaves a file without a name. */
void quota_record_nameless(const struct namespace *ns, const struct inode *dir, const struct inode *inode);
/* Inside a transaction that gives one a name. */
void quota_record_named(const struct namespace *ns, const struct inode *inode);

/* One that was in @dir has lost its last name. */
void quota_name_lost(const struct namespace *ns, const struct inode *dir, struct inode *inode);
/* May @inode have a name in @dir, too? 0, -EXDEV or, when it is the first one, which is counted then, -EDQUOT. */
int quota_add_name(const struct namespace *ns, const struct inode *dir, struct inode *inode);
/* Takes that back. */
void quota_drop_name(const struct namespace *ns, const struct inode *dir, struct inode *inode);

/*
 * @moved is about to go from @from to @to, where @replaced (NULL: none) goes the other way or, unless @exchanged, loses its
 * name there. 0; -EDQUOT, with when to ask again in @patience; or -EXDEV for what does not go into another tree: a
 * directory that has entries or a limit, and an inode with several names. quota_rename_undo() takes a success back.
 */
int quota_rename(const struct namespace *ns, const struct inode *from, struct inode *moved, const struct inode *to,
                 struct inode *replaced, bool exchanged, struct quota_patience *patience);
void quota_rename_undo(const struct namespace *ns, const struct inode *from, struct inode *moved,
                       const struct inode *to, struct inode *replaced, bool exchanged);

/* What the record says, collected while it is read. */
struct quota_record;

struct quota_record *quota_record_new(void);
void quota_record_free(struct quota_record *record);
typedef struct quota_record quota_record_t;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(quota_record_t, quota_record_free)

/* Is the attribute @name one of those here? */
bool quota_record_is(const char *name);
/* False: no value that was ever put on record. */
bool quota_record_add(struct quota_record *record, uint64_t ino, const char *name, const void *value, size_t size);
/* Makes the trees, and counts what is in them. Everything else is loaded. */
void quota_count_all(struct namespace *ns, const struct quota_record *record);

#endif

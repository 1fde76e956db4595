/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The namespace on record: transactions of its operations, and requests that come again; what is loaded from it at the
 * start is namespace_load.c's. Internal to the namespace, whose lock is held for everything here but record_flush().
 *
 * An operation checks, commits what it will change, and only then changes the tables; so a commit that fails has
 * changed nothing.
 */
#ifndef DMEMFS_NAMESPACE_RECORD_H
#define DMEMFS_NAMESPACE_RECORD_H

#include "namespace/inode.h"

/*
 * Was the request at hand applied by an earlier daemon? Then it is to be answered, not applied; *@ino is what it made, 0:
 * nothing.
 */
bool record_is_done(const struct namespace *ns, uint64_t *ino);

/* A FORGET: whoever was told of @ino has told the kernel. */
void record_forgotten(const struct namespace *ns, uint64_t ino);
/* Is @inode one that the kernel may have learned of from an earlier daemon? Clears @inherited when it is not, any more. */
void record_disinherit(const struct namespace *ns, struct inode *inode);

static inline void record_begin(const struct namespace *ns)
{
	store_begin(ns->storage->store);
}

/* With a record of the request at hand; @ino: what it made, 0: nothing. */
int record_commit(const struct namespace *ns, uint64_t ino);
/* Attributes as they are, but with a new ctime and, with @modified, mtime. */
void record_touched(const struct namespace *ns, const struct inode *inode, struct timespec now, bool modified);
/* A transaction of its own: the attribute @name of @inode is @value from now on, NULL: none; and its ctime. */
int record_xattr(const struct namespace *ns, struct inode *inode, const char *name, const void *value, size_t size);
int record_text(const struct namespace *ns, struct inode *inode, const char *name, const char *text);
/* Requests of earlier daemons, once the kernel sends none of them again. */
void record_forget_requests(struct namespace *ns);
/* Without the lock: what only memory has (namespace_flush()). */
void record_flush(struct namespace *ns);
/* A new inode, and that its number is taken for good. */
void record_inode(const struct namespace *ns, const struct inode *inode);

#endif

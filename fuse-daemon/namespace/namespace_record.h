/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How the namespace writes the record: the transactions of its operations, and requests that the kernel sends again
 * after a takeover. (namespace_load.c reads the record at the start.) Internal to the namespace, whose lock is held
 * for everything here but record_flush().
 *
 * An operation checks, commits what it will change, and only then changes the tables. So a commit that fails has
 * changed nothing.
 */
#ifndef DMEMFS_NAMESPACE_RECORD_H
#define DMEMFS_NAMESPACE_RECORD_H

#include "namespace/inode.h"

/*
 * Did an earlier daemon apply the current request? Then the caller answers it and changes nothing. *@ino: the inode
 * that the request made, 0: none; unchanged when the function returns false.
 */
bool record_is_done(const struct namespace *ns, uint64_t *ino);

/* The kernel sent a FORGET for @ino, so it has processed the answer that named @ino. */
void record_forgotten(const struct namespace *ns, uint64_t ino);
/* Clears @inode->inherited when the kernel does not know @inode and no answer on its way to the kernel may name it. */
void record_disinherit(const struct namespace *ns, struct inode *inode);

static inline void record_begin(const struct namespace *ns)
{
	store_begin(ns->storage->store);
}

/* Commits the transaction, with a record of the current request. @ino: the inode that the request made, 0: none. */
int record_commit(const struct namespace *ns, uint64_t ino);
/* Inside a transaction: records the attributes of @inode with ctime @now and, with @modified, mtime @now. */
void record_touched(const struct namespace *ns, const struct inode *inode, struct timespec now, bool modified);
/* A transaction of its own: sets the attribute @name of @inode to @value, or removes it (NULL), and sets ctime. */
int record_xattr(const struct namespace *ns, struct inode *inode, const char *name, const void *value, size_t size);
/* The same with a NUL-terminated value. */
int record_text(const struct namespace *ns, struct inode *inode, const char *name, const char *text);
/* Deletes the requests of earlier daemons from the record. The kernel must not send any of them again. */
void record_forget_requests(struct namespace *ns);
/* Does the work of namespace_flush(). Takes the lock. */
void record_flush(struct namespace *ns);
/* Inside a transaction: records a new inode, and that its number is used. */
void record_inode(const struct namespace *ns, const struct inode *inode);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How files get memory (eagerly or on demand), and what their mappings allow, in the namespace: new files and directories
 * have it, the allocation unit, and the NUMA policy from their directory. Internal to it; its lock is held for everything here.
 */
#ifndef DMEMFS_NAMESPACE_ALLOC_H
#define DMEMFS_NAMESPACE_ALLOC_H

#include "namespace/inode.h"

/* @inode is new, and not in the table yet: takes over what @dir says of it, inside the transaction that makes it. */
void alloc_inherit(const struct namespace *ns, const struct inode *dir, struct inode *inode);
/* Is @name one of the attributes that hold it on record? */
bool alloc_is_record(const char *name);
/* From the record, before the extents. False: no value of it. */
bool alloc_restore(struct inode *inode, const char *name, const void *value, size_t size);

/*
 * What @ino is, when @uid may say how it gets memory: its owner and root. *@applied: the request at hand was, by an earlier
 * daemon. Takes the namespace's lock. -ENOENT, -ENODATA (neither file nor directory) or -EPERM.
 */
int alloc_check_owner(struct namespace *ns, uint64_t ino, uid_t uid, mode_t *mode, bool *applied);

#endif

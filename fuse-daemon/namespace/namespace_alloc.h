/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How files get memory (eager or demand allocation), and whether mappings may discard it. New files and directories
 * inherit both from their directory, and the allocation unit and the NUMA policy as well. Internal to the namespace;
 * its lock is held for everything here, except as noted.
 */
#ifndef DMEMFS_NAMESPACE_ALLOC_H
#define DMEMFS_NAMESPACE_ALLOC_H

#include "namespace/inode.h"

/*
 * Gives @inode, which is new and not in the table yet, the four settings of @dir, and puts them on record. Inside the
 * transaction that makes @inode.
 */
void alloc_inherit(const struct namespace *ns, const struct inode *dir, struct inode *inode);
/* Is @name one of the attributes of the record that hold allocation and discard? */
bool alloc_is_record(const char *name);
/* Sets allocation or discard from the record, before the extents are loaded. False: the value is not valid. */
bool alloc_restore(struct inode *inode, const char *name, const void *value, size_t size);

/*
 * May @uid change how @ino gets memory? Only its owner and root may. *@mode: the mode of @ino. *@applied: an earlier
 * daemon applied the current request. Takes the namespace's lock. Errors: -ENOENT, -ENODATA (neither file nor
 * directory), -EPERM.
 */
int alloc_check_owner(struct namespace *ns, uint64_t ino, uid_t uid, mode_t *mode, bool *applied);

#endif

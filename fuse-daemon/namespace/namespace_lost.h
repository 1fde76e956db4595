/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What happens to a file whose contents are lost (dmemfs.lost_contents): it reads as zeroes, or it is removed. The store reads this
 * from the record (store_remove_files()). New files and directories inherit it. Internal to the namespace; its lock is held for
 * everything here.
 */
#ifndef DMEMFS_NAMESPACE_LOST_H
#define DMEMFS_NAMESPACE_LOST_H

#include "namespace/inode.h"

/* Gives @inode, which is new and not in the table yet, the setting of @dir. Inside the transaction that makes @inode. */
void lost_inherit(const struct namespace *ns, const struct inode *dir, struct inode *inode);
/* Sets it from the record. False: the value is not valid. */
bool lost_restore(struct inode *inode, const void *value, size_t size);

#endif

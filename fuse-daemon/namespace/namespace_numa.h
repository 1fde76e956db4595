/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * NUMA policies in the namespace: new files and directories have the one of their directory. Internal to it; its lock is
 * held for everything here.
 */
#ifndef DMEMFS_NAMESPACE_NUMA_H
#define DMEMFS_NAMESPACE_NUMA_H

#include "namespace/inode.h"

/* From the record. False: no policy. */
bool numa_restore(struct inode *inode, const void *value, size_t size);

#endif

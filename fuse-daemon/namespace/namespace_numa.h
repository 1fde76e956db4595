/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * NUMA policies in the namespace. New files and directories inherit the policy of their directory. Internal to the
 * namespace; its lock is held for everything here.
 */
#ifndef DMEMFS_NAMESPACE_NUMA_H
#define DMEMFS_NAMESPACE_NUMA_H

#include "namespace/inode.h"

/* Sets the policy from the record. False: the value is not valid. */
bool numa_restore(struct inode *inode, const void *value, size_t size);

#endif

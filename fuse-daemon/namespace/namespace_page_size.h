/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Allocation units in the namespace: new files and directories have that of their directory. Internal to it; its lock is
 * held for everything here.
 */
#ifndef DMEMFS_NAMESPACE_PAGE_SIZE_H
#define DMEMFS_NAMESPACE_PAGE_SIZE_H

#include "namespace/inode.h"

/* The extended attribute that holds it on record, in the form of the configuration. */
#define RECORD_PAGE_SIZE "dmemfs.page_size"

/* From the record, before the extents. False: no size of a page. */
bool page_size_restore(struct inode *inode, const void *value, size_t size);

#endif

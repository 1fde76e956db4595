/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Allocation units in the namespace. New files and directories inherit the unit of their directory. Internal to the
 * namespace; its lock is held for everything here.
 */
#ifndef DMEMFS_NAMESPACE_PAGE_SIZE_H
#define DMEMFS_NAMESPACE_PAGE_SIZE_H

#include "namespace/inode.h"

/* The extended attribute of the record that holds the unit, written as in the configuration: "2M". */
#define RECORD_PAGE_SIZE "dmemfs.page_size"

/* Sets the unit from the record, before the extents are loaded. False: the value is not a page size. */
bool page_size_restore(struct inode *inode, const void *value, size_t size);

#endif

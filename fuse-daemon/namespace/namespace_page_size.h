/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Allocation units and compound pages in the namespace. New files and directories inherit those of their directory. A unit is
 * whole compound pages. Internal to the namespace; its lock is held for everything here.
 */
#ifndef DMEMFS_NAMESPACE_PAGE_SIZE_H
#define DMEMFS_NAMESPACE_PAGE_SIZE_H

#include "namespace/inode.h"

/* The extended attribute of the record that holds the unit, written as in the configuration: "2M". */
#define RECORD_PAGE_SIZE "dmemfs.page_size"

/*
 * The order of the compound pages of files that are made in @dir. The unit that @dir has on record from an older daemon may be
 * less than such a page.
 */
static inline unsigned page_size_order(const struct namespace *ns, const struct inode *dir)
{
	return dir->has_order ? dir->order : ns->storage->order;
}

/* Set unit and order from the record, before the extents are loaded. False: the value is not valid. */
bool page_size_restore(struct inode *inode, const void *value, size_t size);
bool pages_restore(struct inode *inode, const void *value, size_t size);

#endif

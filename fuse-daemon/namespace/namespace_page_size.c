// SPDX-License-Identifier: GPL-2.0-or-later
/* Allocation units in the namespace. */
#include "namespace/namespace_page_size.h"

#include <errno.h>

#include "base/current_request.h"
#include "namespace/namespace_record.h"

bool page_size_restore(struct inode *inode, const void *value, size_t size)
{
	g_autofree char *text = g_strndup(value, size);
	uint64_t unit;

	if (!config_parse_page_size(text, &unit))
		return false;
	if (S_ISREG(inode->mode))
		file_set_unit(inode->file, unit);
	else if (S_ISDIR(inode->mode))
		inode->unit = unit;
	else
		return false;
	return true;
}

int namespace_set_page_size(struct namespace *ns, uint64_t ino, uid_t uid, uint64_t unit, int flags)
{
	g_autofree char *text = unit ? config_format_size(unit) : NULL;
	uint64_t done;
	int err = 0;

	g_mutex_lock(&ns->lock);
	if (!record_is_done(ns, &done)) {
		struct inode *dir = inode_find_directory(ns, ino, &err);

		if (!err)
			err = uid != 0 && uid != dir->uid ? -EPERM : current_request_may_set(dir->unit, unit, flags);
		if (!err)
			err = record_text(ns, dir, RECORD_PAGE_SIZE, text);
		if (!err)
			dir->unit = unit;
	}
	g_mutex_unlock(&ns->lock);
	return err;
}

int namespace_get_page_size(struct namespace *ns, uint64_t ino, uint64_t *unit)
{
	g_mutex_lock(&ns->lock);
	const struct inode *inode = inode_find(ns, ino);

	*unit = ns->storage->page_size;
	if (inode && S_ISREG(inode->mode))
		*unit = file_unit(inode->file);
	else if (inode && S_ISDIR(inode->mode) && inode->unit)
		*unit = inode->unit;
	g_mutex_unlock(&ns->lock);
	return inode ? 0 : -ENOENT;
}

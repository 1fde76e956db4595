// SPDX-License-Identifier: GPL-2.0-or-later
/* Allocation units and compound pages in the namespace. */
#include "namespace/namespace_page_size.h"

#include <errno.h>

#include "base/current_request.h"
#include "base/log.h"
#include "namespace/namespace_alloc.h"
#include "namespace/namespace_record.h"

/* -EINVAL, and a line in the log, when @unit is not whole compound pages of @order. */
static int check_unit(const struct namespace *ns, uint64_t ino, uint64_t unit, unsigned order)
{
	static struct log_limit limit = LOG_LIMIT_INIT;
	g_autofree char *text = config_format_size(unit);
	g_autofree char *name = NULL;

	if (unit % page_order_bytes(order) == 0)
		return 0;
	if (log_passes(&limit, LOG_LEVEL_INFO)) {
		name = inode_describe(ns, ino);
		log_info("%s: dmemfs.page_size %s and dmemfs.pages %s do not go together: a file owns whole "
		         "compound pages: set dmemfs.page_size to %s, or dmemfs.pages to smaller ones, first",
		         name, text, page_order_name(order), page_order_name(order));
	}
	return -EINVAL;
}

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
			err = check_unit(ns, ino, unit ? unit : ns->storage->page_size, page_size_order(ns, dir));
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
	/* The unit on record may be of a time when regions had smaller pages: file_set_order() raises that of new files, too. */
	else if (inode && S_ISDIR(inode->mode))
		*unit = MAX(inode->unit ? inode->unit : *unit, page_order_bytes(page_size_order(ns, inode)));
	g_mutex_unlock(&ns->lock);
	return inode ? 0 : -ENOENT;
}

bool pages_restore(struct inode *inode, const void *value, size_t size)
{
	g_autofree char *text = g_strndup(value, size);
	unsigned order;

	if (!page_order_parse(text, &order))
		return false;
	if (S_ISREG(inode->mode)) {
		file_set_order(inode->file, order);
	} else if (S_ISDIR(inode->mode)) {
		inode->has_order = true;
		inode->order = order;
	} else {
		return false;
	}
	return true;
}

static int set_directory(struct namespace *ns, uint64_t ino, const char *value, unsigned order, int flags)
{
	int err = 0;

	g_mutex_lock(&ns->lock);
	struct inode *dir = inode_find_directory(ns, ino, &err);

	if (!err)
		err = current_request_may_set(dir->has_order, value, flags);
	if (!err)
		err = check_unit(ns, ino, dir->unit ? dir->unit : ns->storage->page_size, order);
	if (!err)
		err = record_text(ns, dir, FILE_RECORD_PAGES, value);
	if (!err) {
		dir->has_order = value;
		dir->order = order;
	}
	g_mutex_unlock(&ns->lock);
	return err;
}

static int set_file(struct namespace *ns, uint64_t ino, unsigned order)
{
	struct stat attr;
	struct file *file;
	int err = namespace_get_file(ns, ino, &file);

	if (err)
		return err;
	err = file_change_order(file, order);
	if (err == -EINVAL) {
		g_mutex_lock(&ns->lock);
		check_unit(ns, ino, file_unit(file), order);
		g_mutex_unlock(&ns->lock);
	}
	namespace_put_file(ns, ino);
	/* Sets ctime, and puts the request on record. */
	return err ? err : namespace_setattr(ns, ino, 0, &attr);
}

int namespace_set_pages(struct namespace *ns, uint64_t ino, uid_t uid, const char *value, int flags)
{
	unsigned order = ns->storage->order;
	bool applied;
	mode_t mode;
	int err = alloc_check_owner(ns, ino, uid, &mode, &applied);

	if (err || applied)
		return err;
	if (value && !page_order_parse(value, &order))
		return -EINVAL;
	if (!pool_regions_of(ns->storage->pool, order))
		return -ENODEV;
	return S_ISDIR(mode) ? set_directory(ns, ino, value, order, flags) : set_file(ns, ino, order);
}

int namespace_get_pages(struct namespace *ns, uint64_t ino, unsigned *order)
{
	int err = 0;

	g_mutex_lock(&ns->lock);
	const struct inode *inode = inode_find(ns, ino);

	if (!inode)
		err = -ENOENT;
	else if (S_ISREG(inode->mode))
		*order = file_order(inode->file);
	else if (S_ISDIR(inode->mode))
		*order = page_size_order(ns, inode);
	else
		err = -ENODATA;
	g_mutex_unlock(&ns->lock);
	return err;
}

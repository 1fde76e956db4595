// SPDX-License-Identifier: GPL-2.0-or-later
/* How files get memory (eager or demand allocation), and whether mappings may discard it. */
#include "namespace/namespace_alloc.h"

#include <errno.h>
#include <string.h>

#include "base/current_request.h"
#include "namespace/namespace_page_size.h"
#include "namespace/namespace_record.h"
#include "pool/numa_policy.h"

static const char *const alloc_names[] = { [DIR_ALLOC_EAGER] = "eager", [DIR_ALLOC_DEMAND] = "demand" };

static bool makes_demand(const struct namespace *ns, const struct inode *dir)
{
	return dir->alloc == DIR_ALLOC_UNSET ? ns->storage->demand : dir->alloc == DIR_ALLOC_DEMAND;
}

/* Puts the settings of @dir on record for @ino, in the text form of the virtual attributes of the same names. */
static void record(const struct namespace *ns, const struct inode *dir, uint64_t ino, const char *alloc,
                   const char *pages)
{
	struct store *store = ns->storage->store;
	g_autofree char *unit = config_format_size(dir->unit);

	if (dir->policy)
		file_record_policy(store, ino, dir->policy);
	if (dir->unit)
		store_put_text(store, ino, RECORD_PAGE_SIZE, unit);
	if (alloc)
		store_put_text(store, ino, FILE_RECORD_ALLOC, alloc);
	if (pages)
		store_put_text(store, ino, FILE_RECORD_PAGES, pages);
	if (dir->discard)
		store_put_text(store, ino, FILE_RECORD_DISCARD, "1");
}

void alloc_inherit(const struct namespace *ns, const struct inode *dir, struct inode *inode)
{
	unsigned order = page_size_order(ns, dir);

	if (S_ISREG(inode->mode)) {
		file_restore_policy(inode->file, dir->policy);
		if (dir->unit)
			file_set_unit(inode->file, dir->unit);
		file_set_order(inode->file, order);
		file_restore_alloc(inode->file, makes_demand(ns, dir), dir->discard);
		/* Without compound pages in any region there is no record of it, as of files of earlier versions. */
		record(ns, dir, inode->ino, makes_demand(ns, dir) ? "demand" : NULL,
		       order == PAGE_ORDER_NONE && ns->storage->order == PAGE_ORDER_NONE ? NULL
		                                                                         : page_order_name(order));
	} else if (S_ISDIR(inode->mode)) {
		inode->policy = numa_policy_ref(dir->policy);
		inode->unit = dir->unit;
		inode->has_order = dir->has_order;
		inode->order = dir->order;
		inode->alloc = dir->alloc;
		inode->discard = dir->discard;
		record(ns, dir, inode->ino, alloc_names[dir->alloc],
		       dir->has_order ? page_order_name(dir->order) : NULL);
	}
}

bool alloc_is_record(const char *name)
{
	return strcmp(name, FILE_RECORD_ALLOC) == 0 || strcmp(name, FILE_RECORD_DISCARD) == 0;
}

bool alloc_restore(struct inode *inode, const char *name, const void *value, size_t size)
{
	g_autofree char *text = g_strndup(value, size);
	bool demand = strcmp(text, "demand") == 0;
	bool discard = strcmp(name, FILE_RECORD_DISCARD) == 0;

	if (discard ? strcmp(text, "1") != 0 : !demand && strcmp(text, "eager") != 0)
		return false;
	if (S_ISREG(inode->mode))
		file_restore_alloc(inode->file, demand || file_is_demand(inode->file),
		                   discard || file_is_discard(inode->file));
	else if (S_ISDIR(inode->mode) && discard)
		inode->discard = true;
	else if (S_ISDIR(inode->mode))
		inode->alloc = demand ? DIR_ALLOC_DEMAND : DIR_ALLOC_EAGER;
	else
		return false;
	return true;
}

int alloc_check_owner(struct namespace *ns, uint64_t ino, uid_t uid, mode_t *mode, bool *applied)
{
	uint64_t done;
	int err = 0;

	g_mutex_lock(&ns->lock);
	const struct inode *inode = inode_find(ns, ino);

	if (!inode)
		err = -ENOENT;
	else if (!S_ISDIR(inode->mode) && !S_ISREG(inode->mode))
		err = -ENODATA;
	else if (uid != 0 && uid != inode->uid)
		err = -EPERM;
	else
		*mode = inode->mode;
	*applied = !err && record_is_done(ns, &done);
	g_mutex_unlock(&ns->lock);
	return err;
}

static int set_directory(struct namespace *ns, uint64_t ino, const char *name, enum dir_alloc alloc, bool discard,
                         int flags)
{
	bool is_alloc = strcmp(name, FILE_RECORD_ALLOC) == 0;
	int err = 0;

	g_mutex_lock(&ns->lock);
	struct inode *dir = inode_find_directory(ns, ino, &err);

	if (!err && is_alloc)
		err = current_request_may_set(dir->alloc != DIR_ALLOC_UNSET, alloc != DIR_ALLOC_UNSET, flags);
	if (!err)
		err = record_text(ns, dir, name, is_alloc ? alloc_names[alloc] : discard ? "1" : NULL);
	if (!err && is_alloc)
		dir->alloc = alloc;
	else if (!err)
		dir->discard = discard;
	g_mutex_unlock(&ns->lock);
	return err;
}

static int set_file(struct namespace *ns, uint64_t ino, int (*set)(struct file *file, bool value), bool value)
{
	struct stat attr;
	struct file *file;
	int err = namespace_get_file(ns, ino, &file);

	if (err)
		return err;
	err = set(file, value);
	namespace_put_file(ns, ino);
	/* Sets ctime, and puts the request on record. */
	return err ? err : namespace_setattr(ns, ino, 0, &attr);
}

int namespace_set_alloc(struct namespace *ns, uint64_t ino, uid_t uid, const char *value, int flags)
{
	enum dir_alloc alloc = DIR_ALLOC_UNSET;
	bool applied;
	mode_t mode;
	int err = alloc_check_owner(ns, ino, uid, &mode, &applied);

	if (err || applied)
		return err;
	if (value && strcmp(value, "eager") != 0 && strcmp(value, "demand") != 0)
		return -EINVAL;
	if (value)
		alloc = strcmp(value, "demand") == 0 ? DIR_ALLOC_DEMAND : DIR_ALLOC_EAGER;
	if (alloc == DIR_ALLOC_DEMAND && !ns->storage->ops->set_mode)
		return -EOPNOTSUPP;
	if (S_ISDIR(mode))
		return set_directory(ns, ino, FILE_RECORD_ALLOC, alloc, false, flags);
	return set_file(ns, ino, file_set_demand, alloc == DIR_ALLOC_DEMAND);
}

int namespace_set_discard(struct namespace *ns, uint64_t ino, uid_t uid, bool discard)
{
	bool applied;
	mode_t mode;
	int err = alloc_check_owner(ns, ino, uid, &mode, &applied);

	if (err || applied)
		return err;
	if (discard && !ns->storage->ops->set_mode)
		return -EOPNOTSUPP;
	if (S_ISDIR(mode))
		return set_directory(ns, ino, FILE_RECORD_DISCARD, DIR_ALLOC_UNSET, discard, 0);
	return set_file(ns, ino, file_set_discard, discard);
}

int namespace_get_alloc(struct namespace *ns, uint64_t ino, bool *demand, bool *discard)
{
	int err = 0;

	g_mutex_lock(&ns->lock);
	const struct inode *inode = inode_find(ns, ino);

	if (!inode) {
		err = -ENOENT;
	} else if (S_ISREG(inode->mode)) {
		*demand = file_is_demand(inode->file);
		*discard = file_is_discard(inode->file);
	} else if (S_ISDIR(inode->mode)) {
		*demand = makes_demand(ns, inode);
		*discard = inode->discard;
	} else {
		err = -ENODATA;
	}
	g_mutex_unlock(&ns->lock);
	return err;
}

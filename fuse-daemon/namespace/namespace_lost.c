// SPDX-License-Identifier: GPL-2.0-or-later
/* What happens to files whose contents are lost, by file and by directory. */
#include "namespace/namespace_lost.h"

#include <errno.h>
#include <string.h>

#include "base/current_request.h"
#include "namespace/namespace_alloc.h"
#include "namespace/namespace_record.h"

static const char *name_of(const struct inode *inode)
{
	return inode->lost_remove ? "remove" : "zero";
}

static bool is_valid(const char *text)
{
	return strcmp(text, "zero") == 0 || strcmp(text, "remove") == 0;
}

static void set(struct inode *inode, const char *text)
{
	inode->has_lost = text;
	inode->lost_remove = text && strcmp(text, "remove") == 0;
}

void lost_inherit(const struct namespace *ns, const struct inode *dir, struct inode *inode)
{
	if (!dir->has_lost || !(S_ISREG(inode->mode) || S_ISDIR(inode->mode)))
		return;
	set(inode, name_of(dir));
	store_put_text(ns->storage->store, inode->ino, STORE_LOST_CONTENTS, name_of(inode));
}

bool lost_restore(struct inode *inode, const void *value, size_t size)
{
	g_autofree char *text = g_strndup(value, size);

	if (!is_valid(text) || !(S_ISREG(inode->mode) || S_ISDIR(inode->mode)))
		return false;
	set(inode, text);
	return true;
}

int namespace_set_lost_contents(struct namespace *ns, uint64_t ino, uid_t uid, const char *value, int flags)
{
	bool applied;
	mode_t mode;
	int err = alloc_check_owner(ns, ino, uid, &mode, &applied);

	if (err || applied)
		return err;
	if (value && !is_valid(value))
		return -EINVAL;
	g_mutex_lock(&ns->lock);
	struct inode *inode = inode_find(ns, ino);

	err = inode ? current_request_may_set(inode->has_lost, value, flags) : -ENOENT;
	if (!err)
		err = record_text(ns, inode, STORE_LOST_CONTENTS, value);
	if (!err)
		set(inode, value);
	g_mutex_unlock(&ns->lock);
	return err;
}

int namespace_get_lost_contents(struct namespace *ns, uint64_t ino, const char **value)
{
	int err = 0;

	*value = NULL;
	g_mutex_lock(&ns->lock);
	const struct inode *inode = inode_find(ns, ino);

	if (!inode)
		err = -ENOENT;
	else if (!S_ISREG(inode->mode) && !S_ISDIR(inode->mode))
		err = -ENODATA;
	else if (inode->has_lost)
		*value = name_of(inode);
	g_mutex_unlock(&ns->lock);
	return err;
}

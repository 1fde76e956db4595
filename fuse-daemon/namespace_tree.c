// SPDX-License-Identifier: GPL-2.0-or-later
/* Names: the operations on the tree. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "inode.h"

static int check_name(const char *name)
{
	return strlen(name) > NAMESPACE_NAME_MAX ? -ENAMETOOLONG : 0;
}

static void touch_directory(struct inode *dir)
{
	dir->mtime = dir->ctime = inode_now();
}

/* The directory @parent and its entry @name; 0 with *@entry NULL when the directory has no such entry. */
static int find_entry(struct namespace *ns, uint64_t parent, const char *name, struct inode **dir,
                      struct directory_entry **entry)
{
	int err = check_name(name);

	*entry = NULL;
	if (err)
		return err;
	*dir = inode_find_directory(ns, parent, &err);
	if (!*dir)
		return err;
	*entry = directory_lookup((*dir)->entries, name);
	return 0;
}

static void count_lookup(struct inode *inode, struct stat *attr)
{
	inode->nlookup++;
	inode_stat(inode, attr);
}

int namespace_lookup(struct namespace *ns, uint64_t parent, const char *name, struct stat *attr)
{
	struct directory_entry *entry;
	struct inode *dir;
	int err;

	g_mutex_lock(&ns->lock);
	err = find_entry(ns, parent, name, &dir, &entry);
	if (!err && !entry)
		err = -ENOENT;
	if (!err)
		count_lookup(inode_find(ns, entry->ino), attr);
	g_mutex_unlock(&ns->lock);
	return err;
}

static void add_name(struct inode *dir, const char *name, struct inode *inode)
{
	directory_insert(dir->entries, name, inode->ino);
	inode->nlink++;
	if (S_ISDIR(inode->mode)) {
		inode->nlink++; /* its own "." */
		inode->parent = dir->ino;
		dir->nlink++; /* its ".." */
	}
	touch_directory(dir);
}

int namespace_make(struct namespace *ns, uint64_t parent, const char *name, mode_t mode, const char *target,
                   struct namespace_caller caller, struct stat *attr)
{
	struct directory_entry *entry = NULL;
	struct inode *dir, *inode;
	int err = 0;

	g_mutex_lock(&ns->lock);
	if (name)
		err = find_entry(ns, parent, name, &dir, &entry);
	else
		dir = inode_find_directory(ns, parent, &err);
	if (!err && entry)
		err = -EEXIST;
	if (!err) {
		/* A set-group-id directory hands its group down, and itself to directories (inode(7)). */
		if (dir->mode & S_ISGID) {
			caller.gid = dir->gid;
			if (S_ISDIR(mode))
				mode |= S_ISGID;
		}
		err = inode_new(ns, mode, target, caller, &inode);
	}
	if (!err) {
		if (name)
			add_name(dir, name, inode);
		count_lookup(inode, attr);
	}
	g_mutex_unlock(&ns->lock);
	return err;
}

int namespace_link(struct namespace *ns, uint64_t ino, uint64_t parent, const char *name, struct stat *attr)
{
	struct directory_entry *entry;
	struct inode *dir;
	int err;

	g_mutex_lock(&ns->lock);
	struct inode *inode = inode_find(ns, ino);

	err = find_entry(ns, parent, name, &dir, &entry);
	if (!err && !inode)
		err = -ENOENT;
	else if (!err && S_ISDIR(inode->mode))
		err = -EPERM;
	else if (!err && entry)
		err = -EEXIST;
	else if (!err && inode->nlink >= NAMESPACE_LINK_MAX)
		err = -EMLINK;
	if (!err) {
		add_name(dir, name, inode);
		inode->ctime = inode_now();
		count_lookup(inode, attr);
	}
	g_mutex_unlock(&ns->lock);
	return err;
}

/* Takes the links that @name gave away again; the entry itself is the caller's to remove or reuse. */
static void drop_name(struct namespace *ns, struct inode *dir, struct inode *inode)
{
	if (S_ISDIR(inode->mode)) {
		dir->nlink--;
		inode->nlink--;
	}
	inode_drop_link(ns, inode);
	touch_directory(dir);
}

static int remove_name(struct namespace *ns, uint64_t parent, const char *name, bool directory)
{
	struct directory_entry *entry;
	struct inode *dir, *dead = NULL;
	int err;

	g_mutex_lock(&ns->lock);
	err = find_entry(ns, parent, name, &dir, &entry);
	if (!err && !entry)
		err = -ENOENT;
	if (!err) {
		struct inode *inode = inode_find(ns, entry->ino);

		if (directory && !S_ISDIR(inode->mode))
			err = -ENOTDIR;
		else if (!directory && S_ISDIR(inode->mode))
			err = -EISDIR;
		else if (directory && directory_count(inode->entries) > 0)
			err = -ENOTEMPTY;
		if (!err) {
			directory_remove(dir->entries, entry);
			drop_name(ns, dir, inode);
			dead = inode_unused(ns, inode);
		}
	}
	g_mutex_unlock(&ns->lock);
	inode_destroy(dead);
	return err;
}

int namespace_unlink(struct namespace *ns, uint64_t parent, const char *name)
{
	return remove_name(ns, parent, name, false);
}

int namespace_rmdir(struct namespace *ns, uint64_t parent, const char *name)
{
	return remove_name(ns, parent, name, true);
}

/* Both ends of a rename, found and checked. */
struct rename_end {
	struct inode *dir;
	struct directory_entry *entry;
	struct inode *inode; /* NULL: no such entry */
};

static int find_end(struct namespace *ns, uint64_t parent, const char *name, struct rename_end *end)
{
	int err = find_entry(ns, parent, name, &end->dir, &end->entry);

	end->inode = !err && end->entry ? inode_find(ns, end->entry->ino) : NULL;
	return err;
}

/* Is @dir the directory @top or below it? */
static bool is_below(const struct namespace *ns, const struct inode *dir, const struct inode *top)
{
	for (; dir != top; dir = inode_find(ns, dir->parent)) {
		if (dir->ino == NAMESPACE_ROOT_INO)
			return false;
	}
	return true;
}

static bool moves_into_itself(const struct namespace *ns, const struct inode *moved, const struct inode *new_dir)
{
	return moved && S_ISDIR(moved->mode) && is_below(ns, new_dir, moved);
}

static int check_replaced(const struct inode *moved, const struct inode *replaced)
{
	if (S_ISDIR(replaced->mode)) {
		if (!S_ISDIR(moved->mode))
			return -EISDIR;
		return directory_count(replaced->entries) > 0 ? -ENOTEMPTY : 0;
	}
	return S_ISDIR(moved->mode) ? -ENOTDIR : 0;
}

static int check_rename(const struct namespace *ns, const struct rename_end *from, const struct rename_end *to,
                        unsigned flags)
{
	if (!from->inode)
		return -ENOENT;
	if (moves_into_itself(ns, from->inode, to->dir))
		return -EINVAL;
	if (flags == RENAME_EXCHANGE) {
		if (!to->inode)
			return -ENOENT;
		return moves_into_itself(ns, to->inode, from->dir) ? -EINVAL : 0;
	}
	if (!to->inode)
		return 0;
	if (flags == RENAME_NOREPLACE)
		return -EEXIST;
	return to->inode == from->inode ? 0 : check_replaced(from->inode, to->inode);
}

/* @inode went from @from to @to: its ".." and their link counts follow. */
static void reparent(struct inode *inode, struct inode *from, struct inode *to)
{
	inode->ctime = inode_now();
	if (!S_ISDIR(inode->mode))
		return;
	from->nlink--;
	to->nlink++;
	inode->parent = to->ino;
}

static void exchange(const struct rename_end *a, const struct rename_end *b)
{
	a->entry->ino = b->inode->ino;
	b->entry->ino = a->inode->ino;
	reparent(a->inode, a->dir, b->dir);
	reparent(b->inode, b->dir, a->dir);
}

/* Returns the inode that lost its name to the move, if that left it unused. */
static struct inode *move(struct namespace *ns, const struct rename_end *from, const struct rename_end *to,
                          const char *new_name)
{
	struct inode *dead = NULL;

	if (to->inode) {
		to->entry->ino = from->inode->ino;
		drop_name(ns, to->dir, to->inode);
		dead = inode_unused(ns, to->inode);
	} else {
		directory_insert(to->dir->entries, new_name, from->inode->ino);
	}
	directory_remove(from->dir->entries, from->entry);
	reparent(from->inode, from->dir, to->dir);
	return dead;
}

int namespace_rename(struct namespace *ns, uint64_t parent, const char *name, uint64_t new_parent,
                     const char *new_name, unsigned flags)
{
	struct rename_end from = { 0 }, to = { 0 };
	struct inode *dead = NULL;
	int err;

	if (flags != 0 && flags != RENAME_NOREPLACE && flags != RENAME_EXCHANGE)
		return -EINVAL;

	g_mutex_lock(&ns->lock);
	err = find_end(ns, parent, name, &from);
	if (!err)
		err = find_end(ns, new_parent, new_name, &to);
	if (!err)
		err = check_rename(ns, &from, &to, flags);
	/* Two names of one inode: POSIX says that nothing happens. */
	if (!err && from.inode != to.inode) {
		if (flags == RENAME_EXCHANGE)
			exchange(&from, &to);
		else
			dead = move(ns, &from, &to, new_name);
		touch_directory(from.dir);
		touch_directory(to.dir);
	}
	g_mutex_unlock(&ns->lock);
	inode_destroy(dead);
	return err;
}

int namespace_readdir(struct namespace *ns, uint64_t ino, uint64_t cookie, bool full,
                      bool (*visit)(const char *name, uint64_t cookie, const struct stat *attr, void *data), void *data)
{
	struct directory_entry *entry;
	struct stat attr = { 0 };
	bool more = true;

	g_mutex_lock(&ns->lock);
	struct inode *dir = inode_find(ns, ino);

	if (!dir || !S_ISDIR(dir->mode)) {
		g_mutex_unlock(&ns->lock);
		return dir ? -ENOTDIR : -ENOENT;
	}
	attr.st_mode = S_IFDIR;
	if (cookie < DIRECTORY_COOKIE_DOT) {
		attr.st_ino = ino;
		more = visit(".", DIRECTORY_COOKIE_DOT, &attr, data);
	}
	if (more && cookie < DIRECTORY_COOKIE_DOTDOT) {
		attr.st_ino = dir->parent;
		more = visit("..", DIRECTORY_COOKIE_DOTDOT, &attr, data);
	}
	cookie = MAX(cookie, DIRECTORY_COOKIE_DOTDOT);
	while (more && (entry = directory_next(dir->entries, cookie))) {
		struct inode *inode = inode_find(ns, entry->ino);

		if (full) {
			inode_stat(inode, &attr);
		} else {
			attr.st_ino = entry->ino;
			attr.st_mode = inode->mode & S_IFMT;
		}
		more = visit(entry->name, entry->cookie, &attr, data);
		if (more && full)
			inode->nlookup++;
		cookie = entry->cookie;
	}
	g_mutex_unlock(&ns->lock);
	return 0;
}

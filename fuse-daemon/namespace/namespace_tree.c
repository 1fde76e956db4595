// SPDX-License-Identifier: GPL-2.0-or-later
/* The operations on names: lookup, make, link, unlink, rename, readdir. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "namespace/inode.h"
#include "namespace/namespace_alloc.h"
#include "namespace/namespace_lost.h"
#include "namespace/namespace_quota.h"
#include "namespace/namespace_record.h"

static int check_name(const char *name)
{
	return strlen(name) > STORE_NAME_MAX ? -ENAMETOOLONG : 0;
}

static void touch_directory(struct inode *dir, struct timespec now)
{
	dir->mtime = dir->ctime = now;
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

/* The inode @name in @parent, "." and ".." included; NULL and *@err when there is none. */
static struct inode *find_named(struct namespace *ns, uint64_t parent, const char *name, int *err)
{
	struct directory_entry *entry;
	struct inode *inode = NULL, *dir;

	if (strcmp(name, ".") == 0) {
		inode = inode_find(ns, parent);
		if (inode && inode->nlink == 0)
			inode = NULL;
	} else if (strcmp(name, "..") == 0) {
		dir = inode_find_directory(ns, parent, err);
		inode = dir ? inode_find(ns, dir->parent) : NULL;
	} else {
		*err = find_entry(ns, parent, name, &dir, &entry);
		inode = entry ? inode_find(ns, entry->ino) : NULL;
	}
	if (!inode && !*err)
		*err = -ENOENT;
	return inode;
}

int namespace_lookup(struct namespace *ns, uint64_t parent, const char *name, struct stat *attr)
{
	int err = 0;

	g_mutex_lock(&ns->lock);
	struct inode *inode = find_named(ns, parent, name, &err);

	if (inode)
		count_lookup(inode, attr);
	g_mutex_unlock(&ns->lock);
	return err;
}

/* Fills @attr with the inode that an earlier daemon made for the current request; -ESTALE when that inode is gone. */
static int find_done(const struct namespace *ns, uint64_t ino, struct stat *attr)
{
	struct inode *inode = inode_find(ns, ino);

	if (!inode)
		return -ESTALE;
	count_lookup(inode, attr);
	return 0;
}

static void add_name(struct namespace *ns, struct inode *dir, const char *name, struct inode *inode,
                     struct timespec now)
{
	inode->cookie = inode_add_name(ns, dir, name, inode->ino)->cookie;
	inode_add_link(ns, inode);
	inode->parent = dir->ino;
	if (S_ISDIR(inode->mode)) {
		inode->nlink++; /* its own "." */
		dir->nlink++;   /* its ".." */
	}
	touch_directory(dir, now);
}

/* Inside a transaction: records the entry that add_name() will make. */
static void record_name(const struct namespace *ns, const struct inode *dir, const char *name,
                        const struct inode *inode, struct timespec now)
{
	store_put_entry(ns->storage->store, dir->ino, directory_next_cookie(dir->entries), name, inode->ino);
	record_touched(ns, dir, now, true);
}

/* Makes an inode in @dir, without a name when @name is NULL. The caller has checked everything else. */
static int make(struct namespace *ns, struct inode *dir, const char *name, mode_t mode, const char *target,
                struct namespace_caller caller, struct inode **made)
{
	struct inode *inode;
	int err;

	/* inode(7): in a set-group-id directory, new inodes get its group, and new directories the set-group-id bit. */
	if (dir->mode & S_ISGID) {
		caller.gid = dir->gid;
		if (S_ISDIR(mode))
			mode |= S_ISGID;
	}
	err = inode_new(ns, mode, target, caller, &inode);
	if (err)
		return err;
	record_begin(ns);
	record_inode(ns, inode);
	alloc_inherit(ns, dir, inode);
	lost_inherit(ns, dir, inode);
	if (name)
		record_name(ns, dir, name, inode, inode->ctime);
	else
		quota_record_nameless(ns, dir, inode);
	err = record_commit(ns, inode->ino);
	if (err) {
		inode_release(inode);
		return err;
	}
	inode_add(ns, inode);
	quota_place(ns, dir, inode);
	if (name)
		add_name(ns, dir, name, inode, inode->ctime);
	*made = inode;
	return 0;
}

int namespace_make(struct namespace *ns, uint64_t parent, const char *name, mode_t mode, const char *target,
                   struct namespace_caller caller, struct stat *attr)
{
	struct directory_entry *entry = NULL;
	struct inode *dir, *inode;
	uint64_t done;
	bool counted;
	int err = 0;

	g_mutex_lock(&ns->lock);
	if (record_is_done(ns, &done)) {
		err = find_done(ns, done, attr);
		g_mutex_unlock(&ns->lock);
		return err;
	}
	if (name)
		err = find_entry(ns, parent, name, &dir, &entry);
	else
		dir = inode_find_directory(ns, parent, &err);
	if (!err && entry)
		err = -EEXIST;
	if (!err)
		err = inode_room(ns,
		                 INODE_FOOTPRINT + (name ? NAME_FOOTPRINT(name) : 0) + (target ? strlen(target) : 0));
	if (!err && name)
		err = quota_add_file(ns->storage->quotas, quota_inside(ns, dir), false);
	counted = !err && name;
	if (!err)
		err = make(ns, dir, name, mode, target, caller, &inode);
	if (!err)
		count_lookup(inode, attr);
	else if (counted)
		quota_remove_file(ns->storage->quotas, quota_inside(ns, dir));
	g_mutex_unlock(&ns->lock);
	return err;
}

/* Gives @inode one more name. The caller has checked everything but the quota. */
static int link_inode(struct namespace *ns, struct inode *inode, struct inode *dir, const char *name)
{
	struct timespec now = inode_now();
	int err = quota_add_name(ns, dir, inode);

	if (err)
		return err;
	record_begin(ns);
	record_name(ns, dir, name, inode, now);
	quota_record_named(ns, inode);
	record_touched(ns, inode, now, false);
	err = record_commit(ns, inode->ino);
	if (err) {
		quota_drop_name(ns, dir, inode);
		return err;
	}
	add_name(ns, dir, name, inode, now);
	inode->ctime = now;
	return 0;
}

int namespace_link(struct namespace *ns, uint64_t ino, uint64_t parent, const char *name, struct stat *attr)
{
	struct directory_entry *entry;
	struct inode *dir;
	uint64_t done;
	int err;

	g_mutex_lock(&ns->lock);
	if (record_is_done(ns, &done)) {
		err = find_done(ns, done, attr);
		g_mutex_unlock(&ns->lock);
		return err;
	}

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
	if (!err)
		err = inode_room(ns, NAME_FOOTPRINT(name));
	if (!err)
		err = link_inode(ns, inode, dir, name);
	if (!err)
		count_lookup(inode, attr);
	g_mutex_unlock(&ns->lock);
	return err;
}

/* Has the file note its last name: a report about memory that a device still holds shows it. */
static void note_last_name(const struct inode *inode, const char *name)
{
	if (S_ISREG(inode->mode) && inode->nlink == 1)
		file_note_name(inode->file, name);
}

/* Undoes the link counts of a name of @inode in @dir. The caller removes the entry, or gives it another inode. */
static void drop_name(struct namespace *ns, struct inode *dir, struct inode *inode, struct timespec now)
{
	if (S_ISDIR(inode->mode)) {
		dir->nlink--;
		inode->nlink--;
	}
	inode_drop_link(ns, inode);
	if (inode->nlink == 0)
		quota_name_lost(ns, dir, inode);
	inode->ctime = now;
	touch_directory(dir, now);
}

/*
 * Removes the entry of @inode. The caller has checked everything. *@dead: @inode, if it is unused now; to
 * inode_destroy().
 */
static int remove_entry(struct namespace *ns, struct inode *dir, struct directory_entry *entry, struct inode *inode,
                        struct inode **dead)
{
	struct timespec now = inode_now();
	int err;

	record_begin(ns);
	store_delete_entry(ns->storage->store, dir->ino, entry->cookie);
	if (inode->nlink == 1)
		quota_record_nameless(ns, dir, inode);
	record_touched(ns, dir, now, true);
	record_touched(ns, inode, now, false);
	err = record_commit(ns, 0);
	if (err)
		return err;
	note_last_name(inode, entry->name);
	inode_remove_name(ns, dir, entry);
	drop_name(ns, dir, inode, now);
	*dead = inode_unused(ns, inode);
	return 0;
}

static int remove_name(struct namespace *ns, uint64_t parent, const char *name, bool directory)
{
	struct directory_entry *entry;
	struct inode *dir, *dead = NULL;
	uint64_t done;
	int err;

	g_mutex_lock(&ns->lock);
	if (record_is_done(ns, &done)) {
		g_mutex_unlock(&ns->lock);
		return 0;
	}
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
		if (!err)
			err = remove_entry(ns, dir, entry, inode, &dead);
	}
	g_mutex_unlock(&ns->lock);
	inode_destroy(ns, dead);
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

/* One end of a rename. */
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

static int check_replaced(const struct inode *moved, const struct inode *replaced)
{
	if (S_ISDIR(replaced->mode)) {
		if (!S_ISDIR(moved->mode))
			return -EISDIR;
		return directory_count(replaced->entries) > 0 ? -ENOTEMPTY : 0;
	}
	return S_ISDIR(moved->mode) ? -ENOTDIR : 0;
}

/* The kernel refuses to move a directory below itself (lock_rename(), EINVAL), so this need not be checked here. */
static int check_rename(const struct namespace *ns, const struct rename_end *from, const struct rename_end *to,
                        const char *new_name, unsigned flags)
{
	if (!from->inode)
		return -ENOENT;
	if (flags == RENAME_EXCHANGE)
		return to->inode ? 0 : -ENOENT;
	if (!to->inode) /* a longer name must have room */
		return strlen(new_name) > strlen(from->entry->name) ? inode_room(ns, strlen(new_name)) : 0;
	if (flags == RENAME_NOREPLACE)
		return -EEXIST;
	return to->inode == from->inode ? 0 : check_replaced(from->inode, to->inode);
}

/* @inode went from directory @from to @to: updates its ".." and the link counts of the two. */
static void reparent(struct inode *inode, struct inode *from, struct inode *to, struct timespec now)
{
	inode->ctime = now;
	inode->parent = to->ino;
	if (!S_ISDIR(inode->mode))
		return;
	from->nlink--;
	to->nlink++;
}

static void exchange(const struct rename_end *a, const struct rename_end *b, struct timespec now)
{
	a->entry->ino = b->inode->ino;
	b->entry->ino = a->inode->ino;
	reparent(a->inode, a->dir, b->dir, now);
	reparent(b->inode, b->dir, a->dir, now);
	a->inode->cookie = b->entry->cookie;
	b->inode->cookie = a->entry->cookie;
}

/* Returns the inode that had the new name before, if it is unused now. */
static struct inode *move(struct namespace *ns, const struct rename_end *from, const struct rename_end *to,
                          const char *new_name, struct timespec now)
{
	struct inode *dead = NULL;

	if (to->inode) {
		to->entry->ino = from->inode->ino;
		from->inode->cookie = to->entry->cookie;
		note_last_name(to->inode, new_name);
		drop_name(ns, to->dir, to->inode, now);
		dead = inode_unused(ns, to->inode);
	} else {
		from->inode->cookie = inode_add_name(ns, to->dir, new_name, from->inode->ino)->cookie;
	}
	inode_remove_name(ns, from->dir, from->entry);
	reparent(from->inode, from->dir, to->dir, now);
	return dead;
}

static int record_rename(const struct namespace *ns, const struct rename_end *from, const struct rename_end *to,
                         const char *new_name, bool exchanged, struct timespec now)
{
	struct store *store = ns->storage->store;
	uint64_t cookie = to->entry ? to->entry->cookie : directory_next_cookie(to->dir->entries);

	record_begin(ns);
	store_put_entry(store, to->dir->ino, cookie, new_name, from->inode->ino);
	if (exchanged)
		store_put_entry(store, from->dir->ino, from->entry->cookie, from->entry->name, to->inode->ino);
	else
		store_delete_entry(store, from->dir->ino, from->entry->cookie);
	if (!exchanged && to->inode && to->inode->nlink == 1)
		quota_record_nameless(ns, to->dir, to->inode);
	record_touched(ns, from->dir, now, true);
	if (to->dir != from->dir)
		record_touched(ns, to->dir, now, true);
	record_touched(ns, from->inode, now, false);
	if (to->inode)
		record_touched(ns, to->inode, now, false);
	return record_commit(ns, 0);
}

/*
 * Renames. The caller has checked everything but the quota. *@dead: the inode that had the new name, if it is unused
 * now.
 */
static int rename_entry(struct namespace *ns, const struct rename_end *from, const struct rename_end *to,
                        const char *new_name, bool exchanged, struct inode **dead, struct quota_patience *patience)
{
	struct timespec now = inode_now();
	int err = quota_rename(ns, from->dir, from->inode, to->dir, to->inode, exchanged, patience);

	if (err)
		return err;
	err = record_rename(ns, from, to, new_name, exchanged, now);
	if (err) {
		quota_rename_undo(ns, from->dir, from->inode, to->dir, to->inode, exchanged);
		return err;
	}
	if (exchanged)
		exchange(from, to, now);
	else
		*dead = move(ns, from, to, new_name, now);
	touch_directory(from->dir, now);
	touch_directory(to->dir, now);
	return 0;
}

static int rename_once(struct namespace *ns, uint64_t parent, const char *name, uint64_t new_parent,
                       const char *new_name, unsigned flags, struct quota_patience *patience)
{
	struct rename_end from = { 0 }, to = { 0 };
	struct inode *dead = NULL;
	uint64_t done;
	int err;

	g_mutex_lock(&ns->lock);
	if (record_is_done(ns, &done)) {
		g_mutex_unlock(&ns->lock);
		return 0;
	}
	err = find_end(ns, parent, name, &from);
	if (!err)
		err = find_end(ns, new_parent, new_name, &to);
	if (!err)
		err = check_rename(ns, &from, &to, new_name, flags);
	/* POSIX: when both names are links to one inode, rename() does nothing. */
	if (!err && from.inode != to.inode)
		err = rename_entry(ns, &from, &to, new_name, flags == RENAME_EXCHANGE, &dead, patience);
	g_mutex_unlock(&ns->lock);
	inode_destroy(ns, dead);
	return err;
}

int namespace_rename(struct namespace *ns, uint64_t parent, const char *name, uint64_t new_parent, const char *new_name,
                     unsigned flags)
{
	struct quota_patience patience;
	int err;

	if (flags != 0 && flags != RENAME_NOREPLACE && flags != RENAME_EXCHANGE)
		return -EINVAL;
	do {
		err = rename_once(ns, parent, name, new_parent, new_name, flags, &patience);
	} while (err == -EDQUOT && quota_wait(ns->storage->quotas, &patience));
	return err;
}

int namespace_readdir(struct namespace *ns, uint64_t ino, uint64_t cookie, bool full,
                      bool (*visit)(const char *name, uint64_t cookie, const struct stat *attr, bool demand,
                                    void *data),
                      void *data)
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
		more = visit(".", DIRECTORY_COOKIE_DOT, &attr, false, data);
	}
	if (more && cookie < DIRECTORY_COOKIE_DOTDOT) {
		attr.st_ino = dir->parent;
		more = visit("..", DIRECTORY_COOKIE_DOTDOT, &attr, false, data);
	}
	if (cookie < STORE_COOKIE_FIRST)
		cookie = UINT64_MAX;
	while (more && (entry = directory_before(dir->entries, cookie))) {
		struct inode *inode = inode_find(ns, entry->ino);

		if (full) {
			inode_stat(inode, &attr);
		} else {
			attr.st_ino = entry->ino;
			attr.st_mode = inode->mode & S_IFMT;
		}
		more = visit(entry->name, entry->cookie, &attr, S_ISREG(inode->mode) && file_is_demand(inode->file),
		             data);
		if (more && full)
			inode->nlookup++;
		cookie = entry->cookie;
	}
	g_mutex_unlock(&ns->lock);
	return 0;
}

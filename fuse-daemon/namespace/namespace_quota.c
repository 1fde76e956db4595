// SPDX-License-Identifier: GPL-2.0-or-later
/* Quota trees in the namespace: which inode is in which tree, which moves between trees are allowed, limits. */
#include "namespace/namespace_quota.h"

#include <errno.h>
#include <string.h>

#include "base/current_request.h"
#include "namespace/namespace_record.h"
#include "quota/quota_limit.h"

static struct quotas *quotas_of(const struct namespace *ns)
{
	return ns->storage->quotas;
}

struct quota *quota_inside(const struct namespace *ns, const struct inode *dir)
{
	return dir->quota ?: quota_tree_of(quotas_of(ns), &dir->account);
}

struct quota_account *quota_account_of(struct inode *inode)
{
	return S_ISREG(inode->mode) ? file_account(inode->file) : &inode->account;
}

void quota_place(const struct namespace *ns, const struct inode *dir, struct inode *inode)
{
	quota_assign(quotas_of(ns), quota_account_of(inode), quota_inside(ns, dir), 0);
}

void quota_record_nameless(const struct namespace *ns, const struct inode *dir, const struct inode *inode)
{
	g_autofree char *path = NULL;

	if (!S_ISREG(inode->mode))
		return;
	path = quota_path(quotas_of(ns), quota_inside(ns, dir));
	if (*path)
		store_put_xattr(ns->storage->store, inode->ino, RECORD_TREES, path, strlen(path));
}

void quota_record_named(const struct namespace *ns, const struct inode *inode)
{
	if (S_ISREG(inode->mode) && inode->nlink == 0)
		store_delete_xattr(ns->storage->store, inode->ino, RECORD_TREES);
}

void quota_name_lost(const struct namespace *ns, const struct inode *dir, struct inode *inode)
{
	quota_remove_file(quotas_of(ns), quota_inside(ns, dir));
	if (S_ISREG(inode->mode))
		quota_expect(quotas_of(ns), quota_account_of(inode));
	if (S_ISDIR(inode->mode) && inode->quota) {
		quota_dissolve(quotas_of(ns), inode->quota);
		inode->quota = NULL;
	}
}

int quota_add_name(const struct namespace *ns, const struct inode *dir, struct inode *inode)
{
	struct quota *tree = quota_inside(ns, dir);

	if (quota_tree_of(quotas_of(ns), quota_account_of(inode)) != tree)
		return -EXDEV;
	return inode->nlink == 0 ? quota_add_file(quotas_of(ns), tree, false) : 0;
}

void quota_drop_name(const struct namespace *ns, const struct inode *dir, struct inode *inode)
{
	if (inode->nlink == 0)
		quota_remove_file(quotas_of(ns), quota_inside(ns, dir));
}

static struct quota_cargo cargo_new(void)
{
	return (struct quota_cargo){ .accounts = g_ptr_array_new(), .trees = g_ptr_array_new() };
}

static void cargo_clear(struct quota_cargo *cargo)
{
	g_clear_pointer(&cargo->accounts, g_ptr_array_unref);
	g_clear_pointer(&cargo->trees, g_ptr_array_unref);
}

/* Collects the inodes below a directory that becomes a tree. */
struct gathering {
	const struct namespace *ns;
	struct quota_cargo *cargo;
	GPtrArray *directories; /* struct inode: directories whose entries are still to be visited */
	GHashTable *names;      /* inode with several names -> how many of its names were not visited yet */
};

static void gather_inode(struct gathering *gathering, struct inode *inode)
{
	struct quota_cargo *cargo = gathering->cargo;

	if (S_ISDIR(inode->mode)) {
		/* Inodes in an inner tree have all their names in it, so gather() need not visit it. */
		g_ptr_array_add(inode->quota ? cargo->trees : gathering->directories,
		                inode->quota ? (gpointer)inode->quota : (gpointer)inode);
	} else if (inode->nlink > 1) {
		gpointer unseen;
		bool known = g_hash_table_lookup_extended(gathering->names, inode, NULL, &unseen);

		g_hash_table_insert(gathering->names, inode,
		                    GUINT_TO_POINTER((known ? GPOINTER_TO_UINT(unseen) : inode->nlink) - 1));
		if (known)
			return;
	}
	cargo->files++;
	g_ptr_array_add(cargo->accounts, quota_account_of(inode));
}

static void gather_entries(struct gathering *gathering, const struct inode *dir)
{
	struct directory_entry *entry;

	for (uint64_t cookie = UINT64_MAX; (entry = directory_before(dir->entries, cookie)); cookie = entry->cookie)
		gather_inode(gathering, inode_find(gathering->ns, entry->ino));
}

static gboolean is_not_zero(gpointer key, gpointer value, gpointer data)
{
	(void)key;
	(void)data;
	return GPOINTER_TO_UINT(value) > 0;
}

/* Collects all inodes below @top. -EXDEV: one of them also has names outside. */
static int gather(const struct namespace *ns, struct inode *top, struct quota_cargo *cargo)
{
	g_autoptr(GPtrArray) directories = g_ptr_array_new();
	g_autoptr(GHashTable) names = g_hash_table_new(NULL, NULL);
	struct gathering gathering = { ns, cargo, directories, names };

	g_ptr_array_add(directories, top);
	while (directories->len > 0)
		gather_entries(&gathering, g_ptr_array_steal_index_fast(directories, directories->len - 1));
	return g_hash_table_find(names, is_not_zero, NULL) ? -EXDEV : 0;
}

/*
 * A rename into another tree moves one inode only. So a directory with entries stays, because its entries count in
 * the same tree as itself; and an inode with several names stays, because all names must be in one tree.
 */
static int may_leave(const struct inode *inode)
{
	if (S_ISDIR(inode->mode))
		return directory_count(inode->entries) > 0 || inode->quota ? -EXDEV : 0;
	return inode->nlink > 1 ? -EXDEV : 0;
}

int quota_rename(const struct namespace *ns, const struct inode *from, struct inode *moved, const struct inode *to,
                 struct inode *replaced, bool exchanged, struct quota_patience *patience)
{
	struct quota *target = quota_inside(ns, to);
	bool leaving = !exchanged && replaced && (S_ISDIR(replaced->mode) || replaced->nlink == 1);
	int err;

	if (quota_inside(ns, from) == target)
		return 0;
	err = may_leave(moved);
	if (!err && exchanged)
		err = may_leave(replaced);
	return err
	               ?: quota_move(quotas_of(ns), quota_account_of(moved), target,
	                             exchanged ? quota_account_of(replaced) : NULL, leaving, patience);
}

void quota_rename_undo(const struct namespace *ns, const struct inode *from, struct inode *moved,
                       const struct inode *to, struct inode *replaced, bool exchanged)
{
	struct quota *source = quota_inside(ns, from);

	if (source != quota_inside(ns, to))
		quota_move(quotas_of(ns), quota_account_of(moved), source,
		           exchanged ? quota_account_of(replaced) : NULL, 0, NULL);
}

static int check_limit(const struct namespace *ns, const struct inode *dir, enum quota_resource resource, uint64_t max,
                       int flags)
{
	struct quota_usage usage = { .max.of = { QUOTA_UNLIMITED, QUOTA_UNLIMITED } };

	if (dir->quota)
		quota_get_usage(quotas_of(ns), dir->quota, &usage);

	return current_request_may_set(usage.max.of[resource] != QUOTA_UNLIMITED, max != QUOTA_UNLIMITED, flags);
}

/* Dissolves the tree of @dir when it has no limit any more. */
static void dissolve_unlimited(const struct namespace *ns, struct inode *dir)
{
	struct quota_usage usage;

	quota_get_usage(quotas_of(ns), dir->quota, &usage);
	if (dir->ino == STORE_ROOT_INO || usage.max.of[QUOTA_BYTES] != QUOTA_UNLIMITED ||
	    usage.max.of[QUOTA_FILES] != QUOTA_UNLIMITED)
		return;
	quota_dissolve(quotas_of(ns), dir->quota);
	dir->quota = NULL;
}

static int set_limit(const struct namespace *ns, struct inode *dir, enum quota_resource resource, uint64_t max)
{
	struct quota_cargo cargo = cargo_new();
	g_autofree char *text = max == QUOTA_UNLIMITED ? NULL : quota_limit_format(resource, max);
	int err = dir->quota ? 0 : gather(ns, dir, &cargo);

	if (!err)
		err = record_text(ns, dir, quota_limit_name(resource), text);
	if (!err) {
		if (!dir->quota)
			dir->quota = quota_new(quotas_of(ns), quota_inside(ns, dir), dir->ino, &cargo);
		quota_set_limit(quotas_of(ns), dir->quota, resource, max);
		dissolve_unlimited(ns, dir);
	}
	cargo_clear(&cargo);
	return err;
}

int namespace_set_limit(struct namespace *ns, uint64_t ino, enum quota_resource resource, uint64_t max, int flags)
{
	uint64_t done;
	int err = 0;

	g_mutex_lock(&ns->lock);
	if (record_is_done(ns, &done)) {
		g_mutex_unlock(&ns->lock);
		return 0;
	}

	struct inode *dir = inode_find_directory(ns, ino, &err);

	if (dir)
		err = check_limit(ns, dir, resource, max, flags);
	if (!err)
		err = set_limit(ns, dir, resource, max);
	g_mutex_unlock(&ns->lock);
	return err;
}

int namespace_may_limit(struct namespace *ns, uint64_t ino)
{
	struct quota_cargo cargo = cargo_new();
	int err = 0;

	g_mutex_lock(&ns->lock);
	struct inode *dir = inode_find_directory(ns, ino, &err);

	if (dir && !dir->quota)
		err = gather(ns, dir, &cargo);
	g_mutex_unlock(&ns->lock);
	cargo_clear(&cargo);
	return err;
}

int namespace_get_quota(struct namespace *ns, uint64_t ino, struct quota_usage *usage)
{
	int err = 0;

	g_mutex_lock(&ns->lock);
	const struct inode *inode = inode_find(ns, ino);

	if (!inode)
		err = -ENOENT;
	else if (!S_ISDIR(inode->mode) || !inode->quota)
		err = -ENODATA;
	else
		quota_get_usage(quotas_of(ns), inode->quota, usage);
	g_mutex_unlock(&ns->lock);
	return err;
}

void namespace_get_room(struct namespace *ns, uint64_t ino, struct quota_usage *usage)
{
	g_mutex_lock(&ns->lock);
	struct inode *inode = inode_find(ns, ino);
	struct quota *tree = quotas_root(quotas_of(ns));

	if (inode)
		tree = S_ISDIR(inode->mode) ? quota_inside(ns, inode)
		                            : quota_tree_of(quotas_of(ns), quota_account_of(inode));
	quota_get_usage(quotas_of(ns), tree, usage);
	g_mutex_unlock(&ns->lock);
}

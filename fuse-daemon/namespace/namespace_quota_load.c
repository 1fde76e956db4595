// SPDX-License-Identifier: GPL-2.0-or-later
/* Makes and counts the quota trees at the start, from the limits on record; counts them again to find errors. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "namespace/namespace_quota.h"
#include "pool/pool_pins.h"
#include "quota/quota_limit.h"

struct limits {
	uint64_t ino;
	uint64_t max[QUOTA_RESOURCES];
};

struct quota_record {
	GHashTable *limits; /* &limits->ino -> struct limits, owned */
	/* Number of a file without a name (owned) -> the value of its RECORD_TREES (owned). */
	GHashTable *paths;
};

struct quota_record *quota_record_new(void)
{
	struct quota_record *record = g_new0(struct quota_record, 1);

	record->limits = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
	record->paths = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
	return record;
}

void quota_record_free(struct quota_record *record)
{
	g_hash_table_unref(record->limits);
	g_hash_table_unref(record->paths);
	g_free(record);
}

bool quota_record_is(const char *name)
{
	return g_str_has_prefix(name, "dmemfs.quota.");
}

static bool add_limit(struct quota_record *record, uint64_t ino, const char *name, const void *value, size_t size)
{
	struct limits *limits = g_hash_table_lookup(record->limits, &ino);

	if (!limits) {
		limits = g_new(struct limits, 1);
		*limits = (struct limits){ ino, { QUOTA_UNLIMITED, QUOTA_UNLIMITED } };
		g_hash_table_insert(record->limits, &limits->ino, limits);
	}
	for (int i = 0; i < QUOTA_RESOURCES; i++) {
		if (strcmp(name, quota_limit_name(i)) == 0)
			return quota_limit_parse(i, value, size, &limits->max[i]);
	}
	return false;
}

bool quota_record_add(struct quota_record *record, uint64_t ino, const char *name, const void *value, size_t size)
{
	if (strcmp(name, RECORD_TREES) != 0)
		return add_limit(record, ino, name, value, size);
	if (size == 0)
		return false;
	g_hash_table_insert(record->paths, g_memdup2(&ino, sizeof(ino)), g_strndup(value, size));
	return true;
}

/*
 * If the record has limits of @dir, makes the tree that begins there. @dir itself is already counted in the tree
 * around it.
 */
static void begin_tree(struct namespace *ns, const struct quota_record *record, struct inode *dir)
{
	const struct limits *limits = g_hash_table_lookup(record->limits, &dir->ino);
	struct quotas *quotas = ns->storage->quotas;

	if (limits && !dir->quota) {
		g_autoptr(GPtrArray) none = g_ptr_array_new();
		const struct quota_cargo nothing = { none, none, 0 };

		dir->quota = quota_new(quotas, quota_inside(ns, dir), dir->ino, &nothing);
	}
	for (int i = 0; limits && i < QUOTA_RESOURCES; i++)
		quota_set_limit(quotas, dir->quota, i, limits->max[i]);
}

/*
 * No operation gives an inode names in two trees, so the record was changed or damaged. Each tree that has one name
 * of @inode, but not the other, is dissolved in memory; the counts of all other trees stay right. The limits of the
 * dissolved trees stay on record and are in force again at the first start after the names were removed.
 */
static void join_trees(struct namespace *ns, const struct inode *dir, struct inode *inode)
{
	struct quotas *quotas = ns->storage->quotas;
	uint64_t ino;

	while ((ino = quota_parting(quotas, quota_tree_of(quotas, quota_account_of(inode)), quota_inside(ns, dir)))) {
		struct inode *top = inode_find(ns, ino);
		g_autofree char *directory = inode_describe(ns, ino), *both = inode_describe(ns, inode->ino);

		log_warning("the quota of the directory %s is not in force: %s has names inside and outside of it: "
		            "remove the names on one side (find -inum shows them), then reload",
		            directory, both);
		quota_dissolve(quotas, top->quota);
		top->quota = NULL;
	}
}

static void count_name(struct namespace *ns, const struct inode *dir, struct inode *inode)
{
	struct quotas *quotas = ns->storage->quotas;
	struct quota_account *account = quota_account_of(inode);
	struct quota *tree = quota_inside(ns, dir);

	if (quota_tree_of(quotas, account)) {
		join_trees(ns, dir, inode); /* another name of @inode is already counted */
		return;
	}
	quota_add_file(quotas, tree, true);
	quota_assign(quotas, account, tree, S_ISREG(inode->mode) ? file_charged(inode->file) : 0);
}

/* Goes from the root downward, so that a directory's tree is made before its entries are counted. */
static void count_named(struct namespace *ns, const struct quota_record *record)
{
	g_autoptr(GPtrArray) directories = g_ptr_array_new();

	g_ptr_array_add(directories, inode_find(ns, STORE_ROOT_INO));
	while (directories->len > 0) {
		struct inode *dir = g_ptr_array_steal_index_fast(directories, directories->len - 1);
		struct directory_entry *entry;

		begin_tree(ns, record, dir);
		for (uint64_t cookie = UINT64_MAX; (entry = directory_before(dir->entries, cookie));
		     cookie = entry->cookie) {
			struct inode *inode = inode_find(ns, entry->ino);

			count_name(ns, dir, inode);
			if (S_ISDIR(inode->mode))
				g_ptr_array_add(directories, inode);
		}
	}
}

/* The first directory in @path (RECORD_TREES; NULL: none) that still begins a tree, else the root's tree. */
static struct quota *find_tree(const struct namespace *ns, const char *path)
{
	char *end = (char *)path;

	while (end && *end) {
		uint64_t ino = g_ascii_strtoull(end, &end, 10);
		const struct inode *dir = inode_find(ns, ino);

		if (dir && S_ISDIR(dir->mode) && dir->quota)
			return dir->quota;
		end = strchr(end, ' ');
	}
	return quotas_root(ns->storage->quotas);
}

static void count_nameless(struct namespace *ns, const struct quota_record *record, struct inode *inode)
{
	struct quota *tree = find_tree(ns, g_hash_table_lookup(record->paths, &inode->ino));

	quota_assign(ns->storage->quotas, quota_account_of(inode), tree,
	             S_ISREG(inode->mode) ? file_charged(inode->file) : 0);
}

void quota_count_all(struct namespace *ns, const struct quota_record *record)
{
	GHashTableIter iter;
	gpointer value;

	count_named(ns, record);
	g_hash_table_iter_init(&iter, ns->inodes);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		if (((struct inode *)value)->nlink == 0)
			count_nameless(ns, record, value);
	}
	ns->counted = true;
}

int namespace_count_pinned(struct namespace *ns)
{
	const struct storage *storage = ns->storage;
	g_autoptr(GHashTable) seen = g_hash_table_new(g_int64_hash, g_int64_equal);
	g_autoptr(GArray) held = store_held_new();
	int err = store_list_held(storage->store, held);

	for (guint i = 0; i < held->len && !err; i++) {
		struct store_held *row = &g_array_index(held, struct store_held, i);
		const struct inode *inode = inode_find(ns, row->ino);
		struct quota_account removed = { 0 };

		/* The record may be a new one, and the memory held since an earlier one: no new file is taken for its owner. */
		ns->next_ino = MAX(ns->next_ino, row->ino + 1);
		if (!row->ino || !g_hash_table_add(seen, &row->ino))
			continue;
		if (inode && S_ISREG(inode->mode)) {
			file_restore_pinned(inode->file);
		} else {
			quota_assign(storage->quotas, &removed, find_tree(ns, row->trees),
			             pool_pinned_bytes(storage->pool, row->ino));
			quota_retire(storage->quotas, row->ino, &removed);
		}
	}
	return err;
}

/* A new count of what is in each tree, without what is in its inner trees. */
struct recount {
	struct namespace *ns;
	GHashTable *own;  /* struct quota -> struct quota_amount */
	GHashTable *seen; /* set of inodes that are counted */
	char *reason;     /* the first difference that was found; NULL: none */
};

static struct quota_amount *own_of(struct recount *recount, struct quota *tree)
{
	struct quota_amount *amount = g_hash_table_lookup(recount->own, tree);

	if (!amount) {
		amount = g_new0(struct quota_amount, 1);
		g_hash_table_insert(recount->own, tree, amount);
	}
	return amount;
}

static void recount_names(struct recount *recount, const struct inode *dir)
{
	struct quota *tree = quota_inside(recount->ns, dir);
	struct directory_entry *entry;

	for (uint64_t cookie = UINT64_MAX; (entry = directory_before(dir->entries, cookie)); cookie = entry->cookie) {
		struct inode *inode = inode_find(recount->ns, entry->ino);
		struct quota_account *account = quota_account_of(inode);

		if (quota_tree_of(recount->ns->storage->quotas, account) != tree)
			recount->reason = g_strdup_printf("quota: inode %" G_GUINT64_FORMAT
			                                  " is counted in a tree that does not contain it",
			                                  entry->ino);
		if (recount->reason)
			return;
		if (g_hash_table_add(recount->seen, inode))
			own_of(recount, tree)->of[QUOTA_FILES]++;
	}
}

static void recount_bytes(struct recount *recount, struct inode *inode)
{
	const struct quota_account *account = file_account(inode->file);
	uint64_t charged = file_charged(inode->file);

	if (account->bytes != charged)
		recount->reason = g_strdup_printf("quota: inode %" G_GUINT64_FORMAT " is charged %" G_GUINT64_FORMAT
		                                  " bytes, but has %" G_GUINT64_FORMAT,
		                                  inode->ino, account->bytes, charged);
	own_of(recount, quota_tree_of(recount->ns->storage->quotas, account))->of[QUOTA_BYTES] += charged;
}

char *namespace_check_quotas(struct namespace *ns)
{
	g_autoptr(GHashTable) own = g_hash_table_new_full(NULL, NULL, NULL, g_free);
	g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
	struct recount recount = { ns, own, seen, NULL };
	GHashTableIter iter;
	gpointer value;

	g_mutex_lock(&ns->lock);
	g_hash_table_iter_init(&iter, ns->inodes);
	while (!recount.reason && g_hash_table_iter_next(&iter, NULL, &value)) {
		struct inode *inode = value;

		if (S_ISDIR(inode->mode))
			recount_names(&recount, inode);
		else if (S_ISREG(inode->mode))
			recount_bytes(&recount, inode);
	}
	if (!recount.reason)
		recount.reason = quotas_check(ns->storage->quotas, own);
	g_mutex_unlock(&ns->lock);
	return recount.reason;
}

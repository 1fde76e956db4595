// SPDX-License-Identifier: GPL-2.0-or-later
/* Limits and usage of directory trees. */
#include "quota/quota.h"

#include <errno.h>

#include "base/current_request.h"
#include "pool/pool.h"

struct quota {
	struct quota *parent; /* the tree around it; NULL: this is the whole file system */
	uint64_t ino;         /* inode number of its directory */
	struct quota_amount used;
	struct quota_amount max;
	gint64 patience_until; /* monotonic time, us */
	bool dissolved;        /* accounts that still point here belong to its parent; usage and limits are not valid */
	unsigned refs;         /* how many accounts and trees point to it, and 1 for its directory */
};

struct quotas {
	GMutex lock;    /* guards all below, every tree, and every account */
	GCond returned; /* signalled when usage of a tree became less */
	uint64_t returns;
	struct quota *root;
	GHashTable *trees;   /* set of struct quota, owned */
	GHashTable *retired; /* inode number (owned guint64) -> struct quota_account, owned */
	unsigned waiting;
	unsigned max_waiting;
};

static struct quota *new_tree(struct quotas *quotas, struct quota *parent, uint64_t ino)
{
	struct quota *tree = g_new0(struct quota, 1);

	tree->parent = parent;
	tree->ino = ino;
	tree->max = (struct quota_amount){ { QUOTA_UNLIMITED, QUOTA_UNLIMITED } };
	tree->refs = 1;
	g_hash_table_add(quotas->trees, tree);
	return tree;
}

struct quotas *quotas_new(unsigned max_waiting)
{
	struct quotas *quotas = g_new0(struct quotas, 1);

	g_mutex_init(&quotas->lock);
	g_cond_init(&quotas->returned);
	quotas->trees = g_hash_table_new_full(NULL, NULL, g_free, NULL);
	quotas->retired = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
	quotas->max_waiting = max_waiting;
	quotas->root = new_tree(quotas, NULL, 0);
	return quotas;
}

void quotas_destroy(struct quotas *quotas)
{
	if (!quotas)
		return;
	g_hash_table_unref(quotas->retired);
	g_hash_table_unref(quotas->trees);
	g_cond_clear(&quotas->returned);
	g_mutex_clear(&quotas->lock);
	g_free(quotas);
}

struct quota *quotas_root(struct quotas *quotas)
{
	return quotas->root;
}

/* The caller of each function from here on holds the lock. */

static void unref(struct quotas *quotas, struct quota *tree)
{
	while (tree && --tree->refs == 0) {
		struct quota *parent = tree->parent;

		g_hash_table_remove(quotas->trees, tree);
		tree = parent;
	}
}

static void gave_back(struct quotas *quotas)
{
	quotas->returns++;
	g_cond_broadcast(&quotas->returned);
}

static struct quota *live(const struct quota *tree)
{
	while (tree && tree->dissolved)
		tree = tree->parent;
	return (struct quota *)tree;
}

static struct quota *around(const struct quota *tree)
{
	return live(tree->parent);
}

static bool is_around(const struct quota *outer, const struct quota *tree)
{
	while (tree && tree != outer)
		tree = around(tree);
	return tree;
}

static void add(struct quota *tree, const struct quota_amount *amount)
{
	for (tree = live(tree); tree; tree = around(tree)) {
		for (int i = 0; i < QUOTA_RESOURCES; i++)
			tree->used.of[i] += amount->of[i];
	}
}

static void subtract(struct quota *tree, const struct quota_amount *amount)
{
	for (tree = live(tree); tree; tree = around(tree)) {
		for (int i = 0; i < QUOTA_RESOURCES; i++) {
			/* More was returned than was charged: abort, because all later answers would be wrong. */
			if (tree->used.of[i] < amount->of[i])
				g_error("quota: directory %" G_GUINT64_FORMAT " has a usage of %" G_GUINT64_FORMAT
				        ", less than the %" G_GUINT64_FORMAT " returned",
				        tree->ino, tree->used.of[i], amount->of[i]);
			tree->used.of[i] -= amount->of[i];
		}
	}
}

static uint64_t room_in(const struct quota *tree, enum quota_resource resource)
{
	uint64_t max = tree->max.of[resource], used = tree->used.of[resource];

	if (max == QUOTA_UNLIMITED)
		return QUOTA_UNLIMITED;
	return max > used ? max - used : 0;
}

/* The innermost of @tree and the trees around it that has no room for @amount of @resource; NULL when all have. */
static struct quota *full_tree(const struct quota *tree, enum quota_resource resource, uint64_t amount)
{
	for (tree = live(tree); tree; tree = around(tree)) {
		/* Where there is no limit, @amount can be of any size: the sum must not overflow. */
		if (room_in(tree, resource) < amount || tree->used.of[resource] > UINT64_MAX - amount)
			return (struct quota *)tree;
	}
	return NULL;
}

static uint64_t smallest_room(const struct quota *tree, enum quota_resource resource)
{
	uint64_t room = QUOTA_UNLIMITED;

	for (tree = live(tree); tree; tree = around(tree))
		room = MIN(room, room_in(tree, resource));
	return room;
}

static struct quota_amount bytes_of(const struct quota_account *account)
{
	return (struct quota_amount){ { [QUOTA_BYTES] = account->bytes } };
}

/* Changes what the account has charged, regardless of limits. */
static void set_bytes(struct quota_account *account, uint64_t bytes)
{
	struct quota_amount before = bytes_of(account);

	if (account->tree)
		subtract(account->tree, &before);
	account->bytes = bytes;

	struct quota_amount after = bytes_of(account);

	if (account->tree)
		add(account->tree, &after);
}

static void set_tree(struct quotas *quotas, struct quota_account *account, struct quota *tree)
{
	uint64_t bytes = account->bytes;
	struct quota *former = account->tree;

	set_bytes(account, 0);
	account->tree = tree;
	if (tree)
		tree->refs++;
	unref(quotas, former);
	set_bytes(account, bytes);
}

static void set_parent(struct quotas *quotas, struct quota *tree, struct quota *parent)
{
	struct quota *former = tree->parent;

	subtract(former, &tree->used);
	tree->parent = parent;
	parent->refs++;
	unref(quotas, former);
	add(parent, &tree->used);
}

static void carry(struct quotas *quotas, const struct quota_cargo *cargo, struct quota *from, struct quota *to)
{
	const struct quota_amount files = { { [QUOTA_FILES] = cargo->files } };

	subtract(from, &files);
	add(to, &files);
	for (guint i = 0; i < cargo->accounts->len; i++)
		set_tree(quotas, g_ptr_array_index(cargo->accounts, i), to);
	for (guint i = 0; i < cargo->trees->len; i++)
		set_parent(quotas, g_ptr_array_index(cargo->trees, i), to);
}

/* The functions from here on take the lock. */

struct quota *quota_new(struct quotas *quotas, struct quota *outer, uint64_t ino, const struct quota_cargo *cargo)
{
	g_mutex_lock(&quotas->lock);
	struct quota *tree = new_tree(quotas, outer, ino);

	outer->refs++;
	carry(quotas, cargo, outer, tree);
	g_mutex_unlock(&quotas->lock);
	return tree;
}

void quota_dissolve(struct quotas *quotas, struct quota *tree)
{
	g_mutex_lock(&quotas->lock);
	tree->dissolved = true;
	unref(quotas, tree);
	gave_back(quotas);
	g_mutex_unlock(&quotas->lock);
}

void quota_set_limit(struct quotas *quotas, struct quota *tree, enum quota_resource resource, uint64_t max)
{
	g_mutex_lock(&quotas->lock);
	tree->max.of[resource] = max;
	gave_back(quotas);
	g_mutex_unlock(&quotas->lock);
}

void quota_get_usage(struct quotas *quotas, const struct quota *tree, struct quota_usage *usage)
{
	static const struct quota_amount unlimited = { { QUOTA_UNLIMITED, QUOTA_UNLIMITED } };

	*usage = (struct quota_usage){ .max = unlimited, .size = unlimited, .room = unlimited };
	g_mutex_lock(&quotas->lock);
	tree = live(tree);
	if (tree) {
		usage->used = tree->used;
		usage->max = tree->max;
	}
	for (const struct quota *at = tree; at; at = around(at)) {
		for (int i = 0; i < QUOTA_RESOURCES; i++)
			usage->size.of[i] = MIN(usage->size.of[i], at->max.of[i]);
	}
	for (int i = 0; i < QUOTA_RESOURCES; i++)
		usage->room.of[i] = smallest_room(tree, i);
	g_mutex_unlock(&quotas->lock);
}

static char *path_of(const struct quotas *quotas, const struct quota *tree)
{
	GString *path = g_string_new(NULL);

	for (tree = live(tree); tree && tree != quotas->root; tree = around(tree))
		g_string_append_printf(path, "%s%" G_GUINT64_FORMAT, path->len ? " " : "", tree->ino);
	return g_string_free(path, FALSE);
}

char *quota_path(struct quotas *quotas, const struct quota *tree)
{
	char *path;

	g_mutex_lock(&quotas->lock);
	path = path_of(quotas, tree);
	g_mutex_unlock(&quotas->lock);
	return path;
}

char *quota_retired_path(struct quotas *quotas, uint64_t ino)
{
	const struct quota_account *account;
	char *path;

	g_mutex_lock(&quotas->lock);
	account = g_hash_table_lookup(quotas->retired, &ino);
	path = path_of(quotas, account ? account->tree : NULL);
	g_mutex_unlock(&quotas->lock);
	return path;
}

static const struct quota_amount one_file = { { [QUOTA_FILES] = 1 } };

int quota_add_file(struct quotas *quotas, struct quota *tree, bool force)
{
	int err = 0;

	g_mutex_lock(&quotas->lock);
	if (!force && full_tree(tree, QUOTA_FILES, 1))
		err = -EDQUOT;
	else
		add(tree, &one_file);
	g_mutex_unlock(&quotas->lock);
	return err;
}

void quota_remove_file(struct quotas *quotas, struct quota *tree)
{
	g_mutex_lock(&quotas->lock);
	subtract(tree, &one_file);
	g_mutex_unlock(&quotas->lock);
}

void quota_assign(struct quotas *quotas, struct quota_account *account, struct quota *tree, uint64_t bytes)
{
	g_mutex_lock(&quotas->lock);
	set_tree(quotas, account, tree);
	set_bytes(account, bytes);
	g_mutex_unlock(&quotas->lock);
}

struct quota *quota_tree_of(struct quotas *quotas, const struct quota_account *account)
{
	g_mutex_lock(&quotas->lock);
	struct quota *tree = live(account->tree);

	g_mutex_unlock(&quotas->lock);
	return tree;
}

uint64_t quota_parting(struct quotas *quotas, const struct quota *tree, const struct quota *other)
{
	g_mutex_lock(&quotas->lock);
	const struct quota *inner = is_around(tree, other) ? other : tree;
	uint64_t ino = tree == other ? 0 : inner->ino;

	g_mutex_unlock(&quotas->lock);
	return ino;
}

/* May the caller wait for room in @full? Only if enough may be returned soon, and not too many threads wait already. */
static bool may_wait(const struct quotas *quotas, const struct quota *full, uint64_t bytes)
{
	return bytes <= full->max.of[QUOTA_BYTES] && quotas->waiting < quotas->max_waiting &&
	       g_get_monotonic_time() < full->patience_until && !current_request_is_interrupted();
}

int quota_charge(struct quotas *quotas, struct quota_account *account, uint64_t bytes)
{
	struct quota *full;
	int err = 0;

	current_request_check_interrupt();
	g_mutex_lock(&quotas->lock);
	while ((full = full_tree(account->tree, QUOTA_BYTES, bytes)) && may_wait(quotas, full, bytes)) {
		quotas->waiting++;
		g_cond_wait_until(&quotas->returned, &quotas->lock, current_request_look_again(full->patience_until));
		g_mutex_unlock(&quotas->lock);
		current_request_check_interrupt();
		g_mutex_lock(&quotas->lock);
		quotas->waiting--;
	}
	if (!full)
		set_bytes(account, account->bytes + bytes);
	else if (current_request_is_interrupted())
		err = -EINTR;
	else
		err = full->max.of[QUOTA_BYTES] == QUOTA_UNLIMITED ? -ENOSPC : -EDQUOT;
	g_mutex_unlock(&quotas->lock);
	return err;
}

void quota_settle(struct quotas *quotas, struct quota_account *account, uint64_t bytes)
{
	g_mutex_lock(&quotas->lock);
	if (bytes < account->bytes) {
		set_bytes(account, bytes);
		gave_back(quotas);
	}
	g_mutex_unlock(&quotas->lock);
}

uint64_t quota_room(struct quotas *quotas, const struct quota_account *account)
{
	g_mutex_lock(&quotas->lock);
	uint64_t room = smallest_room(account->tree, QUOTA_BYTES);

	g_mutex_unlock(&quotas->lock);
	return room;
}

void quota_expect(struct quotas *quotas, const struct quota_account *account)
{
	g_mutex_lock(&quotas->lock);
	for (struct quota *tree = live(account->tree); tree; tree = around(tree))
		tree->patience_until = g_get_monotonic_time() + POOL_PATIENCE_MS * G_TIME_SPAN_MILLISECOND;
	g_mutex_unlock(&quotas->lock);
}

void quota_retire(struct quotas *quotas, uint64_t ino, struct quota_account *account)
{
	g_mutex_lock(&quotas->lock);
	if (account->tree && account->bytes) {
		g_hash_table_insert(quotas->retired, g_memdup2(&ino, sizeof(ino)),
		                    g_memdup2(account, sizeof(*account)));
		*account = (struct quota_account){ 0 };
	} else {
		set_tree(quotas, account, NULL);
	}
	g_mutex_unlock(&quotas->lock);
}

void quota_idle(struct quotas *quotas, uint64_t ino, uint64_t bytes)
{
	g_mutex_lock(&quotas->lock);
	struct quota_account *account = g_hash_table_lookup(quotas->retired, &ino);

	if (account && bytes < account->bytes) {
		set_bytes(account, bytes);
		gave_back(quotas);
	}
	if (account && account->bytes == 0) {
		set_tree(quotas, account, NULL);
		g_hash_table_remove(quotas->retired, &ino);
	}
	g_mutex_unlock(&quotas->lock);
}

/* Would @tree exceed a limit if @more were added and @less removed? */
static bool overflows(const struct quota *tree, const struct quota_amount *more, const struct quota_amount *less)
{
	for (int i = 0; i < QUOTA_RESOURCES; i++) {
		if (more->of[i] > less->of[i] && more->of[i] - less->of[i] > room_in(tree, i))
			return true;
	}
	return false;
}

/* Finds such a tree: the first of @tree and those around it that do not also contain @other. NULL: none overflows. */
static const struct quota *find_overflow(const struct quota *tree, const struct quota *other,
                                         const struct quota_amount *more, const struct quota_amount *less)
{
	for (tree = live(tree); tree && !is_around(tree, live(other)); tree = around(tree)) {
		if (overflows(tree, more, less))
			return tree;
	}
	return NULL;
}

static void move_inode(struct quotas *quotas, struct quota_account *account, struct quota *to)
{
	subtract(account->tree, &one_file);
	set_tree(quotas, account, to);
	add(to, &one_file);
}

int quota_move(struct quotas *quotas, struct quota_account *there, struct quota *to, struct quota_account *back,
               bool leaving, struct quota_patience *patience)
{
	const struct quota *full = NULL;

	g_mutex_lock(&quotas->lock);
	struct quota *from = live(there->tree);
	struct quota_amount more = { { [QUOTA_BYTES] = there->bytes, [QUOTA_FILES] = 1 } };
	struct quota_amount less = { { [QUOTA_BYTES] = back ? back->bytes : 0, [QUOTA_FILES] = back ? 1 : 0 } };
	struct quota_amount lost = less;

	lost.of[QUOTA_FILES] += leaving;
	if (patience)
		full = find_overflow(to, from, &more, &lost) ?: find_overflow(from, to, &less, &more);
	if (full) {
		*patience = (struct quota_patience){ full->patience_until, quotas->returns };
	} else {
		move_inode(quotas, there, to);
		if (back)
			move_inode(quotas, back, from);
		gave_back(quotas);
	}
	g_mutex_unlock(&quotas->lock);
	return full ? -EDQUOT : 0;
}

bool quota_wait(struct quotas *quotas, const struct quota_patience *patience)
{
	g_mutex_lock(&quotas->lock);
	bool may = quotas->waiting < quotas->max_waiting && g_get_monotonic_time() < patience->until;

	if (may && quotas->returns == patience->returns) {
		quotas->waiting++;
		g_cond_wait_until(&quotas->returned, &quotas->lock, patience->until);
		quotas->waiting--;
	}
	g_mutex_unlock(&quotas->lock);
	return may;
}

/* Adds @amount to the expected usage of @tree and of those around it in @sums. */
static void add_to_sums(GHashTable *sums, const struct quota *tree, const struct quota_amount *amount)
{
	for (tree = live(tree); tree; tree = around(tree)) {
		struct quota_amount *sum = g_hash_table_lookup(sums, tree);

		if (!sum) {
			sum = g_new0(struct quota_amount, 1);
			g_hash_table_insert(sums, (gpointer)tree, sum);
		}
		for (int i = 0; i < QUOTA_RESOURCES; i++)
			sum->of[i] += amount->of[i];
	}
}

static char *compare(const struct quota *tree, const struct quota_amount *sum)
{
	static const char *const names[] = { [QUOTA_BYTES] = "bytes", [QUOTA_FILES] = "files" };

	for (int i = 0; i < QUOTA_RESOURCES; i++) {
		if (tree->used.of[i] != sum->of[i])
			return g_strdup_printf("quota: directory %" G_GUINT64_FORMAT ": %" G_GUINT64_FORMAT
			                       " %s counted, %" G_GUINT64_FORMAT " there",
			                       tree->ino, tree->used.of[i], names[i], sum->of[i]);
	}
	return NULL;
}

char *quotas_check(struct quotas *quotas, GHashTable *own)
{
	g_autoptr(GHashTable) sums = g_hash_table_new_full(NULL, NULL, NULL, g_free);
	gpointer key, value;
	GHashTableIter iter;
	char *reason = NULL;

	g_mutex_lock(&quotas->lock);
	g_hash_table_iter_init(&iter, own);
	while (g_hash_table_iter_next(&iter, &key, &value))
		add_to_sums(sums, key, value);
	g_hash_table_iter_init(&iter, quotas->retired);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const struct quota_account *account = value;
		struct quota_amount bytes = bytes_of(account);

		add_to_sums(sums, account->tree, &bytes);
	}
	g_hash_table_iter_init(&iter, quotas->trees);
	while (!reason && g_hash_table_iter_next(&iter, &key, NULL)) {
		static const struct quota_amount nothing;
		const struct quota *tree = key;
		const struct quota_amount *sum = g_hash_table_lookup(sums, tree);

		if (!tree->dissolved)
			reason = compare(tree, sum ?: &nothing);
	}
	g_mutex_unlock(&quotas->lock);
	return reason;
}

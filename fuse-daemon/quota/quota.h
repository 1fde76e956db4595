/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Limits on directory trees and what the trees hold: owner of both. Pure: no I/O.
 *
 * A tree begins at a directory that has a limit, and is all below it; the directory itself belongs to the tree around
 * it. Trees lie in trees, and the outermost is the whole file system. What is in a tree counts there and in every tree
 * around it:
 *   bytes   allocated units of regular files, from the moment before the pool gives them to the one after it has them
 *           back: a removed file counts until nobody reaches its memory
 *   files   inodes of every type, with a name; however many names
 * All names of an inode are in one tree. So a link across trees is refused, and so is what would part two names. A rename
 * across trees takes one inode along: a directory that has entries, or is a tree itself, stays.
 *
 * What trees hold is not on record: it follows from names and extents, and is counted at the start. So it cannot drift;
 * quotas_check() counts again.
 *
 * Lock order: file, namespace, quota. One lock, a leaf: nothing is taken under it. Invariants under it:
 *  - used = accounts and names of the tree itself + used of the trees directly in it
 *  - an account covers the memory of its file; at rest (the file's lock is free) the two are equal
 *  - nothing is added that leaves a tree past a limit; one is past its limit only when that was set to less than it held
 *
 * A file's memory comes back a moment after its last name is gone (pool.h). So that "rm big; create big" works at
 * the limit, quota_charge() waits up to POOL_PATIENCE_MS after the latest removal in the tree that is full; with no
 * recent removal it fails at once.
 */
#ifndef DMEMFS_QUOTA_H
#define DMEMFS_QUOTA_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define QUOTA_UNLIMITED UINT64_MAX

enum quota_resource { QUOTA_BYTES, QUOTA_FILES, QUOTA_RESOURCES };

struct quotas; /* all trees of a file system */
struct quota;  /* one tree; lives as long as its directory has a limit */

struct quota_amount {
	uint64_t of[QUOTA_RESOURCES];
};

struct quota_usage {
	struct quota_amount used;
	struct quota_amount max;  /* of this tree; QUOTA_UNLIMITED */
	struct quota_amount size; /* the smallest limit of this tree and of those around it; QUOTA_UNLIMITED */
	struct quota_amount room; /* what could be added before one of them is reached; QUOTA_UNLIMITED */
};

/* What one file has charged to which tree. Part of struct file; zero at first. */
struct quota_account {
	struct quota *tree; /* NULL: not counted */
	uint64_t bytes;
};

/* All that is in a directory: what becomes a tree. */
struct quota_cargo {
	GPtrArray *accounts; /* struct quota_account: of the files in no inner tree */
	GPtrArray *trees;    /* struct quota: the outermost of the inner trees */
	uint64_t files;      /* with names, in no inner tree */
};

/* When to ask again after -EDQUOT. */
struct quota_patience {
	gint64 until;     /* monotonic time, us; 0: never */
	uint64_t returns; /* how often something had been given back when the answer was given */
};

/* At most @max_waiting callers wait at a time, as in pool_new(). */
struct quotas *quotas_new(unsigned max_waiting);
/* With all trees. NULL is fine. */
void quotas_destroy(struct quotas *quotas);
/* The tree that is everything. It can have limits, too. */
struct quota *quotas_root(struct quotas *quotas);

/* @ino becomes a tree, without limits yet, inside of @around, with the @cargo that was in @around till now. */
struct quota *quota_new(struct quotas *quotas, struct quota *around, uint64_t ino, const struct quota_cargo *cargo);
/* The directory has no limit any more, or was removed: what is left in the tree is in the one around it. */
void quota_dissolve(struct quotas *quotas, struct quota *tree);
void quota_set_limit(struct quotas *quotas, struct quota *tree, enum quota_resource resource, uint64_t max);
/* @tree NULL: all zero and unlimited. */
void quota_get_usage(struct quotas *quotas, const struct quota *tree, struct quota_usage *usage);
/* Numbers of the directories of @tree and of those around it, inner ones first, without the root: "7 3". g_malloc'ed. */
char *quota_path(struct quotas *quotas, const struct quota *tree);

/* One more inode with a name: 0 or -EDQUOT. With @force limits do not matter. */
int quota_add_file(struct quotas *quotas, struct quota *tree, bool force);
void quota_remove_file(struct quotas *quotas, struct quota *tree);

/*
 * The account belongs to @tree from now on, with all that it has charged. Limits do not matter. @bytes, what the file
 * has, replaces what is charged.
 */
void quota_assign(struct quotas *quotas, struct quota_account *account, struct quota *tree, uint64_t bytes);
/* Its tree, NULL when it has none; compare with that of another. */
struct quota *quota_tree_of(struct quotas *quotas, const struct quota_account *account);
/* The directory of the innermost tree that holds one of the two, which are live, and not the other. 0: they are the same. */
uint64_t quota_parting(struct quotas *quotas, const struct quota *tree, const struct quota *other);
/* Before memory is taken: 0, or nothing is charged and -EDQUOT (-ENOSPC: more than any memory has). */
int quota_charge(struct quotas *quotas, struct quota_account *account, uint64_t bytes);
/* After the pool has memory back, or did not give it: the file has no more than @bytes. */
void quota_settle(struct quotas *quotas, struct quota_account *account, uint64_t bytes);
/* How much quota_charge() would grant. */
uint64_t quota_room(struct quotas *quotas, const struct quota_account *account);
/* The file has no name any more: what it has charged may come back soon. */
void quota_expect(struct quotas *quotas, const struct quota_account *account);
/* The file @ino is destroyed: what it has charged stays so until quota_idle(). @account is empty afterwards. */
void quota_retire(struct quotas *quotas, uint64_t ino, struct quota_account *account);
/* The pool has the memory of @ino. Unknown ones are ignored. */
void quota_idle(struct quotas *quotas, uint64_t ino);

/*
 * The inode with a name whose account is @there goes from its tree to the tree @to, and that of @back (NULL: none) the other
 * way; @leaving: an inode of @to is about to be removed in exchange. -EDQUOT, nothing has moved: a tree that gets more than it
 * gives would be past its limit. @patience NULL: whatever the limits.
 */
int quota_move(struct quotas *quotas, struct quota_account *there, struct quota *to, struct quota_account *back,
               bool leaving, struct quota_patience *patience);
/* With no lock held. True: ask again. */
bool quota_wait(struct quotas *quotas, const struct quota_patience *patience);

/*
 * At rest: are the trees what they hold? @own (struct quota -> struct quota_amount) has every tree with what is in it but
 * not in an inner one, as counted by the caller; removed files whose memory is on its way are added here. NULL: they
 * are. Else which is not, g_malloc'ed.
 */
char *quotas_check(struct quotas *quotas, GHashTable *own);

#endif

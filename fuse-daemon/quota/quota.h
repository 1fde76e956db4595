/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Limits and usage of directory trees. Owns both. Does no I/O.
 *
 * A tree is everything below a directory that has a limit. The directory itself belongs to the tree around it. Trees can be
 * nested; the outermost is the whole file system. What is in a tree counts in it and in every tree around it:
 *   bytes   allocated units of regular files. They count from before the pool gives them until after the pool has them back:
 *           a removed file counts until no process maps its memory, and no device holds it
 *   files   inodes of every type that have a name; an inode with several names counts once
 * All names of an inode are in one tree. Therefore a link into another tree is refused, and so is a change that would
 * separate two names. A rename into another tree moves a single inode: it is refused for a directory that has entries or
 * is a tree itself.
 *
 * Usage is not on record. It follows from names, extents and held memory (store_put_held()), and is counted at the start; quotas_check() counts again.
 *
 * Lock order: file, namespace, quota. There is one lock, a leaf: no other lock is taken under it. All functions take it.
 * Invariants under it:
 *  - usage of a tree = its own accounts and names + usage of the trees directly in it
 *  - an account has charged at least the memory of its file; exactly that while nobody holds the file's lock
 *  - nothing is added to a tree that would exceed a limit. Usage is above a limit only if the limit was lowered below it
 *
 * The memory of a removed file becomes free a moment after its last name is gone (pool.h). So that "rm big; create big" works
 * at a limit, quota_charge() waits for that, up to POOL_PATIENCE_MS after the latest removal in the tree that is full.
 * Otherwise it fails at once.
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
	struct quota_amount max;  /* the limits of this tree; or QUOTA_UNLIMITED */
	struct quota_amount size; /* the smallest limits of this tree and those around it; or QUOTA_UNLIMITED */
	struct quota_amount room; /* how much can be added before one of these is reached; or QUOTA_UNLIMITED */
};

/* What one file has charged, and to which tree. Part of struct file; all zero at first. */
struct quota_account {
	struct quota *tree; /* NULL: the file is not counted */
	uint64_t bytes;
};

/* Everything in a directory that becomes a tree. */
struct quota_cargo {
	GPtrArray *accounts; /* struct quota_account: of the files that are in no inner tree */
	GPtrArray *trees;    /* struct quota: the inner trees that are in no other inner tree */
	uint64_t files;      /* inodes with a name that are in no inner tree */
};

/* For a retry after -EDQUOT. */
struct quota_patience {
	gint64 until;     /* wait until then (monotonic time, us); 0: do not wait */
	uint64_t returns; /* the count of returns (usage became less) when the call failed */
};

/* The root tree only, without limits. At most @max_waiting callers wait at a time, as in pool_new(). */
struct quotas *quotas_new(unsigned max_waiting);
/* Frees all trees, too. @quotas may be NULL. */
void quotas_destroy(struct quotas *quotas);
/* The tree that is the whole file system. It can have limits, too. */
struct quota *quotas_root(struct quotas *quotas);

/* Makes directory @ino a tree in @around, without limits. Moves @cargo, which was in @around, into it. */
struct quota *quota_new(struct quotas *quotas, struct quota *around, uint64_t ino, const struct quota_cargo *cargo);
/* Ends a tree whose directory has no limit any more or was removed. What is in it belongs to the tree around it. */
void quota_dissolve(struct quotas *quotas, struct quota *tree);
void quota_set_limit(struct quotas *quotas, struct quota *tree, enum quota_resource resource, uint64_t max);
/* @tree may be NULL: then usage is zero, and everything unlimited. */
void quota_get_usage(struct quotas *quotas, const struct quota *tree, struct quota_usage *usage);
/* Inode numbers of the directories of @tree and those around it, innermost first, without the root: "7 3". To be freed. */
char *quota_path(struct quotas *quotas, const struct quota *tree);
/* The same for the tree that the removed file @ino is charged to; "": none. */
char *quota_retired_path(struct quotas *quotas, uint64_t ino);

/* Counts one more inode with a name. 0 or -EDQUOT; with @force regardless of limits. */
int quota_add_file(struct quotas *quotas, struct quota *tree, bool force);
void quota_remove_file(struct quotas *quotas, struct quota *tree);

/* Moves the account to @tree, regardless of limits, and sets what it has charged to @bytes, the memory of the file. */
void quota_assign(struct quotas *quotas, struct quota_account *account, struct quota *tree, uint64_t bytes);
/* The tree of the account, for comparisons; NULL when it has none. */
struct quota *quota_tree_of(struct quotas *quotas, const struct quota_account *account);
/* The directory of the innermost tree that contains only one of the two, which must be live. 0: they are the same. */
uint64_t quota_parting(struct quotas *quotas, const struct quota *tree, const struct quota *other);
/*
 * Charges @bytes, before memory is taken from the pool. 0; or -EDQUOT, -ENOSPC (more than any memory has) or -EINTR, and nothing
 * is charged. May wait.
 */
int quota_charge(struct quotas *quotas, struct quota_account *account, uint64_t bytes);
/* Reduces what is charged to @bytes, the memory of the file: after the pool got memory back, or did not give it. */
void quota_settle(struct quotas *quotas, struct quota_account *account, uint64_t bytes);
/* The bytes that quota_charge() would grant now. */
uint64_t quota_room(struct quotas *quotas, const struct quota_account *account);
/* The file has no name any more: requests may wait for what it has charged. */
void quota_expect(struct quotas *quotas, const struct quota_account *account);
/* Keeps what the removed file @ino has charged until quota_idle(). Empties @account, whose file is about to be freed. */
void quota_retire(struct quotas *quotas, uint64_t ino, struct quota_account *account);
/*
 * The pool has the memory of the removed file @ino back, except @bytes that processes or devices still hold: reduces what it has
 * charged to that. Ignores unknown numbers.
 */
void quota_idle(struct quotas *quotas, uint64_t ino, uint64_t bytes);

/*
 * For a rename into another tree: moves one named inode with its account @there from its tree to @to, and in an exchange the one
 * with account @back (may be NULL) the other way. @leaving: the rename replaces an inode of @to. -EDQUOT, and nothing was
 * moved: a tree that gets more than it loses would exceed a limit; @patience says whether to wait. @patience NULL: moves
 * regardless of limits.
 */
int quota_move(struct quotas *quotas, struct quota_account *there, struct quota *to, struct quota_account *back,
               bool leaving, struct quota_patience *patience);
/* Waits as @patience says. True: try again. The caller must hold no lock. */
bool quota_wait(struct quotas *quotas, const struct quota_patience *patience);

/*
 * Compares the usage of all trees with what the caller has counted, while no file changes. @own (struct quota -> struct
 * quota_amount): for every tree what is in it, but in no inner tree. Memory of removed files that is still charged is
 * added here. NULL: equal. Else a text about the first difference, which the caller frees.
 */
char *quotas_check(struct quotas *quotas, GHashTable *own);

#endif

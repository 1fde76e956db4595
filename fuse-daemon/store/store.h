/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The durable metadata: a SQLite database in the state directory. It is the truth; inode table, directories, extent maps
 * and the module's objects are copies of it, loaded at the start.
 *
 * One operation is one transaction: store_begin(), rows, store_commit(). Rows cannot fail on their own: the commit
 * does, and nothing of the transaction is there then. One lock, held from begin to commit; it is taken under the namespace's or a
 * file's lock, and nothing but the quotas' and the pool's, which are leaves, is taken under it.
 *
 * The rule for who changes something: check all that can be checked, commit, and only then change the copy in memory. A copy
 * that has to change first (a quota that is charged, memory that the pool gave) is changed back when the commit fails. So a
 * commit that fails, and any may, leaves memory as it was: equal to the record. Three things may be newer than the record, each
 * harmless when it is lost: times that a write set (namespace_flush()), a registration, without which files on a full state directory could
 * not be read (file_open()), and bad memory, which the pool must not give away meanwhile (poison_update()).
 *
 * What is durable when: a committed transaction is in SQLite's write-ahead log (metadata.db-wal), in the kernel's page cache. It
 * survives the death of the process at any instruction. It survives that of the kernel, or a power cut, once the kernel has written it to the
 * disk: at the next checkpoint, by itself about half a minute later, or at once with store_sync(). What is lost then are
 * the last transactions, all of them from some moment on; the database stays whole (synchronous=NORMAL: the log is on the disk before the
 * database changes). A copy of the two files, taken while a daemon runs, has to be of one moment: STORE_FILE first, then the log, and again if
 * the first 32 bytes of the log have changed meanwhile, which is when it began anew.
 *
 * The log has at most 64 MiB while no single transaction is longer than a million rows: the bound is seen to between transactions
 * (store.c). A run of memory takes some 33 bytes of it (measured: a file of 1,000,000 runs made it 33 MiB), so a change of one file
 * in many millions of runs of 4 KiB, or all files that are given new memory after their contents were lost, may pass that for as long as
 * it takes.
 *
 * Link counts and parents are not stored: they follow from the entries. An inode without an entry is an orphan:
 * unlinked, but open, mapped, or about to be deleted when the last daemon died.
 *
 * The request at hand: a change that must not be applied twice leaves a record of its request in its own
 * transaction (store_put_done()). A daemon that takes the connection over gets unanswered requests again, and
 * answers those on record without applying them (DESIGN: FUSE_NOTIFY_RESEND).
 *
 * Functions that return int: 0 or a negative errno (-ENOSPC: the file system of the state directory is full, -ENOMEM, -EIO).
 */
#ifndef DMEMFS_STORE_H
#define DMEMFS_STORE_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/extent_map.h"

#define STORE_FILE "metadata.db"
/* PRAGMA application_id: "dmem". */
#define STORE_APPLICATION_ID 0x646d656d
/* PRAGMA user_version: of the schema. The one before is migrated; older ones, which no release had, and newer ones are refused. */
#define STORE_VERSION 5

#define STORE_ROOT_INO     1
#define STORE_NAME_MAX     255
#define STORE_COOKIE_FIRST 3 /* of an entry in its directory; 1 and 2 are "." and "..", which have no rows */

struct store;

/* A random mark that names one database: who holds memory for it holds its mark, too. */
struct store_mark {
	uint8_t bytes[16];
};

struct store_inode {
	uint64_t ino;
	mode_t mode;
	uid_t uid;
	gid_t gid;
	uint64_t size; /* regular files; else 0 */
	struct timespec atime, mtime, ctime;
	const char *target; /* symlinks; else NULL */
};

/* A request that was applied, and whose answer may not have reached the kernel. */
struct store_done {
	uint64_t unique;
	uint64_t ino; /* what it made, 0: nothing */
};

/* Where in which file. */
struct store_place {
	uint64_t ino;
	uint64_t offset;
	char *path; /* in the file system, one of its names, for the caller to free; NULL when it was removed */
};

/* What store_load() hands over, inodes first. False stops the load: @error says why. */
struct store_visitor {
	bool (*inode)(const struct store_inode *inode, void *data, GError **error);
	bool (*entry)(uint64_t parent, uint64_t cookie, const char *name, uint64_t ino, void *data, GError **error);
	bool (*xattr)(uint64_t ino, const char *name, const void *value, size_t size, void *data, GError **error);
	bool (*extent)(uint64_t ino, struct extent_map_run run, void *data, GError **error);
	bool (*backing)(uint64_t ino, int id, void *data, GError **error);
	bool (*done)(const struct store_done *done, void *data, GError **error);
};

#define STORE_ERROR store_error_quark()
GQuark store_error_quark(void);

enum store_error {
	STORE_ERROR_IO,      /* the machine's: permission, space, another user of the file */
	STORE_ERROR_DAMAGED, /* not a database, or one that contradicts itself */
	STORE_ERROR_FOREIGN, /* a database, but not dmemfs's, or of a newer version */
};

/*
 * Opens the database in @state_dir, makes it when there is none (with @root_uid and @root_gid as owner of its root
 * directory), migrates that of the version before and verifies all of it (store_check()). Never replaces or repairs one.
 */
struct store *store_open(const char *state_dir, uid_t root_uid, gid_t root_gid, GError **error);
/* NULL is fine. */
void store_close(struct store *store);

/*
 * Verifies the database in @state_dir without changing it: SQLite's own checks, then that each row fits the others:
 * names, directories, extents that overlap in memory or in a file. Each problem is one line in the returned array
 * (at most 100); NULL and @error when it cannot be opened at all. O(everything).
 */
GPtrArray *store_fsck(const char *state_dir, GError **error);
/* The same on an open database. */
GPtrArray *store_check(struct store *store, GError **error);

/*
 * Could the directory @path ("/a/b") of the database in @state_dir be a quota tree? 0, also when it is not there, or the
 * database cannot be read; -ENOTDIR; -EXDEV: an inode in it has names outside, too; -EBUSY: a daemon is at work. O(entries).
 */
int store_find_obstacle(const char *state_dir, const char *path);

struct store_mark store_get_mark(struct store *store);
/* When it was opened: inode numbers below it may be in use or were once; see store_reserve_inos(). */
uint64_t store_get_next_ino(struct store *store);
/* Hands over every row. Called once, before the first transaction. */
bool store_load(struct store *store, const struct store_visitor *visitor, void *data, GError **error);

void store_begin(struct store *store);
int store_commit(struct store *store);

/* Rows, between begin and commit. */
void store_put_inode(struct store *store, const struct store_inode *inode);
/* Mode, owner and times of an inode that is there, size and target as they were. */
void store_put_attributes(struct store *store, const struct store_inode *inode);
void store_put_size(struct store *store, uint64_t ino, uint64_t size);
/* The inode with all that hangs on it: attributes, extents, backing id. Its entries are gone already. */
void store_delete_inode(struct store *store, uint64_t ino);
void store_put_entry(struct store *store, uint64_t parent, uint64_t cookie, const char *name, uint64_t ino);
void store_delete_entry(struct store *store, uint64_t parent, uint64_t cookie);
void store_put_xattr(struct store *store, uint64_t ino, const char *name, const void *value, size_t size);
void store_delete_xattr(struct store *store, uint64_t ino, const char *name);
/* @text NULL: none. */
void store_put_text(struct store *store, uint64_t ino, const char *name, const char *text);
/* @run replaces what was on record for its range of the file. Its memory is no longer clean. */
void store_put_extent(struct store *store, uint64_t ino, const struct extent_map_run *run);
/* Forgets the runs that begin in [from, to). */
void store_delete_extents(struct store *store, uint64_t ino, uint64_t from, uint64_t to);
/* Memory of no file that is zero. Rows that touch are one. */
void store_put_clean(struct store *store, struct extent run);
/* What of @run is on record as clean is no longer. */
void store_delete_clean(struct store *store, struct extent run);
/* All of it. */
void store_forget_clean(struct store *store);
/* Appends all rows (struct extent) by address; outside of a transaction. */
int store_list_clean(struct store *store, GArray *runs);
/* Memory that went bad, none of it on record as such yet. It is not clean. */
void store_put_poison(struct store *store, struct extent run);
/* As store_list_clean(). */
int store_list_poison(struct store *store, GArray *runs);
/* Whose memory is at @address? -ENOENT: no file's. O(everything), outside of a transaction. */
int store_find_memory(struct store *store, uint64_t address, struct store_place *place);
/* The passthrough registration of a file. */
void store_put_backing(struct store *store, uint64_t ino, int id);
/* The request in @slot, one of a small number of request threads, was applied. Replaces what the slot had. */
void store_put_done(struct store *store, unsigned slot, const struct store_done *done);
/* How many regular files have bytes in them. */
int store_count_files(struct store *store, unsigned *files);
/* Their contents are lost: a transaction of its own deletes them, with their names. Before store_load(). */
int store_remove_files(struct store *store);
/* All records of requests before those of this process. */
void store_delete_old_done(struct store *store);
/* The FUSE connection is no more: a transaction of its own deletes what is on record of requests and registrations. */
int store_forget_connection(struct store *store);
/* Inode numbers below @next are taken from now on. Rises only. */
void store_reserve_inos(struct store *store, uint64_t next);

/* Small values by name, of those who own no table: @value NULL deletes. */
void store_put_value(struct store *store, const char *name, const void *value, size_t size);
/* *@value NULL: there is none. False: it cannot be read. Outside of a transaction. */
bool store_get_value(struct store *store, const char *name, GBytes **value, GError **error);

/*
 * An inode without name or user is deleted with one of the next transactions, at the latest by store_flush(): until
 * then it is an orphan, which the next daemon would delete. @deleted is told after the commit, without the lock.
 */
void store_set_deleted_callback(struct store *store, void (*deleted)(uint64_t ino, void *data), void *data);
void store_delete_inode_later(struct store *store, uint64_t ino);
int store_flush(struct store *store);
/* Everything committed so far survives the machine, too, and so does each later commit of this process. */
int store_sync(struct store *store);

#endif

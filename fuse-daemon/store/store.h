/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The record: the durable metadata, a SQLite database in the state directory. The record is the truth. The inode table, the
 * directories, the extent maps and the module's objects are copies of it, which the daemon loads at its start.
 *
 * One operation is one transaction: store_begin(), changes of rows, store_commit(). The functions that change rows return
 * no error. When one fails, the commit fails, and the record is as before the transaction. The store has one lock, held
 * from begin to commit. It is taken under the namespace's or a file's lock. Only the locks of the quotas and of the pool,
 * which are leaves, are taken under it.
 *
 * The order of every change: check everything that can be checked, commit, and only then change the copy in memory. What has
 * to change before the commit (a quota that is charged, memory that the pool gave) is changed back when the commit fails.
 * So the copy still equals the record after a failed commit, and any commit may fail. Three things may be newer in memory
 * than on record. Losing them does no harm:
 *   - times that a write set (namespace_flush());
 *   - a passthrough registration: without it, files could not be read while the state directory is full (file_open());
 *   - memory that went bad: the pool must not give it away until it is recorded (poison_update()).
 *
 * Durability: a committed transaction is in SQLite's write-ahead log (metadata.db-wal), in the kernel's page cache. It
 * survives the death of the process at any instruction. It survives a crash of the kernel or a power cut as soon as the
 * kernel has written it to the disk: at the next checkpoint, otherwise about half a minute later, or at once with
 * store_sync(). Such a crash loses all transactions after some moment, and none before. The database stays consistent
 * (synchronous=NORMAL: the log is on the disk before the database changes).
 *
 * To copy the record while a daemon runs: copy STORE_FILE, then the log. When the first 32 bytes of the log have changed
 * meanwhile, SQLite has restarted the log: copy both again.
 *
 * The log has at most 64 MiB as long as no single transaction changes more than a million rows, because its size is checked
 * between transactions (store.c). A run of memory takes about 33 bytes of log (measured: a file of 1,000,000 runs made it
 * 33 MiB). Two kinds of transactions can make it larger while they last: a change of one file in many millions of runs
 * of 4 KiB, and the one that gives all files new memory after their contents were lost.
 *
 * Link counts and parents are not stored: they follow from the entries. An inode without an entry is an orphan: it was
 * removed, and was still open or mapped, or about to be deleted, when the last daemon died.
 *
 * A change that must not be applied twice records its request in the same transaction (store_put_done()). A daemon that
 * takes over the connection gets all unanswered requests again (FUSE_NOTIFY_RESEND), and answers those on record without
 * applying them.
 *
 * Functions that return int return 0 or a negative errno: -ENOSPC (the file system of the state directory is full), -ENOMEM
 * or -EIO.
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
/* PRAGMA user_version: the version of the schema. That of the last release, 4, is migrated, and so is 5; all others are refused. */
#define STORE_VERSION 6

/* The attribute that says what happens to a file whose contents are lost: "zero" or "remove". Else the configuration says it. */
#define STORE_LOST_CONTENTS "dmemfs.lost_contents"

#define STORE_ROOT_INO     1
#define STORE_NAME_MAX     255
#define STORE_COOKIE_FIRST 3 /* the first cookie of a directory; 1 and 2 are "." and "..", which have no rows */

struct store;

/* A random mark that identifies one database. Memory that holds its files has the same mark (backend.h). */
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

/* A request that was applied, but whose answer may not have reached the kernel. */
struct store_done {
	uint64_t unique;
	uint64_t ino; /* the inode that it created; 0: none */
};

/* Memory that left a file. A device may hold it. */
struct store_held {
	struct extent extent;
	int64_t since; /* microseconds since the epoch */
	uint64_t ino;  /* the file; 0: unknown */
	int pid;       /* the process that opened the file last; 0: unknown */
	char *name;    /* the last name of the file, if it was removed; "": unknown */
	char *trees;   /* of the quota of the file, if it was removed: quota_path() */
};

/* What is put on record when the inode of a removed file is deleted: devices hold memory of it. */
struct store_gone {
	GArray *extents;        /* struct extent: the memory that it had until now, and that devices hold; owned */
	struct store_held last; /* the other members describe the file; the strings are owned */
};

/* A position in a file. */
struct store_place {
	uint64_t ino;
	uint64_t offset;
	char *path; /* one of the file's paths, from the root of the mount; the caller frees it; NULL: it was removed */
};

/* Callbacks of store_load(), one for each table. False stops the load, with the reason in @error. */
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
	STORE_ERROR_IO,      /* a failure of the machine: permission, space, the file is in use */
	STORE_ERROR_DAMAGED, /* the file is not a database, or contradicts itself */
	STORE_ERROR_FOREIGN, /* a sound database, but of another program, or of a version that is not understood */
};

/*
 * Opens the database in @state_dir, and verifies all of it (store_check()). Creates it when there is none, with @root_uid and
 * @root_gid as owner of its root directory. Migrates a database of the previous version. Never replaces or repairs one.
 * NULL and @error on failure.
 */
struct store *store_open(const char *state_dir, uid_t root_uid, gid_t root_gid, GError **error);
/* Deletes the inodes that wait for it, and closes the database. @store may be NULL. */
void store_close(struct store *store);

/*
 * Verifies the database in @state_dir without changing it: SQLite's own checks, checksums, then whether the rows are
 * consistent (names, directories, extents that overlap in memory or in a file). Returns an array of problems, one line
 * each, at most 100, which the caller frees. NULL and @error when the database cannot be read. Reads every row.
 */
GPtrArray *store_fsck(const char *state_dir, GError **error);
/* The same for an open database. */
GPtrArray *store_check(struct store *store, GError **error);

/*
 * Could the directory @path ("/a/b") of the database in @state_dir be a quota tree? 0: yes, or it does not exist, or the
 * database cannot be read. -ENOTDIR: it is not a directory. -EXDEV: an inode in it also has a name outside. -EBUSY: a
 * daemon uses the database. Reads all entries.
 */
int store_find_obstacle(const char *state_dir, const char *path);

struct store_mark store_get_mark(struct store *store);
/* As of store_open(): all inode numbers below it may be or may have been in use. See store_reserve_inos(). */
uint64_t store_get_next_ino(struct store *store);
/* Calls @visitor for every row, inodes first. To be called once, before the first transaction. */
bool store_load(struct store *store, const struct store_visitor *visitor, void *data, GError **error);

/* Begins a transaction, and takes the lock. */
void store_begin(struct store *store);
/* Commits the transaction, and releases the lock, also on failure. Then the record is as before store_begin(). */
int store_commit(struct store *store);

/* To be called between begin and commit, unless a comment says otherwise. Addresses, offsets and lengths are bytes. */
void store_put_inode(struct store *store, const struct store_inode *inode);
/* Changes mode, owner and times of an inode on record. Size and target stay. */
void store_put_attributes(struct store *store, const struct store_inode *inode);
void store_put_size(struct store *store, uint64_t ino, uint64_t size);
/* Deletes the inode with its attributes, extents and backing id. Its entries must have been deleted. */
void store_delete_inode(struct store *store, uint64_t ino);
void store_put_entry(struct store *store, uint64_t parent, uint64_t cookie, const char *name, uint64_t ino);
void store_delete_entry(struct store *store, uint64_t parent, uint64_t cookie);
void store_put_xattr(struct store *store, uint64_t ino, const char *name, const void *value, size_t size);
void store_delete_xattr(struct store *store, uint64_t ino, const char *name);
/* Sets the attribute @name to @text; NULL deletes it. */
void store_put_text(struct store *store, uint64_t ino, const char *name, const char *text);
/*
 * Records @run of the file. Deletes the runs that begin in its range of the file; its memory is no longer clean, nor held by a
 * device.
 */
void store_put_extent(struct store *store, uint64_t ino, const struct extent_map_run *run);
/* Deletes the runs that begin in [@from, @to) of the file. */
void store_delete_extents(struct store *store, uint64_t ino, uint64_t from, uint64_t to);
/* Records that @run is zero and belongs to no file: no device holds it. Adjacent rows are merged. */
void store_put_clean(struct store *store, struct extent run);
/* Deletes the record that parts of @run are clean. */
void store_delete_clean(struct store *store, struct extent run);
/* Deletes the record of all clean memory. */
void store_forget_clean(struct store *store);
/* Appends all clean memory on record to @runs (GArray of struct extent), by address. Outside of a transaction. */
int store_list_clean(struct store *store, GArray *runs);
/*
 * Records that @held left its file, with a name and trees if these are not NULL. Without a name, the file is on record. The record is
 * right as long as a device holds the memory; nobody deletes it when that ends. A file gets the memory, or it becomes clean, later.
 */
void store_put_held(struct store *store, const struct store_held *held);
/* Deletes the record that parts of @run are held. */
void store_delete_held(struct store *store, struct extent run);
/* Appends all such memory on record to @held (store_held_new()), by address. Outside of a transaction. */
int store_list_held(struct store *store, GArray *held);
/* GArray of struct store_held, which owns the strings. */
GArray *store_held_new(void);
/* Records that @run went bad. No part of it may be on record as bad. It is no longer clean. */
void store_put_poison(struct store *store, struct extent run);
/* As store_list_clean(), for all bad memory on record. */
int store_list_poison(struct store *store, GArray *runs);
/* Finds the file that has the memory at @address. -ENOENT: none. Reads all extents. Outside of a transaction. */
int store_find_memory(struct store *store, uint64_t address, struct store_place *place);
/* Records the file's passthrough registration (backing id). */
void store_put_backing(struct store *store, uint64_t ino, int id);
/* Records that @done was applied. Replaces the last record of @slot, the small number of a request thread. */
void store_put_done(struct store *store, unsigned slot, const struct store_done *done);
/*
 * Counts the regular files whose size is not 0, and those of them that store_remove_files() would delete. Outside of a
 * transaction.
 */
int store_count_files(struct store *store, bool by_default, unsigned *files, unsigned *to_remove);
/* Counts the runs of files that lie in @range and are not whole pages of @page bytes, in file or memory. INT64_MAX: all are not. Outside of a transaction. */
int store_count_odd_runs(struct store *store, struct extent range, uint64_t page, unsigned *runs);
/*
 * Deletes regular files whose size is not 0, and their names, in a transaction of its own: their contents are lost. These are the
 * files with "remove" in STORE_LOST_CONTENTS and, with @by_default, those without that attribute. Before store_load().
 */
int store_remove_files(struct store *store, bool by_default);
/* Deletes the records of requests that earlier processes made. */
void store_delete_old_done(struct store *store);
/* The FUSE connection has ended: deletes the records of requests and registrations, in a transaction of its own. */
int store_forget_connection(struct store *store);
/* Records that inode numbers below @next may be in use from now on. @next must not decrease. */
void store_reserve_inos(struct store *store, uint64_t next);

/* Records a small value by name, for rooms that have no table of their own. @value NULL deletes it. */
void store_put_value(struct store *store, const char *name, const void *value, size_t size);
/* Reads such a value; the caller frees *@value, which is NULL when there is none. Outside of a transaction. */
bool store_get_value(struct store *store, const char *name, GBytes **value, GError **error);

/*
 * Has the inode @ino, which nothing names or uses, deleted together with one of the next transactions, at the latest by
 * store_flush(). Until then it is an orphan; if this daemon dies, the next one deletes it. @deleted is called for each
 * after the commit, without the lock. Outside of a transaction. @gone (NULL: no device holds memory of it) is put on record in the
 * same transaction, and freed.
 */
void store_set_deleted_callback(struct store *store, void (*deleted)(uint64_t ino, void *data), void *data);
void store_delete_inode_later(struct store *store, uint64_t ino, struct store_gone *gone);
/* Deletes these inodes now, in a transaction of its own. */
int store_flush(struct store *store);
/*
 * Writes everything that was committed to the disk, where it survives a crash of the machine. From now on so does each
 * commit of this process when it returns. Outside of a transaction.
 */
int store_sync(struct store *store);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The contents of one regular file: owner of its size, of its memory (the extent map), of its backend object and of
 * its passthrough registration.
 *
 * Invariants, under the file's lock:
 *  - the object holds exactly the runs of the extent map;
 *  - with demand allocation (file_demand.c) no memory lies past the last unit of the size;
 *  - with eager allocation all of [0, size) has memory, so that a shortage shows when a file is sized and never as
 *    SIGBUS; memory past the size (fallocate with KEEP_SIZE, the rest of the last unit) is there to grow into;
 *  - bytes past the size read zero once the file grows over them;
 *  - the backing id is registered from the first open until the file is destroyed, whichever daemon does the one and the
 *    other, so that an open costs no transaction; it is a few hundred bytes in the kernel, and no descriptor.
 *  - what is charged to a quota tree is the memory in the extent map, with demand allocation all that it may come to.
 * Changes are all or nothing: a function that fails has changed nothing.
 *
 * On record (store.h) are size, runs and registration, in an order that leaves no instruction at which a crash could
 * not be recovered from:
 *   growing    memory is zeroed while nobody owns it, then committed, then given to the object. Memory on record is
 *              therefore always clean, and given again without zeroing by the next daemon.
 *   shrinking  committed, then memory is taken from the object, then the pool gets it. After a crash in between the object has
 *              more than is on record, and the next daemon takes that away.
 *   removal    the object is dropped; when nobody can reach it the inode's record is deleted, then the pool gets it.
 *   opening    the object is registered with FUSE, then committed, at the first open of all.
 *
 * The lock is shared by read, write inside the size and zeroing, exclusive for everything else. It is held across
 * system calls of the backend. Size and allocated bytes may also be read without it.
 * All offsets and lengths are bytes; errors are negative errno values.
 */
#ifndef DMEMFS_FILE_H
#define DMEMFS_FILE_H

#include <stdint.h>
#include <sys/types.h>

#include "backend/backend.h"
#include "base/extent_map.h"
#include "pool/pool.h"
#include "quota/quota.h"
#include "store/store.h"

/* What all files share; outlives them. */
struct storage {
	const struct backend_ops *ops;
	struct backend *backend;
	struct pool *pool;
	struct quotas *quotas;
	struct store *store;
	struct zeroer *zeroer;
	struct unlinked_mapped *lingering; /* removed files that may still ask for memory */
	uint64_t max_metadata;             /* bytes; see inode_room() */
	uint64_t page_size;                /* allocation unit, where a directory names no other */
	uint64_t demand_extent;            /* what a touch brings at most */
	bool demand;                       /* new files have demand allocation, where a directory says nothing else */
	/* Registration for FUSE passthrough: id > 0 or a negative errno. @request: the FUSE request at hand. */
	int (*backing_open)(void *request, int fd);
	void (*backing_close)(int id);
};

/* Nobody can reach the memory of the removed file @ino any more. */
void storage_idle(const struct storage *storage, uint64_t ino);
/* Its record is deleted (store_set_deleted_callback()): the pool gets its memory. */
void storage_deleted(uint64_t ino, void *storage);

struct file;

struct file *file_new(const struct storage *storage, uint64_t ino);
/*
 * The file has neither name nor user: its record is deleted, and its memory goes back to the pool as soon as no mapping
 * reaches it.
 */
void file_destroy(struct file *file);
/* The daemon ends: the file stays, on record and in the backend. */
void file_release(struct file *file);

/* At the start, from the record: size and runs, then its object is made what they say. */
void file_restore(struct file *file, uint64_t size);
/*
 * False: the memory lies in no region, or belongs to somebody else. The unit becomes one that the run is a multiple of: the
 * configuration may have named another one when the file got it.
 */
bool file_restore_extent(struct file *file, struct extent_map_run run);
int file_attach(struct file *file);
/*
 * Inside a transaction: the former contents are lost, so the file gets memory for its size that is not what the record
 * said, or becomes empty (false) when there is none. file_attach() zeroes it.
 */
bool file_renew(struct file *file);
/* The connection is that of an earlier daemon, which registered the file. */
void file_inherit(struct file *file, int backing_id);
/* That id, 0 when the file is not registered. At the start only: it changes when the file is opened. */
int file_backing_id(const struct file *file);

/* The allocation unit: DMEMFS_PAGE_4K, _2M or _1G; that of the configuration unless set, before the file is used. */
uint64_t file_unit(const struct file *file);
void file_set_unit(struct file *file, uint64_t unit);

/* What it has charged to a quota tree. The caller, who knows the tree, assigns it. */
struct quota_account *file_account(struct file *file);

uint64_t file_size(const struct file *file);
uint64_t file_allocated(const struct file *file);
/* What is charged for it. */
uint64_t file_charged(const struct file *file);

/* The backing id to answer an open with. */
int file_open(struct file *file, void *request, int *backing_id);

/* While the file is open. As pread(2) and pwrite(2); writing past the end grows the file. */
ssize_t file_read(struct file *file, void *buffer, size_t length, uint64_t offset);
ssize_t file_write(struct file *file, const void *data, size_t length, uint64_t offset);

/* -ENOSPC when there is not the memory for @size, -EDQUOT when its quota tree may not have it. */
int file_truncate(struct file *file, uint64_t size);
/* While the file is open. fallocate(2), @mode 0 or a mix of FALLOC_FL_KEEP_SIZE, _PUNCH_HOLE and _ZERO_RANGE. */
int file_allocate(struct file *file, int mode, uint64_t offset, uint64_t length);
/* lseek(2) with SEEK_DATA or SEEK_HOLE: the offset found, -ENXIO past the end. */
int64_t file_seek(struct file *file, uint64_t offset, int whence);

/* From which nodes it gets memory, when it gets some; what it has stays where it is. NULL: from any. */
struct numa_policy *file_get_policy(struct file *file);
/* Commits. @flags as current_request_may_set(). */
int file_set_policy(struct file *file, struct numa_policy *policy, int flags);
/* Name of the extended attribute that holds the policy of a file or directory on record. */
#define FILE_RECORD_POLICY "dmemfs.node"
/* Inside a transaction; NULL: none. */
void file_record_policy(struct store *store, uint64_t ino, const struct numa_policy *policy);
/* A file that is new, or on record with this policy: without a commit. */
void file_restore_policy(struct file *file, struct numa_policy *policy);
/* "NODE BYTES" in decimal, a line per node by rising number, -1 where it is not known: where its memory is; g_malloc'ed. */
char *file_describe_nodes(struct file *file);

/* "OFFSET START LENGTH" in decimal, a line per run; g_malloc'ed. */
char *file_describe_extents(struct file *file);
/* The same of what went bad of it. */
char *file_describe_poison(struct file *file);
/* What the backend says of its faults; g_malloc'ed, NULL when it says nothing. */
char *file_describe_faults(struct file *file);

/*
 * Is memory allocated as it is touched (demand allocation), else as the file is sized (eager)? Do mappings allow discarding it?
 */
bool file_is_demand(const struct file *file);
bool file_is_discard(const struct file *file);
/* Commit. -EBUSY: the file is not empty, -EOPNOTSUPP: not with this backend. */
int file_set_demand(struct file *file, bool demand);
int file_set_discard(struct file *file, bool discard);
/* Names of the extended attributes that hold these on record: absent in eager files. */
#define FILE_RECORD_ALLOC   "dmemfs.alloc"
#define FILE_RECORD_DISCARD "dmemfs.discard"
/* A file that is new, or on record so: without a commit. */
void file_restore_alloc(struct file *file, bool demand, bool discard);

/*
 * Demand allocation only. Gives memory for a touched hole: 0, -EEXIST (there is some by now, or the file is shorter) or why there
 * is none.
 */
int file_demand_fault(struct file *file, const struct backend_fault *fault);
/* A process punched holes into its mapping: takes those in [from, to) off the record, and their memory back. */
int file_demand_punched(struct file *file, uint64_t from, uint64_t to);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The contents of one regular file. A file owns its size, its memory (the extent map), its backend object and its passthrough
 * registration.
 *
 * Invariants, under the file's lock:
 *  - the object has exactly the runs of the extent map;
 *  - with demand allocation (file_demand.c), there is no memory past the last unit of the size;
 *  - with eager allocation, all of [0, size) has memory, so that a shortage is an error when the file grows, and never
 *    SIGBUS. Memory past the size (fallocate with KEEP_SIZE, the rest of the last unit) is kept for growth;
 *  - bytes past the size read zero when the file grows over them;
 *  - the backing id stays registered from the first open until the file is destroyed, also across daemons. So later opens
 *    need no transaction. A registration takes a few hundred bytes in the kernel, and no descriptor;
 *  - a quota tree is charged for the memory in the extent map; with demand allocation, for all memory that the file may get.
 *    Memory that the file has given up, but that a device still holds (pins.h), counts as if the file still had it: else a
 *    process could get any amount of memory past its quota by having devices hold it.
 * Changes are all or nothing: a function that fails has changed nothing.
 *
 * Size, runs and registration are on record (store.h). The order of changes allows recovery from a crash at any instruction:
 *   growing    memory is zeroed while no file has it, then committed, then given to the object. So memory on record is
 *              always zeroed, and the next daemon can give it to the object without zeroing it.
 *   shrinking  committed, then memory is taken from the object, then freed to the pool. After a crash in between, the object
 *              has memory that is not on record, and the next daemon takes it away.
 *   removal    the object is dropped. When no process maps it, the inode's record is deleted, then the memory is freed.
 *   opening    the object is registered with FUSE at the first open, then that is committed.
 *
 * The lock is taken shared for reads, for writes inside the size and for zeroing, and exclusive for everything else. It is
 * held across system calls of the backend. Functions take it, unless a comment says otherwise. Size and allocated bytes
 * may also be read without it. All offsets and lengths are bytes; errors are negative errno values.
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

/* Shared by all files, and lives longer than they do. Does not change while files are in use. */
struct storage {
	const struct backend_ops *ops;
	struct backend *backend;
	struct pool *pool;
	struct quotas *quotas;
	struct store *store;
	struct zeroer *zeroer;
	struct unlinked_mapped *unlinked_mapped; /* removed files that are still mapped, with demand allocation */
	uint64_t max_metadata;                   /* bytes; see inode_room() */
	uint64_t page_size;     /* allocation unit, unless a directory sets another; whole compound pages */
	unsigned order;         /* of the compound pages of files, unless a directory sets another */
	uint64_t demand_extent; /* the most that one fault allocates */
	bool demand;            /* new files have demand allocation, unless a directory sets another */
	/* Registers @fd for FUSE passthrough. Returns an id > 0 or a negative errno. @request: the current FUSE request. */
	int (*backing_open)(void *request, int fd);
	void (*backing_close)(int id);
};

/* To be called when no process maps the memory of the removed file @ino any more. */
void storage_idle(const struct storage *storage, uint64_t ino);
/* To be called when the record of @ino was deleted (store_set_deleted_callback()): frees its memory to the pool. */
void storage_deleted(uint64_t ino, void *storage);

/* Memory that a file had given up, and that devices no longer hold. */
struct unpinned {
	uint64_t ino;      /* the file */
	uint64_t bytes;    /* in all */
	uint64_t promised; /* bytes that the pool has promised to the file, so that no other file gets them before it */
	unsigned order;    /* of the compound pages of these */
};

/*
 * Of the removed file @memory->ino: reduces the usage of its quota, but not below what is still pinned or pending of the file. Forgoes
 * what the file does not need of the promise.
 */
void storage_unpinned(const struct storage *storage, const struct unpinned *memory);

struct file;

/* A new, empty file. The caller frees it with file_destroy() or file_release(). */
struct file *file_new(const struct storage *storage, uint64_t ino);
/*
 * Destroys a removed file that is no longer open. As soon as no process maps it, its record is deleted, and its memory is
 * freed to the pool.
 */
void file_destroy(struct file *file);
/* Frees @file when the daemon ends. The record and the backend object stay. */
void file_release(struct file *file);

/*
 * At the start of the daemon, without the lock: sets size, attributes and runs from the record. file_attach() then makes the
 * backend object equal to them.
 */
void file_restore(struct file *file, uint64_t size);
/*
 * -EBUSY: the memory is in no region, or belongs to another file. Makes the file's unit smaller if the run is not a multiple of
 * it, because the configuration had another page size when the file got the run. The file's order becomes that of the region;
 * -EINVAL: the run is not whole compound pages of it, or the file has a run in a region with another order.
 */
int file_restore_extent(struct file *file, struct extent_map_run run);
/*
 * After file_restore_extent(): chooses the order of a file without memory, if @may_change: the default, when no order is on record or
 * no region has it. True: the order of the file, with or without memory, is not the one on record.
 */
bool file_restore_pages(struct file *file, bool may_change);
int file_attach(struct file *file);
/*
 * Inside a transaction: replaces the file's memory on record by other memory, because the contents are lost. file_attach()
 * zeroes it. False: there is not enough memory, and the file is now empty.
 */
bool file_renew(struct file *file);
/* At the start: counts what devices hold of the memory that the file gave up before. */
void file_restore_pinned(struct file *file);
/* Sets the backing id that an earlier daemon registered on the same connection. */
void file_inherit(struct file *file, int backing_id);
/* The backing id; 0 when the file is not registered. Only at the start: it changes when the file is opened. */
int file_backing_id(const struct file *file);

/* The allocation unit: DMEMFS_PAGE_4K, _2M or _1G. The default is page_size; may be set before the file is used. */
uint64_t file_unit(const struct file *file);
void file_set_unit(struct file *file, uint64_t unit);

/* The order of the compound pages of its memory (page_order.h). The unit is a multiple of such a page. */
unsigned file_order(const struct file *file);
/* For a file that is new or being restored: does not commit. Raises the unit to one compound page if it is less. */
void file_set_order(struct file *file, unsigned order);
/* Commits. -EBUSY: the file is not empty, or was opened once; -EINVAL: its unit is less than such a page. */
int file_change_order(struct file *file, unsigned order);
/* Name of the extended attribute of the record that holds the order, as a name of page_order.h. */
#define FILE_RECORD_PAGES "dmemfs.pages"

/* Keeps @name, which the file is about to lose as its last one, for reports about memory that a device still holds. */
void file_note_name(struct file *file, const char *name);

/* The file had given @memory up: it counts no longer. Forgoes what the file does not need of the promise. Commits nothing. */
void file_unpinned(struct file *file, const struct unpinned *memory);

/* What the file has charged to a quota tree. The namespace, which knows the tree, assigns it. */
struct quota_account *file_account(struct file *file);

uint64_t file_size(const struct file *file);
uint64_t file_allocated(const struct file *file);
/* The bytes that are charged for the file. */
uint64_t file_charged(const struct file *file);

/* Opens the file: registers its object if necessary, and returns the backing id for the answer. @request: the FUSE request. */
int file_open(struct file *file, void *request, int *backing_id);

/* As pread(2) and pwrite(2), while the file is open. Writing past the end grows the file. */
ssize_t file_read(struct file *file, void *buffer, size_t length, uint64_t offset);
ssize_t file_write(struct file *file, const void *data, size_t length, uint64_t offset);

/* Sets the size. -ENOSPC: there is not enough memory. -EDQUOT: a quota tree would exceed its limit. */
int file_truncate(struct file *file, uint64_t size);
/* As fallocate(2), while the file is open. @mode: flags FALLOC_FL_KEEP_SIZE, _PUNCH_HOLE and _ZERO_RANGE. */
int file_allocate(struct file *file, int mode, uint64_t offset, uint64_t length);
/* As lseek(2) with SEEK_DATA or SEEK_HOLE. Returns the offset, or -ENXIO past the end. */
int64_t file_seek(struct file *file, uint64_t offset, int whence);

/* The policy for future allocations; existing memory is not moved. NULL: any node. The caller unrefs the result. */
struct numa_policy *file_get_policy(struct file *file);
/* Sets and commits the policy. @flags: as in current_request_may_set(). */
int file_set_policy(struct file *file, struct numa_policy *policy, int flags);
/* The extended attribute that has the policy of a file or directory on record. */
#define FILE_RECORD_POLICY "dmemfs.node"
/* Records @policy. Inside a transaction. NULL deletes it. */
void file_record_policy(struct store *store, uint64_t ino, const struct numa_policy *policy);
/* Sets the policy without a commit: for a new file, or one whose record has this policy. */
void file_restore_policy(struct file *file, struct numa_policy *policy);
/* The bytes on each NUMA node: lines "NODE BYTES" in decimal, by node; -1: node not known. The caller frees it. */
char *file_describe_nodes(struct file *file);

/* The runs of the extent map: lines "OFFSET START LENGTH" in decimal. The caller frees it. */
char *file_describe_extents(struct file *file);
/* The same for the parts of the file's memory that went bad. */
char *file_describe_poison(struct file *file);
/* The backend's describe_faults() of the file; the caller frees it. NULL: not known. */
char *file_describe_faults(struct file *file);

/*
 * Does the file have demand allocation (memory is allocated when it is touched), or eager allocation (when the file grows)? Do
 * its mappings allow MADV_DONTNEED?
 */
bool file_is_demand(const struct file *file);
bool file_is_discard(const struct file *file);
/* Set and commit these. -EBUSY: the file is not empty. -EOPNOTSUPP: the backend does not support it. */
int file_set_demand(struct file *file, bool demand);
int file_set_discard(struct file *file, bool discard);
/* The extended attributes that have these on record. Eager files have none. */
#define FILE_RECORD_ALLOC   "dmemfs.alloc"
#define FILE_RECORD_DISCARD "dmemfs.discard"
/* Sets both without a commit: for a new file, or one whose record says so. */
void file_restore_alloc(struct file *file, bool demand, bool discard);

/*
 * Demand allocation only: gives memory to a hole that was touched. 0; -EEXIST: there is memory by now, or the file is shorter; -EALREADY:
 * lent memory may come back, call this again with the same @wait (pool.h); or another error.
 */
int file_demand_fault(struct file *file, const struct backend_fault *fault, struct pool_wait *wait);
/* After a process punched its mapping: removes the holes in [from, to) from the record, and frees their memory. */
int file_demand_punched(struct file *file, uint64_t from, uint64_t to);

#endif

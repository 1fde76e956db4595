/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Internal to file*.c. The layers, each of which calls only those below:
 *   file.c                        operations of clients; takes the lock, and calls one of the two ways to allocate
 *   file_restore.c, file_alloc.c, file_numa.c   the start of the daemon, and attributes; on the same level
 *   file_eager.c, file_demand.c   the two ways to allocate; each is a struct file_alloc_ops
 *   file_memory.c                 owns size, map and object, and changes them together with the record
 * The caller of each function holds the exclusive lock, unless a comment says otherwise; for file_zero() the shared lock is
 * enough. @runs is a GArray of struct extent_map_run, in file order.
 */
#ifndef DMEMFS_FILE_INTERNAL_H
#define DMEMFS_FILE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/page_order.h"
#include "file/file.h"
#include "pool/pool_pins.h"

struct file {
	const struct storage *storage;
	uint64_t ino;
	uint64_t unit;                 /* the allocation unit, whole compound pages; set before the file is used */
	atomic_uint order;             /* of the compound pages of its memory; changes only while the file is empty */
	pthread_rwlock_t lock;         /* guards all below */
	struct backend_object *object; /* NULL until the first open or byte */
	struct extent_map *map;
	struct numa_policy *policy; /* NULL: memory from any node */
	_Atomic uint64_t size;
	_Atomic uint64_t allocated;   /* bytes in map */
	struct quota_account account; /* under the lock of the quotas; bytes change only under this lock, too */
	int backing_id;               /* 0: not registered */
	bool restored;      /* loaded from the record: the backend may have an object, although none is attached */
	bool has_pages;     /* the record says which compound pages the file has */
	bool other_pages;   /* the file has other compound pages than the record says */
	_Atomic int opener; /* pid of the process that opened it last; 0: none did since the daemon started */
	bool renewed;       /* file_renew() replaced the memory, which is not zeroed yet */
	atomic_bool demand; /* demand allocation, else eager; changes only while the file is empty */
	atomic_bool discard;
	char *_Atomic last_name; /* set once, by the namespace; NULL: it has a name, or never had one */
	_Atomic uint64_t pinned; /* bytes that the file gave up, but that devices still hold; changed under the lock */
	int64_t gave_up;         /* when memory left the record last: microseconds since the epoch */
	uint64_t promised;       /* bytes that the pool has promised */
	uint64_t inflight;       /* bytes taken from the pool for this file that are not in the map yet */
};

/* A way to allocate. Each operation is all or nothing, and charges the quota tree before it takes memory. */
struct file_alloc_ops {
	/* Grows the file to @size. */
	int (*grow)(struct file *file, uint64_t size);
	/* Gives memory to all of [@from, @to), as fallocate(2) with @mode. The size stays. */
	int (*fill)(struct file *file, uint64_t from, uint64_t to, int mode);
	/* Makes [@from, @to) read zero. */
	int (*punch)(struct file *file, uint64_t from, uint64_t to);
	/* Frees @runs, which were the file's, to the pool. The caller then calls file_settle(). */
	void (*free)(struct file *file, const GArray *runs);
	/* The largest size that grow() could reach. NULL: a write that does not fit fails, and is never short. */
	uint64_t (*reach)(struct file *file);
};

extern const struct file_alloc_ops file_eager_ops;
extern const struct file_alloc_ops file_demand_ops;

static inline uint64_t file_unit_down(const struct file *file, uint64_t bytes)
{
	return bytes - bytes % file->unit;
}

static inline uint64_t file_unit_up(const struct file *file, uint64_t bytes)
{
	return file_unit_down(file, bytes + file->unit - 1);
}

/* The mask of the regions that the memory of the file comes from, as in struct allocator_request. */
static inline uint64_t file_regions(const struct file *file)
{
	return pool_regions_of(file->storage->pool, file->order);
}

/* file_memory.c */
/* Creates the backend object if there is none. */
int file_need_object(struct file *file);
/* The kind of object that the file needs. */
struct object_kind file_kind(const struct file *file);
/* Sets mode, unit and order of the object, as the file has them. */
int file_apply_alloc(struct file *file);

GArray *file_runs_new(void);
/* The memory of [from, to). */
GArray *file_list_runs(const struct file *file, uint64_t from, uint64_t to);
/* Appends @extents to @runs, as memory of the file from @offset on. */
void file_append_runs(GArray *runs, uint64_t offset, const GArray *extents);
/* GArray of struct extent: the memory of @runs. */
GArray *file_extents(const GArray *runs);
void file_add_to_map(struct file *file, const GArray *runs);
void file_remove_from_map(struct file *file, const GArray *runs);

/* Zeroes the dirty parts of @runs (zeroer_clean()). Needs no lock. */
int file_clean(struct file *file, const GArray *runs);
/* Inside a transaction: makes the record of [@from, @to) equal to the map. */
void file_put_extents(struct file *file, uint64_t from, uint64_t to);
/* Commits @size, and that the map has just got or lost @runs. */
int file_commit_extents(struct file *file, const GArray *runs, uint64_t size);
/* The same when the map has lost @runs: also that devices may hold them. */
int file_commit_removal(struct file *file, const GArray *runs, uint64_t size);
/*
 * Makes @runs, which are zeroed, memory of the file, and records @size. On failure the file has not changed, and the caller
 * frees what is in @runs; it is empty when the change of the record could not be undone.
 */
int file_commit_memory(struct file *file, GArray *runs, uint64_t size);
/* Sets the larger @size, which is on record and for which there is memory, in the object. Undoes the record on failure. */
int file_set_recorded_size(struct file *file, uint64_t size);
/* Shrinks the file to @size. Appends the memory past it to @runs, which the caller frees. */
int file_cut(struct file *file, uint64_t size, GArray *runs);
/* Zeroes the memory of [@offset, @end). Holes read zero anyway. */
int file_zero(struct file *file, uint64_t offset, uint64_t end);

/* Make the quota's charge and the pool's promise equal to what the file has or may get, after a change or a failure. */
void file_settle(struct file *file);
void file_settle_promise(struct file *file);

/*
 * Removes the parts of @extents, which have left the object, that a device still holds. The pool has them as pinned from now on, and
 * they count for the file until the device lets go.
 */
void file_leave_pinned(struct file *file, GArray *extents);
/* Describes the file for memory that it gives up. */
struct pool_user file_last_user(const struct file *file);

/* file_eager.c: takes memory for [@offset, @offset + @length) in as few runs as possible, and appends it to @runs. */
int file_eager_alloc(struct file *file, uint64_t offset, uint64_t length, GArray *runs);
/* file_demand.c: file_demand_punched() under the lock. */
int file_demand_punched_locked(struct file *file, uint64_t from, uint64_t to);

#endif

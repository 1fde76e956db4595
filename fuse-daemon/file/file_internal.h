/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The inside of a file. Calls go down only:
 *   file.c        what clients do; it takes the lock, and calls one of the two ways to allocate
 *   file_restore.c, file_alloc.c, file_numa.c   what the start and the attributes do; beside it
 *   file_eager.c, file_demand.c   the two ways to allocate: each is a struct file_alloc_ops
 *   file_memory.c the owner of size, map and object: changes them together with the record
 * All functions here are called with the exclusive lock held, file_zero() also with the shared one.
 * A list of memory of a file is a GArray of struct extent_map_run, in file order.
 */
#ifndef DMEMFS_FILE_INTERNAL_H
#define DMEMFS_FILE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "file/file.h"

struct file {
	const struct storage *storage;
	uint64_t ino;
	uint64_t unit;                 /* of allocation; set before the file is used */
	pthread_rwlock_t lock;         /* guards all below */
	struct backend_object *object; /* NULL until the first open or byte */
	struct extent_map *map;
	struct numa_policy *policy; /* NULL: memory from any node */
	_Atomic uint64_t size;
	_Atomic uint64_t allocated;   /* bytes in map */
	struct quota_account account; /* under the lock of the quotas; bytes change only under this lock, too */
	int backing_id;               /* 0: not registered */
	bool restored;                /* from the record: there may be an object, although none is attached */
	bool renewed;                 /* the memory is not that of the former contents, and is not zeroed yet */
	atomic_bool demand;           /* demand allocation, else eager; changes only while the file is empty */
	atomic_bool discard;
	uint64_t promised; /* by the pool */
	uint64_t inflight; /* taken from the pool for this file, and not in the map yet */
};

/* A way to allocate. Each is all or nothing. Sizes and memory are charged to the quota tree before they are had. */
struct file_alloc_ops {
	/* To the larger @size. */
	int (*grow)(struct file *file, uint64_t size);
	/* All of [from, to) has memory afterwards, as fallocate(2) with @mode. The size stays. */
	int (*fill)(struct file *file, uint64_t from, uint64_t to, int mode);
	/* [from, to) reads zero afterwards. */
	int (*punch)(struct file *file, uint64_t from, uint64_t to);
	/* The pool gets @runs, which the file had. The caller calls file_settle(). */
	void (*free)(struct file *file, const GArray *runs);
	/* The largest size that grow() could reach. NULL: a write that does not fit fails instead of being short. */
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

/* file_memory.c */
int file_need_object(struct file *file);
/* Tells the object whether the file is one with demand allocation and discard. */
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

/* Zeroes @runs. Needs no lock. */
int file_clean(struct file *file, const GArray *runs);
/* Inside a transaction: makes the record of [from, to) what the map says. */
void file_put_extents(struct file *file, uint64_t from, uint64_t to);
/* The map has just got or lost @runs: that, and @size, is on record. */
int file_commit_extents(struct file *file, const GArray *runs, uint64_t size);
/*
 * Makes @runs, which are zeroed, memory of the file, with @size on record. On failure nothing has changed, and the caller
 * frees what is left in @runs: none when the record could not be taken back.
 */
int file_commit_memory(struct file *file, GArray *runs, uint64_t size);
/* The larger @size is on record, and the memory for it is there: the object gets it. A failure takes it back. */
int file_set_recorded_size(struct file *file, uint64_t size);
/* To the smaller @size. Appends the memory past it to @runs: the caller frees it. */
int file_cut(struct file *file, uint64_t size, GArray *runs);
/* Zeroes what there is of [offset, end): holes read zero anyway. */
int file_zero(struct file *file, uint64_t offset, uint64_t end);

/* The quota and the pool know again what is charged and promised: what did not become the file's, or is no longer, is not. */
void file_settle(struct file *file);
void file_settle_promise(struct file *file);

/* file_eager.c: appends memory for [offset, offset + length) to @runs, in as few runs as can be had. */
int file_eager_alloc(struct file *file, uint64_t offset, uint64_t length, GArray *runs);
/* file_demand.c: file_demand_punched() under the lock. */
int file_demand_punched_locked(struct file *file, uint64_t from, uint64_t to);

#endif

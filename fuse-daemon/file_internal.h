/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the two halves of a file share: file.c, what clients do with it, and file_memory.c, how it gets memory and loses
 * it. Internal to them. Everything but file_restore() and its like is called under the exclusive lock.
 */
#ifndef DMEMFS_FILE_INTERNAL_H
#define DMEMFS_FILE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "file.h"

struct file {
	const struct storage *storage;
	uint64_t ino;
	uint64_t unit; /* of allocation; set before the file is used */
	pthread_rwlock_t lock;         /* guards all below */
	struct backend_object *object; /* NULL until the first open or byte */
	struct extent_map *map;
	struct node_policy *policy; /* NULL: memory from any node */
	_Atomic uint64_t size;
	_Atomic uint64_t allocated; /* bytes in map */
	struct quota_account account; /* under the lock of the quotas; bytes change only under this lock, too */
	int backing_id; /* 0: not registered */
	bool restored;  /* from the record: there may be an object, although none is attached */
	bool renewed;   /* the memory is not that of the former contents, and is not zeroed yet */
	atomic_bool demand; /* see file_demand.h; changes only while the file is empty */
	atomic_bool discard;
	uint64_t promised; /* by the pool */
	uint64_t inflight; /* taken from the pool for this file, and not in the map yet */
};

static inline uint64_t file_unit_down(const struct file *file, uint64_t bytes)
{
	return bytes - bytes % file->unit;
}

static inline uint64_t file_unit_up(const struct file *file, uint64_t bytes)
{
	return file_unit_down(file, bytes + file->unit - 1);
}

int file_need_object(struct file *file);
/* Sees to it that all units of [from, to) have memory, and that @size is on record. */
int file_need_memory(struct file *file, uint64_t from, uint64_t to, uint64_t size);
/* The larger @size is on record, and the memory for it is there: the object gets it. A failure takes it back. */
int file_set_recorded_size(struct file *file, uint64_t size);
int file_grow(struct file *file, uint64_t size);
/* Zeroes what there is of [offset, end): holes read zero anyway. */
int file_zero(struct file *file, uint64_t offset, uint64_t end);
int file_shrink(struct file *file, uint64_t size);

/* Zeroes @runs. */
int file_clean(struct file *file, const GArray *runs);
/*
 * Makes @runs, which are zeroed, the memory of @gaps in [from, to), with @size on record. On failure nothing has changed,
 * and *@keep tells whether @runs are the file's on record nevertheless, so that the pool must not have them.
 */
int file_commit_memory(struct file *file, uint64_t from, uint64_t to, uint64_t size, const GArray *gaps,
                       const GArray *runs, bool *keep);
/* Where memory is in [from, to): appends the parts of the file to @gaps, and for each the run that it is to @runs. */
void file_list_memory(const struct file *file, uint64_t from, uint64_t to, GArray *gaps, GArray *runs);
int file_commit_extents(struct file *file, uint64_t from, uint64_t to, uint64_t size);
void file_add_to_map(struct file *file, const GArray *gaps, const GArray *runs);
/* Forgets what file_add_to_map() noted. @gaps rise. */
void file_remove_gaps(struct file *file, const GArray *gaps);
/* The quota and the pool know again what is charged and promised. */
void file_settle(struct file *file);

#endif

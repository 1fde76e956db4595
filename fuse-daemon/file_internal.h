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
	unsigned opens;
	int backing_id; /* 0: not registered */
	bool restored;  /* from the record: there may be an object, although none is attached */
	bool renewed;   /* the memory is not that of the former contents, and is not zeroed yet */
	bool inherited; /* registered by an earlier daemon, of whose opens nothing is known */
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
/* An object that nobody has open keeps no descriptor. */
void file_rest(struct file *file);
/* Sees to it that all units of [from, to) have memory, and that @size is on record. */
int file_need_memory(struct file *file, uint64_t from, uint64_t to, uint64_t size);
/* The larger @size is on record, and the memory for it is there: the object gets it. A failure takes it back. */
int file_set_recorded_size(struct file *file, uint64_t size);
int file_grow(struct file *file, uint64_t size);
int file_shrink(struct file *file, uint64_t size);

#endif

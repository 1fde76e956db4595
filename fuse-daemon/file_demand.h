/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Files that get their memory as they are touched, and give it back when holes are punched.
 *
 * Invariants, under the file's lock, of a file with demand allocation:
 *  - memory is in whole units, none of it past the last unit of the size;
 *  - charged to the quota tree is the whole size in units, from the sizing on: a touch never fails for a quota;
 *  - promised by the pool (placement.h) is what is missing of that, but for what is on its way (inflight).
 *
 * On record, as file.h has it for all files:
 *   sizing      is committed, then the object gets the size
 *   touching    as growing: zeroed, committed, then given. Zeroed without the lock: the pool has given the memory
 *               away already, and that the hole is still one is looked at again before the commit
 *   punching    by fallocate(2), as shrinking: taken from the object, committed, then the pool gets it. By a process on its
 *               mapping: the memory is punched in the object, where nobody sees it any more, and stays the object's until
 *               the commit says that it is not the file's; then it is taken, and the pool gets it
 * A daemon that dies in between leaves punched memory in the object; what of it is on record is not the file's any more.
 */
#ifndef DMEMFS_FILE_DEMAND_H
#define DMEMFS_FILE_DEMAND_H

#include "file.h"

/* Name of the extended attributes that hold these on record: absent in eager files. */
#define FILE_RECORD_ALLOC   "dmemfs.alloc"
#define FILE_RECORD_DISCARD "dmemfs.discard"

bool file_is_demand(const struct file *file);
bool file_is_discard(const struct file *file);
/* Commit. -EBUSY: the file is not empty, -EOPNOTSUPP: not with this backend. */
int file_set_demand(struct file *file, bool demand);
int file_set_discard(struct file *file, bool discard);
/* A file that is new, or on record so: without a commit. */
void file_restore_mode(struct file *file, bool demand, bool discard);

/* Gives memory for a touched hole: 0, -EEXIST (there is some by now, or the file is shorter) or why there is none. */
int file_demand_fault(struct file *file, const struct backend_fault *fault);
/* Takes what is punched in [from, to) off the record, and back. */
int file_demand_punched(struct file *file, uint64_t from, uint64_t to);

/* Internal to the file: under its exclusive lock. */
int file_apply_mode(struct file *file);
int file_demand_attach(struct file *file);
/* file_demand_punched(), under the lock. */
int file_demand_punched_locked(struct file *file, uint64_t from, uint64_t to);
int file_demand_grow(struct file *file, uint64_t size);
int file_demand_punch(struct file *file, uint64_t offset, uint64_t end);
int file_demand_allocate(struct file *file, int mode, uint64_t offset, uint64_t end);
bool file_demand_has_hole(const struct file *file, uint64_t from, uint64_t to);
ssize_t file_demand_write(struct file *file, const void *data, size_t length, uint64_t offset);
/* The pool has @runs back, and they are promised again. */
void file_free_promised(struct file *file, const GArray *runs);
void file_settle_promise(struct file *file);

#endif

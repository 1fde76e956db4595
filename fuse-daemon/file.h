/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The contents of one regular file: owner of its size, of its memory (the extent map), of its backend object and of
 * its passthrough registration.
 *
 * Invariants, under the file's lock:
 *  - the object holds exactly the runs of the extent map;
 *  - with eager allocation all of [0, size) has memory, so that a shortage shows when a file is sized and never as
 *    SIGBUS; memory past the size (fallocate with KEEP_SIZE, the rest of the last unit) is there to grow into;
 *  - bytes past the size read zero once the file grows over them;
 *  - the backing id is registered while, and only while, the file is open, so that files at rest cost nothing.
 * Changes are all or nothing: a function that fails has changed nothing.
 *
 * The lock is shared by read, write inside the size and zeroing, exclusive for everything else. It is held across
 * system calls of the backend. Size and allocated bytes may also be read without it.
 * All offsets and lengths are bytes; errors are negative errno values.
 */
#ifndef DMEMFS_FILE_H
#define DMEMFS_FILE_H

#include <stdint.h>
#include <sys/types.h>

#include "backend.h"
#include "placement.h"

/* What all files share; outlives them. */
struct storage {
	const struct backend_ops *ops;
	struct backend *backend;
	struct placement *placement;
	uint64_t page_size; /* allocation unit */
	/* Registration for FUSE passthrough: id > 0 or a negative errno. @request: the FUSE request at hand. */
	int (*backing_open)(void *request, int fd);
	void (*backing_close)(void *request, int id);
};

struct file;

struct file *file_new(const struct storage *storage, uint64_t ino);
/* The file has neither name nor user: its memory goes back to the pool as soon as no mapping reaches it. */
void file_destroy(struct file *file);

uint64_t file_size(const struct file *file);
uint64_t file_allocated(const struct file *file);

/* One more open; the backing id to answer with. Each needs a file_close(). */
int file_open(struct file *file, void *request, int *backing_id);
void file_close(struct file *file, void *request);

/* While the file is open. As pread(2) and pwrite(2); writing past the end grows the file. */
ssize_t file_read(struct file *file, void *buffer, size_t length, uint64_t offset);
ssize_t file_write(struct file *file, const void *data, size_t length, uint64_t offset);

/* -ENOSPC when there is not the memory for @size. */
int file_truncate(struct file *file, uint64_t size);
/* While the file is open. fallocate(2), @mode 0 or a mix of FALLOC_FL_KEEP_SIZE, _PUNCH_HOLE and _ZERO_RANGE. */
int file_allocate(struct file *file, int mode, uint64_t offset, uint64_t length);
/* lseek(2) with SEEK_DATA or SEEK_HOLE: the offset found, -ENXIO past the end. */
int64_t file_seek(struct file *file, uint64_t offset, int whence);

/* "OFFSET START LENGTH" in decimal, a line per run; g_malloc'ed. */
char *file_describe_extents(struct file *file);
/* What the backend says of its faults; g_malloc'ed, NULL when it says nothing. */
char *file_describe_faults(struct file *file);

#endif

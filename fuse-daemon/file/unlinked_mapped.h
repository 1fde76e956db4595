/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Removed files with demand allocation that a process still maps. They have no inode any more, but when they are touched they
 * need memory. This table owns them from file_destroy() until no process maps them. unlinked_mapped.c also has the
 * code that ends all other files.
 *
 * Such a file is called lingering: struct storage has the table as its member of that name.
 *
 * There is one lock. It is not held while a thread works on a file: the file may wait for memory, as long as the host needs to give
 * lent memory back, and the thread that hears of idle memory must not wait for that. The last such thread ends the file if no process
 * maps it any more.
 */
#ifndef DMEMFS_UNLINKED_MAPPED_H
#define DMEMFS_UNLINKED_MAPPED_H

#include <stdint.h>

#include "file/file.h"

struct unlinked_mapped;

struct unlinked_mapped *unlinked_mapped_new(void);
/* Frees the table when the daemon ends. Records and backend objects of its files stay. May be NULL. */
void unlinked_mapped_destroy(struct unlinked_mapped *unlinked_mapped);

void unlinked_mapped_lock(struct unlinked_mapped *unlinked_mapped);
void unlinked_mapped_unlock(struct unlinked_mapped *unlinked_mapped);
/* Adds @file, which the table owns from then on. The caller holds the lock. */
void unlinked_mapped_add(struct unlinked_mapped *unlinked_mapped, uint64_t ino, struct file *file);
/* The file, which the table still owns; NULL: it is not in the table. The caller holds the lock. */
struct file *unlinked_mapped_find(struct unlinked_mapped *unlinked_mapped, uint64_t ino);
/*
 * The same for a caller without the lock, for whom the file stays until unlinked_mapped_put(), also when no process maps it any
 * more.
 */
struct file *unlinked_mapped_use(struct unlinked_mapped *unlinked_mapped, uint64_t ino);
void unlinked_mapped_put(const struct storage *storage, uint64_t ino);
/* The memory of all files in the table, in bytes. Takes the lock. */
uint64_t unlinked_mapped_bytes(struct unlinked_mapped *unlinked_mapped);

#endif

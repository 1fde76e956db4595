/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Removed files with demand allocation that a process still maps. They have no inode any more, but when they are touched they
 * need memory. This table owns them from file_destroy() until no process maps them. unlinked_mapped.c also has the
 * code that ends all other files.
 *
 * Such a file is called lingering: struct storage has the table as its member of that name.
 *
 * There is one lock, above those of the files. It is held while a file in the table gets memory. That is rare: most mapped
 * files are also open, and are then in the namespace.
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
/* Removes the file from the table; the caller owns it. NULL: it is not in the table. The caller holds the lock. */
struct file *unlinked_mapped_take(struct unlinked_mapped *unlinked_mapped, uint64_t ino);

#endif

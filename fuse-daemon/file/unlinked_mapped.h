/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Removed files with demand allocation that a process still maps: they have no inode any more, but may be touched, and
 * then need memory as before. Owner of them from file_destroy() until nobody can reach their memory. unlinked_mapped.c has the end of
 * all other files, too.
 *
 * One lock, above those of the files. It is held while a file of it gets memory, which is rare: most files that are
 * mapped are open as well, and then live in the namespace.
 */
#ifndef DMEMFS_UNLINKED_MAPPED_H
#define DMEMFS_UNLINKED_MAPPED_H

#include <stdint.h>

#include "file/file.h"

struct unlinked_mapped;

struct unlinked_mapped *unlinked_mapped_new(void);
/* The daemon ends: the files stay, on record and in the backend. NULL is fine. */
void unlinked_mapped_destroy(struct unlinked_mapped *unlinked_mapped);

void unlinked_mapped_lock(struct unlinked_mapped *unlinked_mapped);
void unlinked_mapped_unlock(struct unlinked_mapped *unlinked_mapped);
/* With the lock. */
void unlinked_mapped_add(struct unlinked_mapped *unlinked_mapped, uint64_t ino, struct file *file);
/* NULL: it is not here. With the lock. */
struct file *unlinked_mapped_find(struct unlinked_mapped *unlinked_mapped, uint64_t ino);
/* The same, and it is not here any more. Takes the lock. */
struct file *unlinked_mapped_take(struct unlinked_mapped *unlinked_mapped, uint64_t ino);

#endif

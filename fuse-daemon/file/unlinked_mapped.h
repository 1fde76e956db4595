/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Removed files with demand allocation that a process still maps: they have no inode any more, but may be touched, and
 * then need memory as before. Owner of them from file_destroy() until nobody can reach their memory. unlinked_mapped.c has the end of
 * all other files, too.
 *
 * One lock, above those of the files. It is held while a file of it gets memory, which is rare: most files that are
 * mapped are open as well, and then live in the namespace.
 */
#ifndef DMEMFS_LINGER_H
#define DMEMFS_LINGER_H

#include <stdint.h>

#include "file/file.h"

struct linger;

struct linger *linger_new(void);
/* The daemon ends: the files stay, on record and in the backend. NULL is fine. */
void linger_destroy(struct linger *linger);

void linger_lock(struct linger *linger);
void linger_unlock(struct linger *linger);
/* With the lock. */
void linger_add(struct linger *linger, uint64_t ino, struct file *file);
/* NULL: it is not here. With the lock. */
struct file *linger_find(struct linger *linger, uint64_t ino);
/* The same, and it is not here any more. Takes the lock. */
struct file *linger_take(struct linger *linger, uint64_t ino);

#endif

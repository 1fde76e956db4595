/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For tests: a VFS (sqlite3_vfs_register()) around the default one, which simulates disks that fail or lose power. */
#ifndef DMEMFS_FAULT_VFS_H
#define DMEMFS_FAULT_VFS_H

#include <glib.h>
#include <stdbool.h>

/* Makes it the default VFS of this process. */
void fault_vfs_install(void);
/* Has the @number-th access from now and all later ones return SQLite's @code; @writes: counts writes only. 0: none. */
void fault_vfs_fail(unsigned number, int code, bool writes);
/* Has an access failed this way? */
bool fault_vfs_failed(void);
/* Has @cut called once, before the @number-th write from now (@database: not counting SQLite's log). 0: never. */
void fault_vfs_cut(unsigned number, bool database, void (*cut)(void *data), void *data);
/*
 * Writes to @to what a disk could have of the file @path after a power cut: everything that was synced, and a random choice
 * of the sectors (512 bytes) that were written after that. False: there is no such file.
 */
bool fault_vfs_save(const char *path, const char *to, GRand *chance);

#endif

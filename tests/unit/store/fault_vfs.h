/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Disks that fail, and that lose power, under SQLite: a VFS (sqlite3_vfs_register()) around the default one. For tests. */
#ifndef DMEMFS_FAULT_VFS_H
#define DMEMFS_FAULT_VFS_H

#include <glib.h>
#include <stdbool.h>

/* From now on all databases of the process are on it. */
void fault_vfs_install(void);
/* The @number-th access from now, and every later one, returns SQLite's @code; with @writes only changes count. 0: none. */
void fault_vfs_fail(unsigned number, int code, bool writes);
/* Did one fail? */
bool fault_vfs_failed(void);
/* Before the @number-th write from now, with @database those to SQLite's log do not count, @cut is called once. 0: none. */
void fault_vfs_cut(unsigned number, bool database, void (*cut)(void *data), void *data);
/*
 * Writes to @to what a disk has of the file at @path after a power cut: all that was synced, and of what was not, each sector of
 * 512 bytes or not, as chance has it. False: there is no such file.
 */
bool fault_vfs_save(const char *path, const char *to, GRand *chance);

#endif

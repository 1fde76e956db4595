/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files of /proc and /sys. In debug builds DMEMFS_PROC and DMEMFS_SYS name directories that replace these two, for tests. */
#ifndef DMEMFS_SYSTEM_FILE_H
#define DMEMFS_SYSTEM_FILE_H

#include <stdint.h>

/* Where @path, which begins with /proc/ or /sys/, is; the caller frees it. */
char *system_file_path(const char *path);
/* What it contains, without white space around it; the caller frees it. NULL: it cannot be read. */
char *system_file_read(const char *path);
/* Bytes of the line @name of /proc/meminfo, as "MemTotal"; UINT64_MAX: not known. */
uint64_t system_meminfo(const char *name);

#endif

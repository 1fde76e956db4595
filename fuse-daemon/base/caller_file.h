/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What /proc says of a thread that waits for the daemon. It is read from an instance of procfs that only the daemon can reach: in the
 * one that all processes see, any user may keep the directory of a thread locked for as long as he likes, and hidepid= may hide it.
 */
#ifndef DMEMFS_CALLER_FILE_H
#define DMEMFS_CALLER_FILE_H

#include <sys/types.h>

/* Mounts the daemon's procfs, or logs why that failed. Else the first caller_file_read() does it. */
void caller_file_init(void);
/*
 * The file @name of @thread, as "status"; the caller frees it. NULL and errno: ENOENT or ESRCH, the thread is not known or has ended;
 * ENOSYS, there is no procfs of our own, which needs CAP_SYS_ADMIN; or what open(2) and read(2) say. May take milliseconds: hold no
 * lock but that of the file.
 */
char *caller_file_read(pid_t thread, const char *name);

#endif

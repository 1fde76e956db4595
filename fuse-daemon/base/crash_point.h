/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Named places at which a test can have the daemon die: DMEMFS_CRASH_AT=NAME, or NAME:N for the N-th time it is reached,
 * kills the process there as SIGKILL from outside would. Places that are reached before the daemon serves are named
 * start/NAME. DMEMFS_HANG_AT has the thread that reaches the place stay there for ever.
 *
 * DMEMFS_FAIL_COMMITS=FILE: while there is such a file, no transaction can be committed, as on a full disk, but for the first
 * ones: as many as it has bytes, of which each takes one away.
 *
 * Not in release builds.
 */
#ifndef DMEMFS_CRASH_POINT_H
#define DMEMFS_CRASH_POINT_H

#include <stdbool.h>

#ifdef NDEBUG

#define CRASH_POINT(name)     ((void)0)
#define crash_point_serving() ((void)0)
#define COMMIT_FAILS()        false

#else

#define CRASH_POINT(name) crash_point(name)
#define COMMIT_FAILS()    commit_fails()

void crash_point(const char *name);
bool commit_fails(void);
/* The daemon serves from now on. */
void crash_point_serving(void);

#endif

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Named places in the code at which a test can stop the daemon. Environment variables select them:
 *
 * DMEMFS_CRASH_AT=NAME kills the process with SIGKILL when it reaches the place; NAME:N when it reaches it for the N-th
 * time. Until the daemon serves requests, a place is called start/NAME.
 *
 * DMEMFS_HANG_AT=NAME, or NAME:N: the thread that reaches the place stays there for ever.
 *
 * DMEMFS_FAIL_COMMITS=FILE: while FILE exists and is empty, every commit fails as on a full disk. While it has bytes, a
 * commit succeeds and takes one byte off.
 *
 * Release builds (NDEBUG) contain none of this.
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
/* Must the commit at hand fail? */
bool commit_fails(void);
/* To be called when the daemon begins to serve requests: ends the prefix start/. */
void crash_point_serving(void);

#endif

#endif

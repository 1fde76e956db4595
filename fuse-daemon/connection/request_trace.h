/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What --log-level debug shows: one line for each FUSE request, with its operation, inode, name, result and time. */
#ifndef DMEMFS_REQUEST_TRACE_H
#define DMEMFS_REQUEST_TRACE_H

#include <stddef.h>
#include <stdint.h>

/*
 * Logs one line about @request (what the kernel sent, @size bytes), unless the log level is above debug. @result: 0
 * or a negative errno. @us: how long a thread worked on it.
 */
void request_trace(const void *request, size_t size, int result, int64_t us);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Logs and counts requests for a file size that the daemon refused for want of memory or quota. Some programs hide
 * the error (QEMU goes on), so the log names the process, the size and the free memory. Thread-safe.
 */
#ifndef DMEMFS_SIZING_H
#define DMEMFS_SIZING_H

#include "requests/ops.h"

/*
 * Counts and logs @req on @ino if @err, its result, is -ENOSPC or -EDQUOT. @size: the size that the file would have,
 * in bytes.
 */
void sizing_note(fuse_req_t req, uint64_t ino, uint64_t size, int err);
/* The number of refused requests since this daemon started. */
uint64_t sizing_refused(void);

#endif

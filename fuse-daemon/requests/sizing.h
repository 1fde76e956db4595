/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Files that did not get the size that somebody wanted. Programs hide that (QEMU goes on), so the daemon says it: who wanted how
 * much, and what there is. Thread-safe.
 */
#ifndef DMEMFS_SIZING_H
#define DMEMFS_SIZING_H

#include "requests/ops.h"

/* @err: what @req on @ino ends with; counted and logged if it is -ENOSPC or -EDQUOT. @size: bytes that the file would have. */
void sizing_note(fuse_req_t req, uint64_t ino, uint64_t size, int err);
/* How many were refused since this daemon started. */
uint64_t sizing_refused(void);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The state directory, held by one daemon at a time. */
#ifndef DMEMFS_INSTANCE_H
#define DMEMFS_INSTANCE_H

#include <glib.h>

/*
 * Makes the state directory if it is not there (0700) and locks it for the life of the process. Returns a
 * descriptor to keep, or -1 and @error, which names the process that holds it.
 */
int instance_lock(const char *state_dir, GError **error);
/*
 * The holder serves: the lock file's mtime says since when. A process that takes its own lock again, in a reload, does
 * not change it before that.
 */
void instance_ready(int lock);

#endif

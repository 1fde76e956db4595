/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The state directory, held by one daemon at a time. */
#ifndef DMEMFS_STATE_LOCK_H
#define DMEMFS_STATE_LOCK_H

#include <glib.h>
#include <sys/types.h>

/* How long a daemon waits for the last one, in seconds. */
#define STATE_LOCK_PATIENCE 30

/*
 * Makes the state directory if it is not there (0700) and locks it for the life of the process. Waits for a holder whose mount
 * has gone, at most @patience seconds, and says so; one that serves a mount is an error at once. Returns a descriptor to
 * keep, or -1 and @error, which names the process that holds it: G_FILE_ERROR_EXIST.
 */
int state_lock_take(const char *state_dir, unsigned patience, GError **error);
/*
 * The holder serves the mount of @device: the lock file's mtime says since when. A process that takes its own lock again,
 * in a reload, does not change it before that.
 */
void state_lock_ready(int lock, dev_t device);

#endif

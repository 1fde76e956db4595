/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The lock of the state directory: only one daemon at a time uses the directory. */
#ifndef DMEMFS_STATE_LOCK_H
#define DMEMFS_STATE_LOCK_H

#include <glib.h>
#include <sys/types.h>

/* How long a daemon waits for the end of an earlier one, in seconds. */
#define STATE_LOCK_PATIENCE 30

/*
 * Makes the state directory if it does not exist (mode 0700) and locks it. If another daemon holds the lock and its
 * mount is gone, waits for its end, at most @patience seconds, and logs that; if that daemon serves a mount, fails at
 * once. Returns a descriptor, owned by the caller, that holds the lock until it is closed; or -1 and @error. When the
 * directory is in use, @error is G_FILE_ERROR_EXIST and names the other process.
 */
int state_lock_take(const char *state_dir, unsigned patience, GError **error);
/*
 * Writes to the lock file that this process serves the mount of @device, and which configuration it reads, also after a reload: an
 * absolute path. The file's mtime says since when. After a reload the same process takes its lock again, and leaves the file unchanged
 * until it calls this.
 */
void state_lock_ready(int lock, dev_t device, const char *config_file);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Opens files and directories that only root and the daemon's user can write or replace, and refuses others.
 *
 * Every directory and symbolic link on the way must belong to root or to the daemon's user. The directories must be
 * writable by their owner only, or be sticky. They are checked from the root on. After a directory has passed, no other
 * user can replace an entry of it that belongs to root or to the daemon's user, so the path stays safe to use.
 */
#ifndef DMEMFS_PRIVATE_H
#define DMEMFS_PRIVATE_H

#include <glib.h>
#include <stdbool.h>

/*
 * Opens the directory @path, an absolute path; the caller closes the descriptor. With @make, creates it (mode 0700) if only
 * its last component is missing. On failure -1, and @error says what to do; G_FILE_ERROR_NOENT: only the last component is
 * missing.
 */
int private_directory(const char *path, bool make, GError **error);
/*
 * Opens the regular file @name in @directory (of private_directory()) with @flags of open(2); the caller closes the
 * descriptor. O_CREAT creates it with mode 0600. Refuses a file that others can write; changes any other mode to 0600. On
 * failure -1 and @error; G_FILE_ERROR_NOENT: the file does not exist.
 */
int private_file(int directory, const char *name, int flags, GError **error);

#endif

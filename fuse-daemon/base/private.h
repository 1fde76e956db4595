/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Files and directories that are the daemon's own: nobody else may write them, or put something else in their place.
 *
 * Every directory and symbolic link that leads there must belong to root or to the daemon's user; the directories must be
 * writable by their owners alone, or sticky. They are looked at from the root on: once one has passed, nobody else can
 * replace what it holds of those two, so what passed may be used by path.
 */
#ifndef DMEMFS_PRIVATE_H
#define DMEMFS_PRIVATE_H

#include <glib.h>
#include <stdbool.h>

/*
 * A descriptor of the directory @path, an absolute one. With @make it is made (0700) if only its last part is missing. -1
 * and @error, which says what to do; G_FILE_ERROR_NOENT if only the last part is missing.
 */
int private_directory(const char *path, bool make, GError **error);
/*
 * Opens the regular file @name in @directory, of private_directory(), with @flags of open(2); O_CREAT makes it (0600). One
 * that others could read is 0600 from then on. -1 and @error; G_FILE_ERROR_NOENT if there is none.
 */
int private_file(int directory, const char *name, int flags, GError **error);

#endif

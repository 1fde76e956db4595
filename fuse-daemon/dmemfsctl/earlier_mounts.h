/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mounts that a dmemfs had before the one that it has now. When the daemon stops, or dies and is started again, processes keep what
 * they map of the files, but by a mount that is gone: its device is another, and its daemon answers no more.
 *
 * It is shown to people, and nothing else depends on it, because a process can pretend it of itself: who mounts a FUSE in a user
 * namespace chooses its type and its inodes, may unmount it when he has mapped a file, and can wait for the number of an earlier mount
 * that is no longer in use. The process then looks like a user of a file that it does not have. It cannot make others look so.
 */
#ifndef DMEMFSCTL_EARLIER_MOUNTS_H
#define DMEMFSCTL_EARLIER_MOUNTS_H

#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

/*
 * The devices in @text ("0:39 0:41", as the daemon remembers them; NULL: none) that can still be such mounts: not @current, not mounted
 * here, and in use. GArray of dev_t; the caller frees it.
 */
GArray *earlier_mounts_parse(const char *text, dev_t current);
/*
 * Those of @devices that the process @pid can map files of. Not one that another file system has now, which @pid or this process sees:
 * the kernel uses numbers again, also after earlier_mounts_parse(). Reads all mounts that both see, once for each device. The caller
 * frees the array.
 */
GArray *earlier_mounts_of(const GArray *devices, pid_t pid);
bool earlier_mounts_have(const GArray *devices, dev_t device);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The FUSE session: mounted, served by threads, taken down. */
#ifndef DMEMFS_MOUNT_H
#define DMEMFS_MOUNT_H

#include <glib.h>
#include <stdbool.h>

#include "ops.h"

struct mount;

/*
 * Mounts at server->config->mountpoint and serves requests until the mount goes away. Returns once the mount has answered a
 * request. @ended is called once, on the serving thread, when serving has ended.
 * On failure NULL, nothing is mounted, and @error says what the machine lacks.
 */
struct mount *mount_start(struct server *server, void (*ended)(void *data), void *data, GError **error);
/* Takes the mount down, whoever uses it: open files and mappings live on without names. @ended follows. */
void mount_stop(struct mount *mount);
/* After @ended: frees everything. False when serving ended by a fault rather than by an unmount. */
bool mount_finish(struct mount *mount);

#endif

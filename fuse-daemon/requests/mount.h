/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The FUSE mount: made, or taken over from an earlier daemon; served by threads; taken down, or left to a later one.
 */
#ifndef DMEMFS_MOUNT_H
#define DMEMFS_MOUNT_H

#include <glib.h>
#include <stdbool.h>

#include "connection/takeover.h"
#include "requests/ops.h"

struct mount;

/*
 * Mounts at server->config->mountpoint, or goes on with the connection of @takeover (whose descriptor it then owns), and
 * serves requests until the mount goes away. Returns once requests are answered. @ended is called once, on a serving
 * thread, when serving has ended.
 *
 * The daemon itself never touches a path on its mount: a thread that waits for an answer cannot die, not by SIGKILL either,
 * and with it would stay the process that should have given the answer.
 * On failure NULL, nothing new is mounted, and @error says what the machine lacks.
 */
struct mount *mount_start(struct server *server, struct takeover *takeover, void (*ended)(void *data), void *data,
                          GError **error);
/* The connection's descriptor, of the mount's own. */
int mount_fd(const struct mount *mount);
/* By which it is known in mountinfo; 0: it was not found there when it was begun with. */
dev_t mount_device(const struct mount *mount);
/* Has anything gone on within the last @limit us (session_is_alive())? */
bool mount_is_alive(struct mount *mount, int64_t limit);
/* As session_load(). */
unsigned mount_load(struct mount *mount, int64_t *oldest);
/* Ends serving, nothing else: @ended follows. From the thread of the main loop. */
void mount_stop(struct mount *mount);
/*
 * After @ended: frees everything. With @keep the mount stays, and whoever has a copy of its descriptor may serve it; else
 * it is taken down, whoever uses it: open files and mappings live on without names. False when serving ended by a
 * fault rather than by an unmount.
 */
bool mount_finish(struct mount *mount, bool keep);

#endif

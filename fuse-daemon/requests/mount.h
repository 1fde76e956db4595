/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The FUSE mount: makes it or takes it over from an earlier daemon, serves it by threads, and unmounts it or leaves
 * it to the next daemon.
 */
#ifndef DMEMFS_MOUNT_H
#define DMEMFS_MOUNT_H

#include <glib.h>
#include <stdbool.h>

#include "connection/takeover.h"
#include "requests/ops.h"

struct mount;

/*
 * Mounts at server->config->mountpoint, or goes on with the connection of @takeover (whose descriptor it then owns),
 * and serves requests until the mount goes away. Returns once INIT is answered, so that requests are served. @ended
 * is called once, on a serving thread, when serving has ended. On failure it returns NULL, nothing new is mounted,
 * and @error says what the machine lacks.
 *
 * The daemon itself must never touch a path on its mount. A thread that waits for the answer to a FUSE request cannot
 * be killed, not even by SIGKILL; if it belongs to the process that should answer, that process never ends.
 */
struct mount *mount_start(struct server *server, struct takeover *takeover, void (*ended)(void *data), void *data,
                          GError **error);
/* The descriptor of the FUSE connection, owned by the mount. */
int mount_fd(const struct mount *mount);
/* The device number of the mount in mountinfo; 0: it was not found there at the start. */
dev_t mount_device(const struct mount *mount);
/* As session_is_alive(). */
bool mount_is_alive(struct mount *mount, int64_t limit);
/* As session_load(). */
unsigned mount_load(struct mount *mount, int64_t *oldest);
/* Ends serving and leaves the mount; @ended follows. Call it on the thread of the main loop. */
void mount_stop(struct mount *mount);
/*
 * After @ended: frees everything. With @keep the file system stays mounted, and a process with a copy of the
 * descriptor can serve it. Without @keep it is unmounted even when it is in use: open files and mappings go on to
 * work without a path. False when an error ended serving, rather than an unmount or mount_stop().
 */
bool mount_finish(struct mount *mount, bool keep);

#endif

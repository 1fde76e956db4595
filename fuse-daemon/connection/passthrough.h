/* SPDX-License-Identifier: GPL-2.0-or-later */
/* FUSE passthrough without a request at hand, which libfuse's functions want: ioctls of a connection's descriptor. */
#ifndef DMEMFS_PASSTHROUGH_H
#define DMEMFS_PASSTHROUGH_H

/* Registers the file of @fd with @connection: its backing id (> 0), or a negative errno. Needs CAP_SYS_ADMIN. */
int passthrough_open(int connection, int fd);
/* 0 or a negative errno, -ENOENT: no such id. */
int passthrough_close(int connection, int id);

#endif

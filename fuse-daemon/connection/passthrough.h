/* SPDX-License-Identifier: GPL-2.0-or-later */
/* FUSE passthrough by ioctls of a connection's descriptor, because libfuse's functions work only during a request. */
#ifndef DMEMFS_PASSTHROUGH_H
#define DMEMFS_PASSTHROUGH_H

/* Registers the file of @fd with @connection. Returns its backing id (> 0) or a negative errno. Needs CAP_SYS_ADMIN. */
int passthrough_open(int connection, int fd);
/* Ends the registration @id. 0 or a negative errno; -ENOENT: there is no such id. */
int passthrough_close(int connection, int id);

#endif

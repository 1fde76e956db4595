// SPDX-License-Identifier: GPL-2.0-or-later
/* FUSE passthrough by ioctls of a connection's descriptor. */
#include "connection/passthrough.h"

#include <errno.h>
#include <linux/fuse.h>
#include <stdint.h>
#include <sys/ioctl.h>

/* <linux/fuse.h> of Linux 6.9 and later: struct fuse_backing_map and its ioctls. */
struct backing_map {
	int32_t fd;
	uint32_t flags;
	uint64_t padding;
};

#define BACKING_OPEN  _IOW(229, 1, struct backing_map)
#define BACKING_CLOSE _IOW(229, 2, uint32_t)

int passthrough_open(int connection, int fd)
{
	const struct backing_map map = { .fd = fd };
	int id = ioctl(connection, BACKING_OPEN, &map);

	return id < 0 ? -errno : id;
}

int passthrough_close(int connection, int id)
{
	const uint32_t backing = (uint32_t)id;

	return ioctl(connection, BACKING_CLOSE, &backing) < 0 ? -errno : 0;
}

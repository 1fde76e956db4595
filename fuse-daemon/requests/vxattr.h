/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The virtual extended attributes "dmemfs.*": what the file system says of itself through getfattr(1).
 *
 * Each is there as "trusted.dmemfs.*", too. Those names the kernel keeps from all but CAP_SYS_ADMIN in the initial user
 * namespace (xattr_permission() in fs/xattr.c), which is more than a request tells of its caller: user 0 may be root
 * without capabilities, or in a container. Limits are set under them only.
 */
#ifndef DMEMFS_VXATTR_H
#define DMEMFS_VXATTR_H

#include <stdbool.h>

#include "requests/ops.h"

/* Is @name in the name space of dmemfs? Users may not store anything there. */
bool vxattr_is_virtual(const char *name);
/*
 * The value as text, g_malloc'ed, without a line feed at its end. 0, -ENODATA (no such attribute on @ino), -EPERM (physical
 * addresses, and @uid is not root) or an error.
 */
int vxattr_get(struct server *server, uid_t uid, uint64_t ino, const char *name, char **value);
/*
 * Sets one that can be set; @value NULL removes it, @flags as setxattr(2). -EPERM: nobody may, or not @uid; -EINVAL: no
 * such value.
 */
int vxattr_set(struct server *server, uid_t uid, uint64_t ino, const char *name, const void *value, size_t size,
               int flags);

#endif

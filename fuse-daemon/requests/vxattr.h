/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The virtual extended attributes "dmemfs.*": state and settings of files, directories and the daemon, for
 * getfattr(1) and setfattr(1).
 *
 * Each also exists as "trusted.dmemfs.*". The kernel lets only callers with CAP_SYS_ADMIN in the initial user
 * namespace use these names (xattr_permission() in fs/xattr.c). A request itself does not say that much about its
 * caller: user 0 may be root without capabilities, or root of a container. So limits can be set under the "trusted."
 * names only.
 */
#ifndef DMEMFS_VXATTR_H
#define DMEMFS_VXATTR_H

#include <stdbool.h>

#include "requests/ops.h"

/* Does @name begin with "dmemfs." or "trusted.dmemfs."? Users cannot store attributes with such names. */
bool vxattr_is_virtual(const char *name);
/*
 * *@value: the value as text, g_malloc'ed, without a line feed at its end. Returns 0, -ENODATA (@ino has no such
 * attribute),
 * -EPERM (only root may read it, and @uid is not root) or another negative errno.
 */
int vxattr_get(struct server *server, uid_t uid, uint64_t ino, const char *name, char **value);
/*
 * Sets the attribute @name; @value NULL removes it. @flags as setxattr(2). Returns 0, -EPERM (the attribute is
 * read-only, or @uid may not set it), -EINVAL (the value is not valid) or another negative errno.
 */
int vxattr_set(struct server *server, uid_t uid, uint64_t ino, const char *name, const void *value, size_t size,
               int flags);

#endif

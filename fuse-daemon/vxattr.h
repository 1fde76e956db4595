/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The virtual extended attributes "dmemfs.*": what the file system says of itself through getfattr(1). */
#ifndef DMEMFS_VXATTR_H
#define DMEMFS_VXATTR_H

#include <stdbool.h>

#include "ops.h"

/* Is @name in the name space of dmemfs? Users may not store anything there. */
bool vxattr_is_virtual(const char *name);
/* The value as text, g_malloc'ed, without a line feed at its end. 0, -ENODATA (no such attribute on @ino) or an error. */
int vxattr_get(struct server *server, uint64_t ino, const char *name, char **value);
/*
 * Sets one that can be set; @value NULL removes it, @flags as setxattr(2). -EPERM: nobody may, or not @uid; -EINVAL: no
 * such value.
 */
int vxattr_set(struct server *server, uid_t uid, uint64_t ino, const char *name, const void *value, size_t size,
               int flags);

#endif

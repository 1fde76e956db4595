/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The extended attributes that users gave one inode. Pure; namespace.c holds the lock. */
#ifndef DMEMFS_XATTR_H
#define DMEMFS_XATTR_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Names and values of one inode together, in bytes: room for two values of the kernel's largest size (xattr(7)). */
#define XATTR_MAX_TOTAL (128 * 1024)

struct xattrs;

/* May users store @name here: "user.", "trusted." and "security." yes, everything else -EOPNOTSUPP. */
int xattr_name_supported(const char *name);

struct xattrs *xattrs_new(void);
void xattrs_destroy(struct xattrs *xattrs);

/* About how many bytes of memory they take, tables included. NULL: none. */
size_t xattrs_footprint(const struct xattrs *xattrs);

/*
 * @flags: 0, XATTR_CREATE (-EEXIST when there) or XATTR_REPLACE (-ENODATA when not). -ENOSPC past XATTR_MAX_TOTAL. The
 * kernel has bounded name and value (xattr(7): 255 bytes, 64 KiB).
 */
int xattrs_may_set(const struct xattrs *xattrs, const char *name, size_t size, int flags);
/* By how much the footprint changes with it. */
ssize_t xattrs_growth(const struct xattrs *xattrs, const char *name, size_t size);
/* As xattrs_may_set(), and does it. */
int xattrs_set(struct xattrs *xattrs, const char *name, const void *value, size_t size, int flags);
/* The value, owned by @xattrs until it changes; NULL when there is none. */
const void *xattrs_get(const struct xattrs *xattrs, const char *name, size_t *size);
/* 0 or -ENODATA. */
int xattrs_remove(struct xattrs *xattrs, const char *name);
/*
 * Names, each with its NUL, into @list of @size bytes; size 0 asks for the length. Length or -ERANGE. Only
 * @privileged callers see "trusted." names (xattr(7)).
 */
ssize_t xattrs_list(const struct xattrs *xattrs, bool privileged, char *list, size_t size);

#endif

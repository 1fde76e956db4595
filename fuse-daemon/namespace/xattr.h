/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The extended attributes that users gave one inode. No I/O; the namespace's lock guards everything here. */
#ifndef DMEMFS_XATTR_H
#define DMEMFS_XATTR_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * Limit of the names and values of one inode together, in bytes: two values of the kernel's largest size (xattr(7))
 * fit.
 */
#define XATTR_MAX_TOTAL (128 * 1024)

struct xattrs;

/* 0 for names in "user.", "trusted." and "security.", which users may store; else -EOPNOTSUPP. */
int xattr_name_supported(const char *name);

struct xattrs *xattrs_new(void);
/* NULL is fine. */
void xattrs_destroy(struct xattrs *xattrs);

/* About how many bytes of memory the attributes take, tables included. NULL: 0. */
size_t xattrs_footprint(const struct xattrs *xattrs);

/*
 * Checks whether xattrs_set() would succeed. @flags: 0, XATTR_CREATE (-EEXIST when @name exists) or XATTR_REPLACE
 * (-ENODATA when it does not). -ENOSPC above XATTR_MAX_TOTAL. The kernel limits name and value (xattr(7): 255 bytes,
 * 64 KiB).
 */
int xattrs_may_set(const struct xattrs *xattrs, const char *name, size_t size, int flags);
/* By how many bytes the footprint would change with xattrs_set(). */
ssize_t xattrs_growth(const struct xattrs *xattrs, const char *name, size_t size);
/* Copies @name and @value. Errors as xattrs_may_set(). */
int xattrs_set(struct xattrs *xattrs, const char *name, const void *value, size_t size, int flags);
/* The value, owned by @xattrs until it changes; NULL when there is none. */
const void *xattrs_get(const struct xattrs *xattrs, const char *name, size_t *size);
/* 0 or -ENODATA. */
int xattrs_remove(struct xattrs *xattrs, const char *name);
/*
 * Copies the names, each with its NUL, to @list of @size bytes; @size 0 copies nothing. Returns the length of all
 * names, or
 * -ERANGE when @list is too small. Only @privileged callers see "trusted." names (xattr(7)).
 */
ssize_t xattrs_list(const struct xattrs *xattrs, bool privileged, char *list, size_t size);

#endif

// SPDX-License-Identifier: GPL-2.0-or-later
/* The extended attributes that users gave one inode. */
#include "namespace/xattr.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#include "base/current_request.h"

/* Bytes for an attribute beside its name and value: two blocks of malloc(3), a GBytes, the place in the table. */
#define OVERHEAD 128

struct xattrs {
	GHashTable *values; /* name -> GBytes */
	size_t total;       /* bytes of names and values */
};

int xattr_name_supported(const char *name)
{
	static const char *const prefixes[] = { "user.", "trusted.", "security." };

	for (size_t i = 0; i < G_N_ELEMENTS(prefixes); i++) {
		if (g_str_has_prefix(name, prefixes[i]) && name[strlen(prefixes[i])])
			return 0;
	}
	return -EOPNOTSUPP;
}

static void bytes_free(gpointer bytes)
{
	g_bytes_unref(bytes);
}

struct xattrs *xattrs_new(void)
{
	struct xattrs *xattrs = g_new0(struct xattrs, 1);

	xattrs->values = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, bytes_free);
	return xattrs;
}

void xattrs_destroy(struct xattrs *xattrs)
{
	if (!xattrs)
		return;
	g_hash_table_unref(xattrs->values);
	g_free(xattrs);
}

size_t xattrs_footprint(const struct xattrs *xattrs)
{
	return xattrs ? g_hash_table_size(xattrs->values) * OVERHEAD + xattrs->total : 0;
}

/* The bytes of the name and the value of attribute @name; 0 when there is none. */
static size_t bytes_of(const struct xattrs *xattrs, const char *name)
{
	GBytes *value = g_hash_table_lookup(xattrs->values, name);

	return value ? strlen(name) + g_bytes_get_size(value) : 0;
}

int xattrs_may_set(const struct xattrs *xattrs, const char *name, size_t size, int flags)
{
	int err = current_request_may_set(g_hash_table_contains(xattrs->values, name), true, flags);

	if (!err && xattrs->total - bytes_of(xattrs, name) + strlen(name) + size > XATTR_MAX_TOTAL)
		err = -ENOSPC;
	return err;
}

ssize_t xattrs_growth(const struct xattrs *xattrs, const char *name, size_t size)
{
	ssize_t growth = (ssize_t)(strlen(name) + size) - (ssize_t)bytes_of(xattrs, name);

	return growth + (g_hash_table_contains(xattrs->values, name) ? 0 : OVERHEAD);
}

int xattrs_set(struct xattrs *xattrs, const char *name, const void *value, size_t size, int flags)
{
	int err = xattrs_may_set(xattrs, name, size, flags);

	if (err)
		return err;
	xattrs->total += strlen(name) + size - bytes_of(xattrs, name);
	g_hash_table_insert(xattrs->values, g_strdup(name), g_bytes_new(value, size));
	return 0;
}

const void *xattrs_get(const struct xattrs *xattrs, const char *name, size_t *size)
{
	GBytes *value = g_hash_table_lookup(xattrs->values, name);

	if (!value)
		return NULL;

	const void *data = g_bytes_get_data(value, size);

	return data ? data : "";
}

int xattrs_remove(struct xattrs *xattrs, const char *name)
{
	GBytes *old = g_hash_table_lookup(xattrs->values, name);

	if (!old)
		return -ENODATA;
	xattrs->total -= strlen(name) + g_bytes_get_size(old);
	g_hash_table_remove(xattrs->values, name);
	return 0;
}

ssize_t xattrs_list(const struct xattrs *xattrs, bool privileged, char *list, size_t size)
{
	GHashTableIter iter;
	gpointer key;
	size_t used = 0;

	g_hash_table_iter_init(&iter, xattrs->values);
	while (g_hash_table_iter_next(&iter, &key, NULL)) {
		size_t length = strlen(key) + 1;

		if (!privileged && g_str_has_prefix(key, "trusted."))
			continue;
		if (size > 0) {
			if (used + length > size)
				return -ERANGE;
			memcpy(list + used, key, length);
		}
		used += length;
	}
	return (ssize_t)used;
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* The paths of inodes, for messages. */
#include "namespace/inode.h"

/* Of a longer path only the end is told: users choose how deep it is, and the namespace's lock is held. */
#define PATH_BYTES 1024

/* The last name that @inode got in @dir; NULL: it is not there any more. */
static const char *last_name(const struct inode *dir, const struct inode *inode)
{
	const struct directory_entry *entry = directory_before(dir->entries, inode->cookie + 1);

	return entry && entry->cookie == inode->cookie && entry->ino == inode->ino ? entry->name : NULL;
}

/* The path of @inode from the root on, g_malloc'ed; NULL: its last name is not there any more. */
static char *path_of(const struct namespace *ns, const struct inode *inode)
{
	g_autoptr(GString) path = g_string_new(inode->ino == STORE_ROOT_INO ? "/" : "");

	while (inode->ino != STORE_ROOT_INO) {
		int err = 0;
		const struct inode *dir = inode_find_directory(ns, inode->parent, &err);
		const char *name = dir ? last_name(dir, inode) : NULL;

		if (!name)
			return NULL;
		g_string_prepend(path, name);
		g_string_prepend_c(path, '/');
		if (path->len > PATH_BYTES) {
			g_string_prepend(path, "...");
			break;
		}
		inode = dir;
	}
	return g_strescape(path->str, "\"");
}

char *inode_describe(const struct namespace *ns, uint64_t ino)
{
	const struct inode *inode = inode_find(ns, ino);
	g_autofree char *path = inode ? path_of(ns, inode) : NULL;

	if (path)
		return g_strdup_printf("inode %" G_GUINT64_FORMAT " (%s)", ino, path);
	return g_strdup_printf("inode %" G_GUINT64_FORMAT "%s", ino, inode && inode->nlink ? "" : " (removed)");
}

char *namespace_describe(struct namespace *ns, uint64_t ino)
{
	char *text;

	g_mutex_lock(&ns->lock);
	text = inode_describe(ns, ino);
	g_mutex_unlock(&ns->lock);
	return text;
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* The paths of inodes, for messages. */
#include "namespace/inode.h"

/* The name of @ino in @dir; NULL: it has none there. */
static const char *name_in(const struct inode *dir, uint64_t ino)
{
	const struct directory_entry *entry = directory_before(dir->entries, UINT64_MAX);

	while (entry && entry->ino != ino)
		entry = directory_before(dir->entries, entry->cookie);
	return entry ? entry->name : NULL;
}

/* One path of @inode from the root on, g_malloc'ed; NULL: the directory of its last name that was made has it no more. */
static char *path_of(const struct namespace *ns, const struct inode *inode)
{
	g_autoptr(GString) path = g_string_new(inode->ino == STORE_ROOT_INO ? "/" : "");

	while (inode->ino != STORE_ROOT_INO) {
		int err = 0;
		const struct inode *dir = inode_find_directory(ns, inode->parent, &err);
		const char *name = dir ? name_in(dir, inode->ino) : NULL;

		if (!name)
			return NULL;
		g_string_prepend(path, name);
		g_string_prepend_c(path, '/');
		inode = dir;
	}
	return g_string_free(g_steal_pointer(&path), FALSE);
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

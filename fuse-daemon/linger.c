// SPDX-License-Identifier: GPL-2.0-or-later
/* Removed files that may still ask for memory. */
#include "linger.h"

struct linger {
	GMutex lock;
	GHashTable *files; /* owned guint64 -> struct file */
};

struct linger *linger_new(void)
{
	struct linger *linger = g_new0(struct linger, 1);

	g_mutex_init(&linger->lock);
	linger->files = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
	return linger;
}

void linger_destroy(struct linger *linger)
{
	GHashTableIter iter;
	gpointer file;

	if (!linger)
		return;
	g_hash_table_iter_init(&iter, linger->files);
	while (g_hash_table_iter_next(&iter, NULL, &file))
		file_release(file);
	g_hash_table_unref(linger->files);
	g_mutex_clear(&linger->lock);
	g_free(linger);
}

void linger_lock(struct linger *linger)
{
	g_mutex_lock(&linger->lock);
}

void linger_unlock(struct linger *linger)
{
	g_mutex_unlock(&linger->lock);
}

void linger_add(struct linger *linger, uint64_t ino, struct file *file)
{
	g_hash_table_insert(linger->files, g_memdup2(&ino, sizeof(ino)), file);
}

struct file *linger_find(struct linger *linger, uint64_t ino)
{
	return g_hash_table_lookup(linger->files, &ino);
}

struct file *linger_take(struct linger *linger, uint64_t ino)
{
	struct file *file;

	linger_lock(linger);
	file = linger_find(linger, ino);
	g_hash_table_remove(linger->files, &ino);
	linger_unlock(linger);
	return file;
}

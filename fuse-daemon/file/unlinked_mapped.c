// SPDX-License-Identifier: GPL-2.0-or-later
/* The end of removed files, and a table of those that may still need memory. */
#include "file/unlinked_mapped.h"

#include "base/crash_point.h"
#include "file/file_internal.h"
#include "file/pins.h"

struct unlinked_mapped {
	GMutex lock;
	GHashTable *files; /* inode number (owned guint64) -> owned struct entry */
};

struct entry {
	struct file *file;
	unsigned users; /* threads that work on the file without the lock */
	bool idle;      /* no process maps it any more: the last user ends it */
};

struct unlinked_mapped *unlinked_mapped_new(void)
{
	struct unlinked_mapped *unlinked_mapped = g_new0(struct unlinked_mapped, 1);

	g_mutex_init(&unlinked_mapped->lock);
	unlinked_mapped->files = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
	return unlinked_mapped;
}

void unlinked_mapped_destroy(struct unlinked_mapped *unlinked_mapped)
{
	GHashTableIter iter;
	gpointer entry;

	if (!unlinked_mapped)
		return;
	g_hash_table_iter_init(&iter, unlinked_mapped->files);
	while (g_hash_table_iter_next(&iter, NULL, &entry))
		file_release(((struct entry *)entry)->file);
	g_hash_table_unref(unlinked_mapped->files);
	g_mutex_clear(&unlinked_mapped->lock);
	g_free(unlinked_mapped);
}

void unlinked_mapped_lock(struct unlinked_mapped *unlinked_mapped)
{
	g_mutex_lock(&unlinked_mapped->lock);
}

void unlinked_mapped_unlock(struct unlinked_mapped *unlinked_mapped)
{
	g_mutex_unlock(&unlinked_mapped->lock);
}

void unlinked_mapped_add(struct unlinked_mapped *unlinked_mapped, uint64_t ino, struct file *file)
{
	struct entry *entry = g_new0(struct entry, 1);

	entry->file = file;
	g_hash_table_insert(unlinked_mapped->files, g_memdup2(&ino, sizeof(ino)), entry);
}

static struct entry *find(struct unlinked_mapped *unlinked_mapped, uint64_t ino)
{
	return g_hash_table_lookup(unlinked_mapped->files, &ino);
}

uint64_t unlinked_mapped_bytes(struct unlinked_mapped *unlinked_mapped)
{
	uint64_t bytes = 0;
	GHashTableIter iter;
	gpointer entry;

	unlinked_mapped_lock(unlinked_mapped);
	g_hash_table_iter_init(&iter, unlinked_mapped->files);
	while (g_hash_table_iter_next(&iter, NULL, &entry))
		bytes += file_allocated(((struct entry *)entry)->file);
	unlinked_mapped_unlock(unlinked_mapped);
	return bytes;
}

struct file *unlinked_mapped_find(struct unlinked_mapped *unlinked_mapped, uint64_t ino)
{
	const struct entry *entry = find(unlinked_mapped, ino);

	return entry ? entry->file : NULL;
}

/* As unlinked_mapped_use(). The caller holds the lock. */
static struct file *use(struct unlinked_mapped *unlinked_mapped, uint64_t ino)
{
	struct entry *entry = find(unlinked_mapped, ino);

	if (!entry)
		return NULL;
	entry->users++;
	return entry->file;
}

struct file *unlinked_mapped_use(struct unlinked_mapped *unlinked_mapped, uint64_t ino)
{
	struct file *file;

	unlinked_mapped_lock(unlinked_mapped);
	file = use(unlinked_mapped, ino);
	unlinked_mapped_unlock(unlinked_mapped);
	return file;
}

/* Makes the file's memory pending in the pool until its record is deleted. True: it had memory. */
static bool retire_memory(struct file *file)
{
	GArray *extents = g_array_new(FALSE, FALSE, sizeof(struct extent));
	bool had;

	extent_map_remove(file->map, 0, UINT64_MAX, extents);
	had = extents->len > 0;
	if (file->order != PAGE_ORDER_NONE) {
		const struct pool_user last = file_last_user(file);

		pool_set_last_user(file->storage->pool, file->ino, &last);
	}
	pool_retire(file->storage->pool, file->ino, extents);
	pool_forgo(file->storage->pool, file_regions(file), file->promised);
	return had;
}

/* Drops the object. True: no process maps it. False: its idle event follows. */
static bool drop_object(struct file *file)
{
	const struct storage *storage = file->storage;
	bool idle;

	CRASH_POINT("before-drop");
	idle = file->object ? storage->ops->drop(file->object) : storage->ops->discard(storage->backend, file->ino);
	CRASH_POINT("after-drop");
	file->object = NULL;
	return idle;
}

/* Keeps the file in the table while a process maps it, because it may need memory. */
static void keep_while_mapped(struct file *file)
{
	const struct storage *storage = file->storage;
	struct unlinked_mapped *unlinked_mapped = storage->unlinked_mapped;
	uint64_t ino = file->ino;
	bool idle;

	unlinked_mapped_lock(unlinked_mapped);
	/* Under the lock: storage_unpinned() must not find the account while the file is not in the table. */
	quota_retire(storage->quotas, ino, &file->account);
	/* Added before the object is dropped: the idle event may come at once. */
	unlinked_mapped_add(unlinked_mapped, ino, file);
	idle = drop_object(file);
	if (!idle)
		file->object = storage->ops->follow(storage->backend, ino);
	unlinked_mapped_unlock(unlinked_mapped);
	if (idle)
		storage_idle(storage, ino);
}

void file_destroy(struct file *file)
{
	const struct storage *storage = file->storage;
	uint64_t ino = file->ino;

	if (file->backing_id)
		storage->backing_close(file->backing_id);
	if (!file->object && !file->restored) {
		quota_retire(storage->quotas, ino, &file->account);
		store_delete_inode_later(storage->store, ino, NULL);
	} else if (file->demand) {
		keep_while_mapped(file);
		return;
	} else {
		/* The memory first: storage_unpinned() reduces the account to what the pool has of the file. */
		bool had_memory = retire_memory(file), idle;

		quota_retire(storage->quotas, ino, &file->account);
		/* Retired before the object is dropped: the idle event may come at once. */
		idle = drop_object(file);
		/* Order: the object, then commit, then the pool: storage_deleted() frees the memory. */
		if (idle && (had_memory || pool_pinned_bytes(storage->pool, ino)))
			storage_idle(storage, ino);
		else if (idle)
			store_delete_inode_later(storage->store, ino, NULL); /* no memory: no request waits for it */
	}
	file_release(file);
}

/* Removes the file from the table, which has it. The caller holds the lock, and then calls end(). */
static struct file *take(struct unlinked_mapped *unlinked_mapped, uint64_t ino)
{
	struct file *file = unlinked_mapped_find(unlinked_mapped, ino);

	g_hash_table_remove(unlinked_mapped->files, &ino);
	retire_memory(file);
	return file;
}

/* No process maps @ino any more. @file has left the table; NULL: it was never there. */
static void end(const struct storage *storage, uint64_t ino, struct file *file)
{
	if (file)
		file_release(file);
	store_delete_inode_later(storage->store, ino, pins_check_pending(storage, ino));
	store_flush(storage->store); /* if this fails, the memory stays pending until a transaction succeeds */
}

void storage_idle(const struct storage *storage, uint64_t ino)
{
	struct unlinked_mapped *unlinked_mapped = storage->unlinked_mapped;
	struct file *file = NULL;
	struct entry *entry;
	bool used;

	unlinked_mapped_lock(unlinked_mapped);
	entry = find(unlinked_mapped, ino);
	used = entry && entry->users > 0;
	if (used)
		entry->idle = true;
	else if (entry)
		file = take(unlinked_mapped, ino);
	unlinked_mapped_unlock(unlinked_mapped);
	if (!used)
		end(storage, ino, file);
}

void unlinked_mapped_put(const struct storage *storage, uint64_t ino)
{
	struct unlinked_mapped *unlinked_mapped = storage->unlinked_mapped;
	struct file *file = NULL;
	struct entry *entry;

	unlinked_mapped_lock(unlinked_mapped);
	entry = find(unlinked_mapped, ino);
	if (--entry->users == 0 && entry->idle)
		file = take(unlinked_mapped, ino);
	unlinked_mapped_unlock(unlinked_mapped);
	if (file)
		end(storage, ino, file);
}

/* Reduces what a removed file has charged to what the pool still has of it. */
static void settle_retired(const struct storage *storage, uint64_t ino)
{
	quota_idle(storage->quotas, ino, pool_remaining_bytes(storage->pool, ino));
}

/* May be called with the table's lock held: each commit can delete records. */
void storage_deleted(uint64_t ino, void *storage)
{
	const struct storage *all = storage;

	pool_idle(all->pool, ino);
	settle_retired(all, ino);
}

/* The file's lock may be held for long. keep_while_mapped() has retired the account. */
static void unpin_used(const struct storage *storage, struct file *file, const struct unpinned *memory)
{
	file_unpinned(file, memory);
	quota_idle(storage->quotas, memory->ino, file_charged(file));
	unlinked_mapped_put(storage, memory->ino);
}

void storage_unpinned(const struct storage *storage, const struct unpinned *memory)
{
	struct pool *pool = storage->pool;
	struct file *file;

	unlinked_mapped_lock(storage->unlinked_mapped);
	file = use(storage->unlinked_mapped, memory->ino);
	if (!file) {
		pool_forgo(pool, pool_regions_of(pool, memory->order), memory->promised);
		settle_retired(storage, memory->ino);
	}
	unlinked_mapped_unlock(storage->unlinked_mapped);
	if (file)
		unpin_used(storage, file, memory);
}

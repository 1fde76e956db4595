// SPDX-License-Identifier: GPL-2.0-or-later
/* How the namespace writes the record: transactions, and requests that the kernel sends again after a takeover. */
#include "namespace/namespace_record.h"

#include <string.h>

#include "base/current_request.h"

/* How many inodes' times one transaction of flush_times() writes. */
#define FLUSH_ROWS 2000

bool record_is_done(const struct namespace *ns, uint64_t *ino)
{
	const struct current_request *request = current_request();

	if (!request->resent || !ns->done)
		return false;

	const guint64 *found = g_hash_table_lookup(ns->done, &request->unique);

	if (found)
		*ino = *found;
	return found;
}

int record_commit(const struct namespace *ns, uint64_t ino)
{
	const struct current_request *request = current_request();

	if (request->unique) {
		const struct store_done done = { .unique = request->unique, .ino = ino };

		store_put_done(ns->storage->store, request->slot, &done);
	}
	return store_commit(ns->storage->store);
}

void record_touched(const struct namespace *ns, const struct inode *inode, struct timespec now, bool modified)
{
	struct store_inode row = inode_row(inode);

	row.ctime = now;
	if (modified)
		row.mtime = now;
	store_put_attributes(ns->storage->store, &row);
}

int record_text(const struct namespace *ns, struct inode *inode, const char *name, const char *text)
{
	return record_xattr(ns, inode, name, text, text ? strlen(text) : 0);
}

int record_xattr(const struct namespace *ns, struct inode *inode, const char *name, const void *value, size_t size)
{
	struct timespec now = inode_now();
	int err;

	record_begin(ns);
	if (value)
		store_put_xattr(ns->storage->store, inode->ino, name, value, size);
	else
		store_delete_xattr(ns->storage->store, inode->ino, name);
	record_touched(ns, inode, now, false);
	err = record_commit(ns, 0);
	if (!err)
		inode->ctime = now;
	return err;
}

void record_inode(const struct namespace *ns, const struct inode *inode)
{
	struct store_inode row = inode_row(inode);

	store_reserve_inos(ns->storage->store, inode->ino + 1);
	store_put_inode(ns->storage->store, &row);
}

/*
 * Writes the times that are not on record yet, at most FLUSH_ROWS per transaction, so that no transaction fills
 * SQLite's log.
 */
static void flush_times(struct namespace *ns)
{
	guint count, end;
	g_autofree gpointer *inos = g_hash_table_get_keys_as_array(ns->stale, &count);
	int err = 0;

	for (guint at = 0; at < count && !err; at = end) {
		end = MIN(count, at + FLUSH_ROWS);
		record_begin(ns);
		for (guint i = at; i < end; i++) {
			struct store_inode row = inode_row(inode_find(ns, *(const uint64_t *)inos[i]));

			store_put_attributes(ns->storage->store, &row);
		}
		err = store_commit(ns->storage->store);
		for (guint i = at; i < end && !err; i++)
			g_hash_table_remove(ns->stale, inos[i]);
	}
}

void record_forget_requests(struct namespace *ns)
{
	record_begin(ns);
	store_delete_old_done(ns->storage->store);
	ns->remembers = store_commit(ns->storage->store) < 0;
}

void record_flush(struct namespace *ns)
{
	g_mutex_lock(&ns->lock);
	flush_times(ns);
	if (ns->remembers)
		record_forget_requests(ns);
	g_mutex_unlock(&ns->lock);
	store_flush(ns->storage->store);
}

/* Was @wanted made by a request whose answer the kernel has yet to receive or to process? */
static bool was_just_made(const struct namespace *ns, uint64_t wanted)
{
	GHashTableIter iter;
	gpointer ino;

	if (ns->recent && g_hash_table_contains(ns->recent, &wanted))
		return true;
	if (!ns->done)
		return false;
	g_hash_table_iter_init(&iter, ns->done);
	while (g_hash_table_iter_next(&iter, NULL, &ino)) {
		if (*(const guint64 *)ino == wanted)
			return true;
	}
	return false;
}

void record_forgotten(const struct namespace *ns, uint64_t ino)
{
	if (ns->recent)
		g_hash_table_remove(ns->recent, &ino);
}

void record_disinherit(const struct namespace *ns, struct inode *inode)
{
	if (inode->inherited && !was_just_made(ns, inode->ino) && !ns->kernel_knows(inode->ino, ns->kernel_data))
		inode->inherited = false;
}

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Loads the namespace from the record at the start, then deletes the removed files that no process has open. After a
 * takeover that is done again when CLIENT_PATIENCE has passed.
 */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "file/pins.h"
#include "namespace/namespace_alloc.h"
#include "namespace/namespace_lost.h"
#include "namespace/namespace_numa.h"
#include "namespace/namespace_page_size.h"
#include "namespace/namespace_quota.h"
#include "namespace/namespace_record.h"
#include "pool/pool.h"

/*
 * In microseconds. After a takeover a client may have the answer to a request but not have run yet, so that the
 * kernel does not know the inode in the answer. Only when this time has passed does the daemon conclude that nobody
 * uses the inode.
 */
#define CLIENT_PATIENCE (10 * G_USEC_PER_SEC)

struct load {
	struct namespace *ns;
	bool kept;     /* the memory still has the contents of the files */
	bool takeover; /* the kernel knows inodes from an earlier daemon */
	struct quota_record *quotas;
};

static bool load_error(const struct load *load, uint64_t ino, const char *what, GError **error)
{
	g_autofree char *inode = inode_describe(load->ns, ino);

	g_set_error(error, STORE_ERROR, STORE_ERROR_DAMAGED,
	            "%s: %s: run dmemfsctl fsck; if it finds nothing else, restore a copy of the record", inode, what);
	return false;
}

static bool load_inode(const struct store_inode *row, void *data, GError **error)
{
	const struct load *load = data;
	struct inode *inode = inode_restore(load->ns, row);

	(void)error;
	inode->inherited = load->takeover;
	if (row->ino == STORE_ROOT_INO) {
		inode->quota = quotas_root(load->ns->storage->quotas);
		inode->nlink = 2; /* itself and its "." */
		inode->parent = STORE_ROOT_INO;
	}
	inode_add(load->ns, inode);
	return true;
}

static bool load_entry(uint64_t parent, uint64_t cookie, const char *name, uint64_t ino, void *data, GError **error)
{
	const struct load *load = data;
	struct inode *dir = inode_find(load->ns, parent), *inode = inode_find(load->ns, ino);

	(void)error;
	directory_restore(dir->entries, cookie, name, ino);
	load->ns->held += NAME_FOOTPRINT(name);
	inode_add_link(load->ns, inode);
	inode->parent = parent;
	inode->cookie = cookie;
	if (S_ISDIR(inode->mode)) {
		inode->nlink++; /* its own "." */
		dir->nlink++;   /* its ".." */
	}
	return true;
}

static bool load_xattr(uint64_t ino, const char *name, const void *value, size_t size, void *data, GError **error)
{
	const struct load *load = data;
	struct inode *inode = inode_find(load->ns, ino);

	if (quota_record_is(name))
		return quota_record_add(load->quotas, ino, name, value, size) ||
		       load_error(load, ino, "the quota on record is not valid", error);
	if (strcmp(name, FILE_RECORD_POLICY) == 0)
		return numa_restore(inode, value, size) ||
		       load_error(load, ino, "the NUMA policy on record is not valid", error);
	if (strcmp(name, RECORD_PAGE_SIZE) == 0)
		return page_size_restore(inode, value, size) ||
		       load_error(load, ino, "the allocation unit on record is not valid", error);
	if (strcmp(name, FILE_RECORD_PAGES) == 0)
		return pages_restore(inode, value, size) ||
		       load_error(load, ino, "the compound pages on record are not valid", error);
	if (strcmp(name, STORE_LOST_CONTENTS) == 0)
		return lost_restore(inode, value, size) ||
		       load_error(load, ino, "what happens to lost contents is not valid on record", error);
	if (alloc_is_record(name))
		return alloc_restore(inode, name, value, size) ||
		       load_error(load, ino, "the kind of allocation on record is not valid", error);
	if (!inode->xattrs)
		inode->xattrs = xattrs_new();

	size_t before = xattrs_footprint(inode->xattrs);

	if (xattrs_set(inode->xattrs, name, size ? value : "", size, 0) < 0)
		return load_error(load, ino, "the record has more extended attributes than an inode can have", error);
	inode_count_xattrs(load->ns, inode, before);
	return true;
}

/*
 * Restores @run of a removed file without the parts that a device holds. An earlier daemon removed the file's object, so that nobody
 * can reach the file any more, but not its record.
 */
static int restore_removed(const struct load *load, const struct inode *inode, struct extent_map_run run)
{
	g_autoptr(GArray) rest = g_array_new(FALSE, FALSE, sizeof(struct extent_map_run));
	int err = pins_leave_out(load->ns->storage, inode->ino, run, rest) ? 0 : -EBUSY;

	for (guint i = 0; i < rest->len && !err; i++)
		err = file_restore_extent(inode->file, g_array_index(rest, struct extent_map_run, i));
	return err;
}

static bool load_extent(uint64_t ino, struct extent_map_run run, void *data, GError **error)
{
	const struct load *load = data;
	const struct inode *inode = inode_find(load->ns, ino);
	int err = load->kept ? file_restore_extent(inode->file, run) : 0;
	g_autofree char *name = NULL;

	if (err == -EBUSY && inode->nlink == 0)
		err = restore_removed(load, inode, run);

	if (!err)
		return true;
	name = inode_describe(load->ns, ino);
	g_set_error(
		error, STORE_ERROR, STORE_ERROR_IO,
		"%s: cannot use its memory at 0x%" G_GINT64_MODIFIER "x+0x%" G_GINT64_MODIFIER "x: %s", name,
		run.extent.start, run.extent.length,
		err == -EINVAL
			? "it is not whole compound pages of its [region]: set pages= of the region to what it was when "
			  "the file got the memory, which is none or 2M for a file of dmemfs 0.1"
			: "no [region] of the configuration contains it, a process still maps it as part of another "
			  "file, or a device holds it: restore the region (with start=auto, page-size=2M and pages=none "
			  "leave out the least of what is reserved), or end that process");
	return false;
}

static bool load_backing(uint64_t ino, int id, void *data, GError **error)
{
	const struct load *load = data;

	(void)error;
	if (load->takeover)
		file_inherit(inode_find(load->ns, ino)->file, id);
	return true;
}

static bool load_done(const struct store_done *done, void *data, GError **error)
{
	const struct load *load = data;

	(void)error;
	if (!load->takeover)
		return true;
	if (!load->ns->done) {
		load->ns->done = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
		load->ns->recent = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
	}
	g_hash_table_add(load->ns->recent, g_memdup2(&done->ino, sizeof(done->ino)));
	g_hash_table_insert(load->ns->done, g_memdup2(&done->unique, sizeof(done->unique)),
	                    g_memdup2(&done->ino, sizeof(done->ino)));
	return true;
}

/*
 * Files whose memory is in a region that has other compound pages than it had before get the pages of the region, also on
 * record. So do files without memory for whose pages there is no region, if @may_change.
 */
static int settle_pages(struct namespace *ns, bool may_change)
{
	GHashTableIter iter;
	gpointer value;
	unsigned changed = 0;

	record_begin(ns);
	g_hash_table_iter_init(&iter, ns->inodes);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const struct inode *inode = value;

		if (!S_ISREG(inode->mode) || !file_restore_pages(inode->file, may_change))
			continue;
		store_put_text(ns->storage->store, inode->ino, FILE_RECORD_PAGES,
		               page_order_name(file_order(inode->file)));
		changed++;
	}
	if (changed)
		log_warning(
			"%u files had other compound pages than their regions have now (pages= of [region]): they keep "
			"their contents, and have the pages of their regions from now on",
			changed);
	return store_commit(ns->storage->store);
}

/*
 * The contents are lost: files keep their size and get other, zeroed memory. Files for which there is none become
 * empty.
 */
static int renew_files(struct namespace *ns)
{
	GHashTableIter iter;
	gpointer value;

	record_begin(ns);
	g_hash_table_iter_init(&iter, ns->inodes);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const struct inode *inode = value;

		if (!S_ISREG(inode->mode))
			continue;
		if (!file_renew(inode->file)) {
			g_autofree char *name = inode_describe(ns, inode->ino);

			log_warning("%s is empty now: there is no memory for its former size: make room, then set its "
			            "size again",
			            name);
		}
	}
	return store_commit(ns->storage->store);
}

bool namespace_load(struct namespace *ns, bool kept, bool takeover, GError **error)
{
	static const struct store_visitor visitor = {
		.inode = load_inode,
		.entry = load_entry,
		.xattr = load_xattr,
		.extent = load_extent,
		.backing = load_backing,
		.done = load_done,
	};
	struct store *store = ns->storage->store;
	g_autoptr(quota_record_t) quotas = quota_record_new();
	struct load load = { ns, kept, takeover, quotas };

	ns->next_ino = store_get_next_ino(store);
	if (!store_load(store, &visitor, &load, error))
		return false;

	int err = settle_pages(ns, !takeover);

	if (!err && !kept)
		err = renew_files(ns);
	quota_count_all(ns, quotas);
	if (!err && !takeover)
		err = store_forget_connection(store);
	if (err)
		g_set_error(error, STORE_ERROR, STORE_ERROR_IO, "cannot write the metadata: %s", g_strerror(-err));
	return !err;
}

static const char *attach_reason(int err)
{
	return err == -ETXTBSY
	               ? "a process still maps it, and its region has other compound pages now: end that process, or "
	                 "restore pages= of the [region]"
	               : g_strerror(-err);
}

/* Requests may wait for the memory of this removed file, and for its part of the quota. */
static void expect_memory(struct namespace *ns, const struct inode *inode)
{
	if (!S_ISREG(inode->mode))
		return;
	pool_expect(ns->storage->pool);
	quota_expect(ns->storage->quotas, file_account(inode->file));
}

bool namespace_attach(struct namespace *ns, GError **error)
{
	GHashTableIter iter;
	gpointer value;

	g_hash_table_iter_init(&iter, ns->inodes);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const struct inode *inode = value;
		int err = S_ISREG(inode->mode) ? file_attach(inode->file) : 0;

		/*
		 * A removed file needs no object. An earlier daemon dropped it, and died before it deleted the file's
		 * record; or it will be dropped by namespace_settle().
		 */
		if ((err == -ESTALE || err == -ETXTBSY) && inode->nlink == 0)
			err = 0;
		if (err) {
			g_autofree char *name = inode_describe(ns, inode->ino);

			g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(-err),
			            "%s: its memory cannot be made ready: %s", name, attach_reason(err));
			return false;
		}
		/* A request that waited for it may come again; it then goes on waiting. */
		if (inode->nlink == 0)
			expect_memory(ns, inode);
	}
	return true;
}

GHashTable *namespace_backing_ids(struct namespace *ns)
{
	GHashTable *ids = g_hash_table_new(NULL, NULL);
	GHashTableIter iter;
	gpointer value;

	g_mutex_lock(&ns->lock);
	g_hash_table_iter_init(&iter, ns->inodes);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const struct inode *inode = value;
		int id = S_ISREG(inode->mode) ? file_backing_id(inode->file) : 0;

		if (id > 0)
			g_hash_table_add(ids, GINT_TO_POINTER(id));
	}
	g_mutex_unlock(&ns->lock);
	return ids;
}

bool namespace_has_file(struct namespace *ns, uint64_t ino)
{
	g_mutex_lock(&ns->lock);
	const struct inode *inode = inode_find(ns, ino);
	bool found = inode && S_ISREG(inode->mode);

	g_mutex_unlock(&ns->lock);
	return found;
}

void namespace_skip_inos(struct namespace *ns, uint64_t last)
{
	g_mutex_lock(&ns->lock);
	ns->next_ino = MAX(ns->next_ino, last + 1);
	g_mutex_unlock(&ns->lock);
}

static GArray *find_orphans(struct namespace *ns)
{
	GArray *orphans = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	GHashTableIter iter;
	gpointer value;

	g_mutex_lock(&ns->lock);
	g_hash_table_iter_init(&iter, ns->inodes);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const struct inode *inode = value;

		if (inode->nlink == 0)
			g_array_append_val(orphans, inode->ino);
	}
	g_mutex_unlock(&ns->lock);
	return orphans;
}

/* True: the inode had neither a name nor a user, and is deleted. */
static bool destroy_orphan(struct namespace *ns, uint64_t ino)
{
	struct inode *dead = NULL;
	bool gone;

	g_mutex_lock(&ns->lock);
	struct inode *inode = inode_find(ns, ino);

	if (inode && inode->nlink == 0) {
		/* All of them together may take longer than requests wait for one. */
		expect_memory(ns, inode);
		record_disinherit(ns, inode);
		dead = inode_unused(ns, inode);
	}
	gone = dead != NULL;
	g_mutex_unlock(&ns->lock);
	inode_destroy(ns, dead);
	return gone;
}

/* Takes the lock anew for each orphan, because the daemon asks the kernel about each: requests can run in between. */
void namespace_settle(struct namespace *ns)
{
	g_autoptr(GArray) orphans = find_orphans(ns);
	unsigned gone = 0;

	for (guint i = 0; i < orphans->len; i++)
		gone += destroy_orphan(ns, g_array_index(orphans, uint64_t, i));
	if (gone)
		log_info("deleted %u removed files of an earlier daemon that no process has open", gone);
}

void namespace_replayed(struct namespace *ns)
{
	g_mutex_lock(&ns->lock);
	ns->recent_until = g_get_monotonic_time() + CLIENT_PATIENCE;
	g_clear_pointer(&ns->done, g_hash_table_unref);
	record_forget_requests(ns);
	g_mutex_unlock(&ns->lock);
	namespace_settle(ns);
}

static bool recent_is_over(struct namespace *ns)
{
	bool over;

	g_mutex_lock(&ns->lock);
	over = ns->recent && !ns->done && g_get_monotonic_time() > ns->recent_until;
	if (over)
		g_clear_pointer(&ns->recent, g_hash_table_unref);
	g_mutex_unlock(&ns->lock);
	return over;
}

void namespace_flush(struct namespace *ns)
{
	record_flush(ns);
	if (recent_is_over(ns))
		namespace_settle(ns);
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* Memory errors: found by the backend, put on record, taken out of the pool. */
#include "recovery/poison.h"

#include <errno.h>
#include <inttypes.h>

#include "base/crash_point.h"
#include "base/log.h"

/* The backend knows the bad pages that it found itself, until the machine restarts. The record also has older ones. */
static void tell_backend(const struct storage *storage, const GArray *runs)
{
	for (guint i = 0; storage->ops->add_poison && i < runs->len; i++) {
		const struct extent run = g_array_index(runs, struct extent, i);
		int err = storage->ops->add_poison(storage->backend, run);

		if (err)
			log_error("memory at 0x%" PRIx64 " is bad, but the backend cannot keep processes from "
			          "touching it: %s",
			          run.start, g_strerror(-err));
	}
}

bool poison_load(const struct storage *storage, GError **error)
{
	g_autoptr(GArray) recorded = extents_new();
	g_autoptr(GArray) known = extents_new();
	int err = store_list_poison(storage->store, recorded);

	if (err) {
		g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(-err),
		            "cannot read from the record which memory is bad: %s", g_strerror(-err));
		return false;
	}
	for (guint i = 0; i < recorded->len; i++)
		pool_poison(storage->pool, g_array_index(recorded, struct extent, i), known);
	tell_backend(storage, known);
	return true;
}

static bool has_page(const GArray *runs, uint64_t page)
{
	for (guint i = 0; i < runs->len; i++) {
		const struct extent *run = &g_array_index(runs, struct extent, i);

		if (page >= run->start && page - run->start < run->length)
			return true;
	}
	return false;
}

/* Splits runs into pages, because errors are few and are found one by one. */
static GArray *list_unrecorded(const struct storage *storage, const GArray *recorded)
{
	g_autoptr(GArray) found = extents_new();
	GArray *fresh = extents_new();

	if (!storage->ops->list_poison || storage->ops->list_poison(storage->backend, found) < 0)
		return fresh;
	for (guint i = 0; i < found->len; i++) {
		const struct extent *run = &g_array_index(found, struct extent, i);

		for (uint64_t at = run->start; at < run->start + run->length; at += DMEMFS_PAGE_4K) {
			struct extent page = { at, DMEMFS_PAGE_4K };

			if (!has_page(recorded, at))
				g_array_append_val(fresh, page);
		}
	}
	return fresh;
}

static void say(const struct storage *storage, uint64_t address)
{
	static struct log_limit limit = LOG_LIMIT_INIT;
	struct store_place place;
	int err = store_find_memory(storage->store, address, &place);

	if (err && err != -ENOENT) {
		log_limited(&limit, LOG_LEVEL_WARNING,
		            "memory error at 0x%" PRIx64 ": 4 KiB are lost; cannot read from the record which "
		            "file has them: %s",
		            address, g_strerror(-err));
		return;
	}
	if (err) {
		log_limited(&limit, LOG_LEVEL_WARNING,
		            "memory error at 0x%" PRIx64 ": 4 KiB that no file has: no file gets them "
		            "any more",
		            address);
		return;
	}
	log_limited(
		&limit, LOG_LEVEL_WARNING,
		"memory error at 0x%" PRIx64 ": 4 KiB of inode %" PRIu64 " (%s) at offset %" PRIu64
		" are lost; a process that touches them gets SIGBUS: replace the file, or punch a hole there if the "
		"file has demand allocation",
		address, place.ino, place.path ? place.path : "removed", place.offset);
	g_free(place.path);
}

/*
 * Tells the pool before the record, because the pool must not give away a page that is on record as bad. If the daemon
 * dies in between, the next one finds the page in the backend again.
 */
void poison_update(const struct storage *storage)
{
	g_autoptr(GArray) recorded = extents_new();
	g_autoptr(GArray) fresh = NULL;
	g_autoptr(GArray) added = extents_new();
	int err = store_list_poison(storage->store, recorded);

	if (err) {
		log_error("cannot read from the record which memory is bad: %s: new memory errors are not handled",
		          g_strerror(-err));
		return;
	}
	fresh = list_unrecorded(storage, recorded);
	if (fresh->len == 0)
		return;
	for (guint i = 0; i < fresh->len; i++)
		pool_poison(storage->pool, g_array_index(fresh, struct extent, i), added);
	CRASH_POINT("poison-found");
	store_begin(storage->store);
	for (guint i = 0; i < fresh->len; i++)
		store_put_poison(storage->store, g_array_index(fresh, struct extent, i));
	/*
	 * A commit that fails logs why. The next start finds the pages in the backend again, unless the machine was
	 * restarted.
	 */
	if (store_commit(storage->store) < 0)
		return;
	CRASH_POINT("poison-recorded");
	for (guint i = 0; i < fresh->len; i++)
		say(storage, g_array_index(fresh, struct extent, i).start);
}

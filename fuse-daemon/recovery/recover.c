// SPDX-License-Identifier: GPL-2.0-or-later
/* The start: makes namespace, pool and backend hold what the record says. */
#include "recovery/recover.h"

#include <inttypes.h>
#include <string.h>

#include "base/crash_point.h"
#include "base/log.h"
#include "file/pins.h"
#include "pool/pool_lent.h"
#include "pool/pool_clean.h"
#include "recovery/kexec.h"
#include "recovery/poison.h"

struct recovery {
	struct namespace *ns;
	struct pool *pool;
	bool kept; /* the memory still has the contents of the files */
};

/* When the contents are lost, no object in the backend is wanted. */
static bool is_known(uint64_t id, void *data)
{
	const struct recovery *recovery = data;

	return recovery->kept && namespace_has_file(recovery->ns, id);
}

static void left_over(uint64_t id, struct extent run, void *data)
{
	const struct recovery *recovery = data;

	pool_adopt(recovery->pool, id, run);
}

static bool failed(GError **error, const char *what, int err)
{
	g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(-err), "backend: %s: %s", what, g_strerror(-err));
	return false;
}

/*
 * Puts the regions on record, for store_check(). @and_former: also keeps the regions of an earlier configuration on
 * record, because files may still have memory there. So the record is valid at every instruction.
 */
static bool record_regions(const struct storage *storage, bool and_former, GError **error)
{
	g_autoptr(GBytes) former = NULL;
	g_autoptr(GArray) regions = pool_get_regions(storage->pool);
	g_autoptr(GArray) extents = g_array_new(FALSE, FALSE, sizeof(struct extent));
	gconstpointer old;
	gsize size = 0;
	int err;

	if (!store_get_value(storage->store, "regions", &former, error))
		return false;
	old = former ? g_bytes_get_data(former, &size) : NULL;
	for (guint i = 0; i < regions->len; i++)
		g_array_append_val(extents, g_array_index(regions, struct pool_region, i).extent);
	if (old && and_former)
		g_array_append_vals(extents, old, (guint)(size / sizeof(struct extent)));
	extents_merge(extents);
	if (old && size == extents->len * sizeof(struct extent) && memcmp(old, extents->data, size) == 0)
		return true;
	store_begin(storage->store);
	store_put_value(storage->store, "regions", extents->data, extents->len * sizeof(struct extent));
	err = store_commit(storage->store);
	return err ? failed(error, "cannot record the regions", err) : true;
}

/*
 * Does the memory have the contents that the record describes? *@why_not: NULL when it does, else static text. @held:
 * the mark in the backend.
 */
static bool are_kept(const struct storage *storage, const struct store_mark *held, const char **why_not, GError **error)
{
	static const struct store_mark nobody;
	const struct store_mark own = store_get_mark(storage->store);
	g_autoptr(GArray) regions = pool_get_regions(storage->pool);

	if (memcmp(held, &nobody, sizeof(nobody)) != 0) {
		*why_not = memcmp(held, &own, sizeof(own)) == 0 ? NULL : "others have used the memory since";
		return true;
	}
	if (!kexec_was_prepared(storage->store, regions, why_not, error))
		return false;
	if (!*why_not)
		log_info("the contents were kept through a kexec");
	return true;
}

/*
 * Memory that is on record as clean may hold anything now. This comes before set_mark(): with the record's mark in the
 * memory, the next start would believe it to be clean.
 */
static int forget_clean(struct store *store)
{
	store_begin(store);
	store_forget_clean(store);
	return store_commit(store);
}

/* Tells the pool which free memory is clean, and takes the rest (not in a region, or still mapped) off the record. */
static bool load_clean(const struct storage *storage, GError **error)
{
	g_autoptr(GArray) recorded = g_array_new(FALSE, FALSE, sizeof(struct extent));
	g_autoptr(GArray) believed = g_array_new(FALSE, FALSE, sizeof(struct extent));
	int err = store_list_clean(storage->store, recorded);

	for (guint i = 0; i < recorded->len; i++)
		pool_believe(storage->pool, g_array_index(recorded, struct extent, i), believed);
	extents_merge(believed);
	if (!err && recorded->len > 0 &&
	    (recorded->len != believed->len ||
	     memcmp(recorded->data, believed->data, recorded->len * sizeof(struct extent)) != 0)) {
		store_begin(storage->store);
		store_forget_clean(storage->store);
		for (guint i = 0; i < believed->len; i++)
			store_put_clean(storage->store, g_array_index(believed, struct extent, i));
		err = store_commit(storage->store);
	}
	return err ? failed(error, "cannot record which memory is clean", err) : true;
}

/* @remove: what happens to files for which neither they nor their directories said it. */
static bool declare_lost(const struct storage *storage, bool remove, const char *why, GError **error)
{
	unsigned files, removed;
	int err = store_count_files(storage->store, remove, &files, &removed);

	if (!err)
		err = forget_clean(storage->store);

	if (!err && files > removed)
		log_warning("the contents are lost: %s: %u files keep their names and sizes, and read zero", why,
		            files - removed);
	if (!err && removed > 0) {
		log_warning("the contents are lost: %s: %u files are removed", why, removed);
		err = store_remove_files(storage->store, remove);
		CRASH_POINT("lost-removed");
	}
	return err ? failed(error, "cannot declare the contents lost", err) : true;
}

/*
 * What is lent is no free memory. @kept: files still have what the record says, and the module lends nothing of that. So an overlap means
 * that one of the two is of another time.
 */
static bool adopt_lent(const struct storage *storage, bool kept, GError **error)
{
	g_autoptr(GArray) lent = extents_new();

	if (storage->ops->list_lent)
		storage->ops->list_lent(storage->backend, lent);
	for (guint i = 0; i < lent->len; i++) {
		const struct extent unit = g_array_index(lent, struct extent, i);
		unsigned runs = 0;
		int err = kept ? store_count_odd_runs(storage->store, unit, INT64_MAX, &runs) : 0;

		if (err)
			return failed(error, "cannot read which memory files have", err);
		if (runs || !pool_adopt_lent(storage->pool, unit)) {
			g_set_error(
				error, G_FILE_ERROR, G_FILE_ERROR_FAILED,
				"memory at 0x%" PRIx64 "+0x%" PRIx64
				" is lent to the host, but files on record have some of it: the record is not the one "
				"that belongs to this memory: restore that one, or start with an empty state-dir",
				unit.start, unit.length);
			return false;
		}
	}
	return true;
}

static bool load_pins(const struct storage *storage, GError **error)
{
	int err = pins_load(storage);

	return err ? failed(error, "cannot read which file had the memory that devices hold", err) : true;
}

static bool record_pins(struct namespace *ns, const struct storage *storage, GError **error)
{
	int err = pins_record(storage);

	if (!err)
		err = namespace_count_pinned(ns);
	return err ? failed(error, "cannot record which memory devices hold", err) : true;
}

bool recover(struct namespace *ns, const struct storage *storage, bool takeover, bool remove_lost, GError **error)
{
	const struct store_mark own = store_get_mark(storage->store);
	struct recovery recovery = { .ns = ns, .pool = storage->pool };
	struct store_mark held;
	const char *why_not;
	uint64_t highest = 0;
	int err = storage->ops->get_mark(storage->backend, &held);

	if (err)
		return failed(error, "cannot read the owner's mark in the memory", err);
	if (!are_kept(storage, &held, &why_not, error))
		return false;
	recovery.kept = !why_not;
	CRASH_POINT("loading");
	if (!recovery.kept && !declare_lost(storage, remove_lost, why_not, error))
		return false;
	if (!record_regions(storage, true, error) || !poison_load(storage, error))
		return false;
	poison_update(storage);
	if (!adopt_lent(storage, recovery.kept, error))
		return false;
	/* Before files get other memory: what a process or a device still holds of unwanted objects is not free. */
	if (!recovery.kept)
		highest = storage->ops->give_up_unknown(storage->backend, is_known, left_over, &recovery);
	if (!load_pins(storage, error) || !namespace_load(ns, recovery.kept, takeover, error))
		return false;
	if (recovery.kept)
		highest = storage->ops->give_up_unknown(storage->backend, is_known, left_over, &recovery);
	namespace_skip_inos(ns, highest);
	CRASH_POINT("unknown-given-up");
	if (!namespace_attach(ns, error))
		return false;
	CRASH_POINT("attached");
	/* Objects were given up, and memory that is not on record was taken from files. */
	if (!load_pins(storage, error) || !record_pins(ns, storage, error))
		return false;
	CRASH_POINT("pins-recorded");
	if (!load_clean(storage, error) || !record_regions(storage, false, error))
		return false;
	/* Last, so that after a crash before this the next start finds the contents lost, too. */
	err = storage->ops->set_mark(storage->backend, &own);
	if (err)
		return failed(error, "cannot mark the memory", err);
	/* From here on the contents change, so a preparation for kexec is void. */
	err = kexec_forget(storage->store, storage->ops->name);
	return err ? failed(error, "cannot delete the kexec preparation from the record", err) : true;
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* Memory that a device still holds after it left its file. */
#include "file/pins.h"

#include "base/crash_point.h"
#include "base/log.h"
#include "base/page_order.h"

/* The parts of @run that a device holds, by address. If the backend cannot tell, all of it: no other file may get it. */
static GArray *find_pinned(const struct storage *storage, struct extent run)
{
	static struct log_limit limit = LOG_LIMIT_INIT;
	GArray *pinned = extents_new();
	int err;

	if (!storage->ops->list_pinned || pool_order_at(storage->pool, run.start) == PAGE_ORDER_NONE)
		return pinned;
	err = storage->ops->list_pinned(storage->backend, run, pinned);
	if (err) {
		log_limited(&limit, LOG_LEVEL_ERROR,
		            "memory at 0x%" G_GINT64_MODIFIER
		            "x: the module cannot tell whether a device holds it: %s: no file gets it for now",
		            run.start, g_strerror(-err));
		g_array_set_size(pinned, 0);
		g_array_append_val(pinned, run);
	}
	return pinned;
}

static void say(const struct pool_user *last, const struct extent *run)
{
	static struct log_limit limit = LOG_LIMIT_INIT;

	log_limited(
		&limit, LOG_LEVEL_WARNING,
		"inode %" G_GUINT64_FORMAT "%s%s: a device still holds %" G_GUINT64_FORMAT
		" MiB that the file has given up, at 0x%" G_GINT64_MODIFIER
		"x: no file gets them until the device lets go (process %d opened the file last): see dmemfsctl status",
		last->ino, *last->name ? ", " : "", last->name, run->length >> 20, run->start, last->pid);
}

/* The first of @sorted (GArray of struct extent) from *@from on that ends after @at; advances *@from to it. */
static const struct extent *next_after(const GArray *sorted, guint *from, uint64_t at)
{
	for (; *from < sorted->len; ++*from) {
		const struct extent *extent = &g_array_index(sorted, struct extent, *from);

		if (extent->start + extent->length > at)
			return extent;
	}
	return NULL;
}

/* Appends the parts of @run that are in none of @sorted to @out. *@from as in next_after(). */
static void append_missing(struct extent run, const GArray *sorted, guint *from, GArray *out)
{
	uint64_t at = run.start, end = run.start + run.length;

	while (at < end) {
		const struct extent *next = next_after(sorted, from, at);
		uint64_t to = next ? CLAMP(next->start, at, end) : end;
		struct extent part = { at, to - at };

		if (part.length)
			g_array_append_val(out, part);
		at = next ? MIN(next->start + next->length, end) : end;
	}
}

void pins_check(const struct storage *storage, const struct pool_user *last, GArray *extents)
{
	g_autoptr(GArray) all = g_array_copy(extents);

	g_array_set_size(extents, 0);
	for (guint i = 0; i < all->len; i++) {
		const struct extent run = g_array_index(all, struct extent, i);
		g_autoptr(GArray) pinned = find_pinned(storage, run);
		guint from = 0;

		for (guint k = 0; k < pinned->len; k++) {
			pool_pin_used(storage->pool, g_array_index(pinned, struct extent, k), last);
			say(last, &g_array_index(pinned, struct extent, k));
		}
		append_missing(run, pinned, &from, extents);
	}
}

/* What is to be on record of the removed file @last, of which devices hold @extents besides what they held before. Takes @extents. */
static struct store_gone *gone_new(const struct storage *storage, const struct pool_user *last, GArray *extents)
{
	struct store_gone *gone = g_new(struct store_gone, 1);

	*gone = (struct store_gone){
		.extents = extents,
		.last = {
			.since = g_get_real_time(),
			.ino = last->ino,
			.pid = last->pid,
			.name = g_strdup(last->name),
			.trees = quota_retired_path(storage->quotas, last->ino),
		},
	};
	return gone;
}

struct store_gone *pins_check_pending(const struct storage *storage, uint64_t ino)
{
	g_autoptr(GArray) runs = extents_new();
	g_autoptr(GArray) all = extents_new();
	struct pool_user last;

	if (!storage->ops->list_pinned)
		return NULL;
	pool_list_pending(storage->pool, ino, runs, &last);
	for (guint i = 0; i < runs->len; i++) {
		g_autoptr(GArray) pinned = find_pinned(storage, g_array_index(runs, struct extent, i));

		if (pinned->len)
			g_array_append_vals(all, pinned->data, pinned->len);
	}
	g_array_sort(all, extents_compare);
	pool_pin_pending(storage->pool, ino, all);
	for (guint i = 0; i < all->len; i++)
		say(&last, &g_array_index(all, struct extent, i));
	CRASH_POINT("pins-checked");
	return pool_pinned_bytes(storage->pool, ino) ? gone_new(storage, &last, g_steal_pointer(&all)) : NULL;
}

/* All memory that a device holds and that no object has, by address. */
static GArray *find_all_pinned(const struct storage *storage)
{
	g_autoptr(GArray) regions = pool_get_regions(storage->pool);
	GArray *all = extents_new();

	for (guint i = 0; i < regions->len; i++) {
		g_autoptr(GArray) pinned = find_pinned(storage, g_array_index(regions, struct pool_region, i).extent);

		if (pinned->len)
			g_array_append_vals(all, pinned->data, pinned->len);
	}
	g_array_sort(all, extents_compare);
	return all;
}

/* Makes the parts of @pinned pinned that are on record in @held. Both are by address. */
static void pin_recorded(const struct storage *storage, const GArray *pinned, const GArray *held)
{
	guint from = 0;

	for (guint i = 0; i < held->len; i++) {
		const struct store_held *row = &g_array_index(held, struct store_held, i);
		struct pool_user last = { .ino = row->ino, .pid = row->pid };
		uint64_t end = row->extent.start + row->extent.length;

		g_strlcpy(last.name, row->name, sizeof(last.name));
		next_after(pinned, &from, row->extent.start);
		for (guint k = from; k < pinned->len && g_array_index(pinned, struct extent, k).start < end; k++) {
			const struct extent *run = &g_array_index(pinned, struct extent, k);
			uint64_t first = MAX(run->start, row->extent.start);

			pool_pin_free(storage->pool,
			              (struct extent){ first, MIN(run->start + run->length, end) - first }, row->since,
			              &last);
		}
	}
}

int pins_load(const struct storage *storage)
{
	g_autoptr(GArray) pinned = find_all_pinned(storage);
	g_autoptr(GArray) held = store_held_new();
	int err = pinned->len ? store_list_held(storage->store, held) : 0;
	struct pool_usage before, after;

	if (err)
		return err;
	pool_get_usage(storage->pool, &before);
	pin_recorded(storage, pinned, held);
	for (guint i = 0; i < pinned->len; i++)
		pool_pin_free(storage->pool, g_array_index(pinned, struct extent, i), g_get_real_time(), NULL);
	pool_get_usage(storage->pool, &after);
	if (after.pinned > before.pinned)
		log_warning(
			"a device still holds %" G_GUINT64_FORMAT
			" MiB that a file gave up before this daemon started: no file gets them until the device lets go",
			(after.pinned - before.pinned) >> 20);
	return 0;
}

/* The parts of the memory on record that no device holds any more, also in regions that are not in the configuration any more. */
static GArray *find_stale(const struct storage *storage, const GArray *held)
{
	g_autoptr(GArray) pinned = extents_new();
	GArray *stale = extents_new();
	guint from = 0;

	if (held->len == 0 || storage->ops->list_pinned(storage->backend, (struct extent){ 0, INT64_MAX }, pinned) < 0)
		return stale;
	for (guint i = 0; i < held->len; i++)
		append_missing(g_array_index(held, struct store_held, i).extent, pinned, &from, stale);
	return stale;
}

/* The pins that are not on record, as they shall be: GArray of struct store_held. */
static GArray *find_unrecorded(const struct storage *storage, const GArray *held)
{
	g_autoptr(GArray) pins = pool_get_pins(storage->pool);
	g_autoptr(GArray) recorded = extents_new();
	GArray *missing = store_held_new();
	guint from = 0;

	for (guint i = 0; i < held->len; i++)
		g_array_append_val(recorded, g_array_index(held, struct store_held, i).extent);
	for (guint i = 0; i < pins->len; i++) {
		const struct pool_pin *pin = &g_array_index(pins, struct pool_pin, i);
		g_autoptr(GArray) parts = extents_new();

		append_missing(pin->extent, recorded, &from, parts);
		for (guint k = 0; k < parts->len; k++) {
			const struct store_held row = {
				.extent = g_array_index(parts, struct extent, k),
				.since = pin->since,
				.ino = pin->last.ino,
				.pid = pin->last.pid,
			};

			g_array_append_val(missing, row);
		}
	}
	return missing;
}

int pins_record(const struct storage *storage)
{
	g_autoptr(GArray) held = store_held_new();
	g_autoptr(GArray) stale = NULL, missing = NULL;
	int err;

	if (!storage->ops->list_pinned)
		return 0;
	err = store_list_held(storage->store, held);
	if (err)
		return err;
	stale = find_stale(storage, held);
	missing = find_unrecorded(storage, held);
	if (stale->len == 0 && missing->len == 0)
		return 0;
	store_begin(storage->store);
	for (guint i = 0; i < stale->len; i++)
		store_delete_held(storage->store, g_array_index(stale, struct extent, i));
	for (guint i = 0; i < missing->len; i++)
		store_put_held(storage->store, &g_array_index(missing, struct store_held, i));
	return store_commit(storage->store);
}

bool pins_leave_out(const struct storage *storage, uint64_t ino, struct extent_map_run run, GArray *rest)
{
	g_autoptr(GArray) pinned = extents_new();
	g_autoptr(GArray) parts = extents_new();
	guint from = 0;

	pool_own_pins(storage->pool, run.extent, ino);
	pool_list_pinned(storage->pool, run.extent, pinned);
	append_missing(run.extent, pinned, &from, parts);
	for (guint i = 0; i < parts->len; i++) {
		struct extent part = g_array_index(parts, struct extent, i);
		struct extent_map_run one = { run.offset + (part.start - run.extent.start), part };

		g_array_append_val(rest, one);
	}
	return parts->len != 1 || g_array_index(parts, struct extent, 0).length < run.extent.length;
}

/* Adds to the bytes of a file in @ended, inode number -> bytes. */
static void note_ended(GHashTable *ended, uint64_t ino, uint64_t bytes)
{
	uint64_t *sum = g_hash_table_lookup(ended, &ino);

	if (sum)
		*sum += bytes;
	else
		g_hash_table_insert(ended, g_memdup2(&ino, sizeof(ino)), g_memdup2(&bytes, sizeof(bytes)));
}

/* Once for each file. */
static void tell_ended(GHashTable *ended, const struct pins_poll *poll)
{
	GHashTableIter iter;
	gpointer ino, bytes;

	g_hash_table_iter_init(&iter, ended);
	while (poll->unpinned && g_hash_table_iter_next(&iter, &ino, &bytes)) {
		if (*(const uint64_t *)ino)
			poll->unpinned(*(const uint64_t *)ino, *(const uint64_t *)bytes, poll->data);
	}
}

static void look_again(const struct storage *storage, const struct pins_poll *poll)
{
	static struct log_limit limit = LOG_LIMIT_INIT;
	g_autoptr(GArray) pins = pool_get_pins(storage->pool);
	g_autoptr(GArray) pinned = find_all_pinned(storage);
	g_autoptr(GHashTable) ended = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
	guint from = 0;

	for (guint i = 0; i < pins->len; i++) {
		const struct pool_pin *pin = &g_array_index(pins, struct pool_pin, i);
		g_autoptr(GArray) gone = extents_new();

		append_missing(pin->extent, pinned, &from, gone);
		for (guint k = 0; k < gone->len; k++) {
			const struct extent *run = &g_array_index(gone, struct extent, k);

			pool_unpin(storage->pool, *run);
			log_limited(&limit, LOG_LEVEL_INFO,
			            "the device has let go of %" G_GUINT64_FORMAT " MiB at 0x%" G_GINT64_MODIFIER "x",
			            run->length >> 20, run->start);
			note_ended(ended, pin->last.ino, run->length);
		}
	}
	tell_ended(ended, poll);
}

/* Memory of a region that is not in the configuration any more is not in the pool: only the backend knows of it. */
static void release_former(const struct storage *storage, struct pins_poll *poll, gint64 now)
{
	if (!storage->ops->release_former || now < poll->former_due)
		return;
	poll->former_due = storage->ops->release_former(storage->backend) ? now + PINS_DELAY_LAST : G_MAXINT64;
}

void pins_poll(const struct storage *storage, struct pins_poll *poll, gint64 now)
{
	struct pool_usage usage;

	release_former(storage, poll, now);
	pool_get_usage(storage->pool, &usage);
	/* New pins are often short: most end with an I/O request. More of them must not delay the poll of those that there are. */
	if (usage.pinned > poll->bytes) {
		gint64 soon = now + PINS_DELAY_FIRST;

		poll->delay = PINS_DELAY_FIRST;
		poll->due = poll->bytes ? MIN(poll->due, soon) : soon;
	}
	poll->bytes = usage.pinned;
	if (usage.pinned == 0 || now < poll->due)
		return;
	look_again(storage, poll);
	poll->delay = MIN(2 * poll->delay, PINS_DELAY_LAST);
	poll->due = now + poll->delay;
	pool_get_usage(storage->pool, &usage);
	poll->bytes = usage.pinned;
}

uint64_t pins_oldest(const struct storage *storage)
{
	g_autoptr(GArray) pins = pool_get_pins(storage->pool);
	gint64 now = g_get_real_time(), since = now;

	for (guint i = 0; i < pins->len; i++)
		since = MIN(since, g_array_index(pins, struct pool_pin, i).since);
	return (uint64_t)(now - since) / G_USEC_PER_SEC;
}

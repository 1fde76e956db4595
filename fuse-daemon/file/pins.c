// SPDX-License-Identifier: GPL-2.0-or-later
/* Memory that a device still holds after it left its file. */
#include "file/pins.h"

#include "base/crash_point.h"
#include "base/log.h"
#include "base/page_order.h"

static const struct extent everywhere = { 0, INT64_MAX };

static GArray *pins_new(void)
{
	return g_array_new(FALSE, FALSE, sizeof(struct pool_pin));
}

static GArray *extents_of(const GArray *pins)
{
	GArray *extents = extents_new();

	for (guint i = 0; i < pins->len; i++)
		g_array_append_val(extents, g_array_index(pins, struct pool_pin, i).extent);
	return extents;
}

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

void pins_check(const struct storage *storage, const struct pool_user *last, int64_t since, GArray *extents)
{
	g_autoptr(GArray) all = g_array_copy(extents);

	g_array_set_size(extents, 0);
	for (guint i = 0; i < all->len; i++) {
		const struct extent run = g_array_index(all, struct extent, i);
		g_autoptr(GArray) pinned = find_pinned(storage, run);
		guint from = 0;

		for (guint k = 0; k < pinned->len; k++) {
			pool_pin_used(storage->pool, g_array_index(pinned, struct extent, k), since, last);
			say(last, &g_array_index(pinned, struct extent, k));
		}
		append_missing(run, pinned, &from, extents);
	}
}

/* What is to be on record of the removed file @last, of which devices hold @extents besides what they held before. Takes @extents. */
static struct store_gone *gone_new(const struct storage *storage, const struct pool_user *last, int64_t since,
                                   GArray *extents)
{
	struct store_gone *gone = g_new(struct store_gone, 1);

	*gone = (struct store_gone){
		.extents = extents,
		.last = {
			.since = since,
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
	int64_t since = g_get_real_time();
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
	pool_pin_pending(storage->pool, ino, since, all);
	for (guint i = 0; i < all->len; i++)
		say(&last, &g_array_index(all, struct extent, i));
	CRASH_POINT("pins-checked");
	return pool_pinned_bytes(storage->pool, ino) ? gone_new(storage, &last, since, g_steal_pointer(&all)) : NULL;
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

/* GArray of struct pool_pin, by address: what is on record in @held. Devices may not hold all of it any more. */
static GArray *pins_on_record(const GArray *held)
{
	GArray *pins = pins_new();

	for (guint i = 0; i < held->len; i++) {
		const struct store_held *row = &g_array_index(held, struct store_held, i);
		struct pool_pin pin = {
			.extent = row->extent,
			.since = row->since,
			.last = { .ino = row->ino, .pid = row->pid },
		};

		g_strlcpy(pin.last.name, row->name, sizeof(pin.last.name));
		g_array_append_val(pins, pin);
	}
	return pins;
}

/* What devices hold, as pins: GArray of struct pool_pin, by address. @known: as @pinned by address; what is known of it. */
static GArray *describe(const GArray *pinned, const GArray *known)
{
	g_autoptr(GArray) extents = extents_of(known), unknown = extents_new();
	GArray *pins = pins_new();
	guint from = 0, first = 0;

	for (guint i = 0; i < pinned->len; i++) {
		const struct extent *run = &g_array_index(pinned, struct extent, i);

		append_missing(*run, extents, &from, unknown);
		next_after(extents, &first, run->start);
		for (guint k = first; k < known->len; k++) {
			struct pool_pin pin = g_array_index(known, struct pool_pin, k);

			if (pin.extent.start >= run->start + run->length)
				break;
			pin.extent = extent_overlap(&pin.extent, run);
			g_array_append_val(pins, pin);
		}
	}
	for (guint i = 0; i < unknown->len; i++) {
		struct pool_pin pin = {
			.extent = g_array_index(unknown, struct extent, i),
			.since = g_get_real_time(),
		};

		g_array_append_val(pins, pin);
	}
	g_array_sort(pins, extents_compare);
	return pins;
}

int pins_load(const struct storage *storage)
{
	g_autoptr(GArray) pinned = find_all_pinned(storage), held = store_held_new();
	g_autoptr(GArray) known = NULL, pins = NULL;
	int err = pinned->len ? store_list_held(storage->store, held) : 0;
	struct pool_usage before, after;

	if (err)
		return err;
	known = pins_on_record(held);
	pins = describe(pinned, known);
	pool_get_usage(storage->pool, &before);
	for (guint i = 0; i < pins->len; i++)
		pool_pin_free(storage->pool, &g_array_index(pins, struct pool_pin, i));
	pool_get_usage(storage->pool, &after);
	if (after.pinned > before.pinned)
		log_warning(
			"a device still holds %" G_GUINT64_FORMAT
			" MiB that a file gave up before this daemon started: no file gets them until the device lets go",
			(after.pinned - before.pinned) >> 20);
	return 0;
}

GArray *pins_list(const struct storage *storage)
{
	g_autoptr(GArray) former = pool_get_former_pins(storage->pool);
	GArray *pins = pool_get_pins(storage->pool);

	if (former->len > 0)
		g_array_append_vals(pins, former->data, former->len);
	g_array_sort(pins, extents_compare);
	return pins;
}

/* Notes what devices hold in regions of an earlier configuration. @pinned, @known: as in describe(); @pinned: all that they hold. */
static void note_former(const struct storage *storage, const GArray *pinned, const GArray *known)
{
	g_autoptr(GArray) former = extents_new();

	for (guint i = 0; i < pinned->len; i++) {
		const struct extent run = g_array_index(pinned, struct extent, i);

		/* Memory without compound pages is never pinned: the run is in no region. */
		if (pool_order_at(storage->pool, run.start) == PAGE_ORDER_NONE)
			g_array_append_val(former, run);
	}
	pool_set_former_pins(storage->pool, describe(former, known));
}

/* Appends to @out what is in @extents, but not in @others. All are by address. */
static void subtract(const GArray *extents, const GArray *others, GArray *out)
{
	guint from = 0;

	for (guint i = 0; i < extents->len; i++)
		append_missing(g_array_index(extents, struct extent, i), others, &from, out);
}

/* Records all pins that are not in @recorded. Inside a transaction. */
static void put_missing(const struct storage *storage, const GArray *recorded)
{
	g_autoptr(GArray) pins = pins_list(storage);
	guint from = 0;

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

			store_put_held(storage->store, &row);
		}
	}
}

int pins_record(const struct storage *storage)
{
	g_autoptr(GArray) held = store_held_new(), pinned = extents_new(), stale = extents_new();
	g_autoptr(GArray) known = NULL, recorded = NULL;
	int err;

	if (!storage->ops->list_pinned)
		return 0;
	err = store_list_held(storage->store, held);
	/* An older module, without compound pages, does not know the request. */
	if (err || storage->ops->list_pinned(storage->backend, everywhere, pinned) < 0 || (!held->len && !pinned->len))
		return err;
	known = pins_on_record(held);
	recorded = extents_of(known);
	note_former(storage, pinned, known);
	subtract(recorded, pinned, stale);
	store_begin(storage->store);
	for (guint i = 0; i < stale->len; i++)
		store_delete_held(storage->store, g_array_index(stale, struct extent, i));
	put_missing(storage, recorded);
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

/* What ended of the file @ino: an element of @ended, a set of struct unpinned by inode number. */
static struct unpinned *ended_of(GHashTable *ended, uint64_t ino, unsigned order)
{
	struct unpinned *memory = g_hash_table_lookup(ended, &ino);

	if (!memory) {
		memory = g_new(struct unpinned, 1);
		*memory = (struct unpinned){ .ino = ino, .order = order };
		g_hash_table_add(ended, memory);
	}
	return memory;
}

/* Frees @run, which the file @ino had. Promises it to the file: until the file was told, no other may count on it. */
static void end(const struct storage *storage, uint64_t ino, struct extent run, GHashTable *ended)
{
	unsigned order = pool_order_at(storage->pool, run.start);
	struct unpinned *memory = ended_of(ended, ino, order);

	memory->bytes += run.length;
	memory->promised += pool_unpin(storage->pool, run, memory->order == order);
}

/* Once for each file. */
static void tell_ended(GHashTable *ended, const struct pins_poll *poll)
{
	GHashTableIter iter;
	gpointer memory;

	g_hash_table_iter_init(&iter, ended);
	while (g_hash_table_iter_next(&iter, &memory, NULL))
		poll->unpinned(memory, poll->data);
}

static void look_again(const struct storage *storage, const struct pins_poll *poll)
{
	static struct log_limit limit = LOG_LIMIT_INIT;
	g_autoptr(GArray) pins = pool_get_pins(storage->pool);
	g_autoptr(GArray) pinned = find_all_pinned(storage);
	g_autoptr(GHashTable) ended = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
	guint from = 0;

	for (guint i = 0; i < pins->len; i++) {
		const struct pool_pin *pin = &g_array_index(pins, struct pool_pin, i);
		g_autoptr(GArray) gone = extents_new();

		append_missing(pin->extent, pinned, &from, gone);
		for (guint k = 0; k < gone->len; k++) {
			const struct extent *run = &g_array_index(gone, struct extent, k);

			if (pin->last.ino && poll->unpinned)
				end(storage, pin->last.ino, *run, ended);
			else
				pool_unpin(storage->pool, *run, false);
			log_limited(&limit, LOG_LEVEL_INFO,
			            "the device has let go of %" G_GUINT64_FORMAT " MiB at 0x%" G_GINT64_MODIFIER "x",
			            run->length >> 20, run->start);
		}
	}
	tell_ended(ended, poll);
}

/* Memory of a region that is not in the configuration any more is not in the pool: only the backend knows of it. */
static void release_former(const struct storage *storage, struct pins_poll *poll, gint64 now)
{
	g_autoptr(GArray) pinned = extents_new(), known = NULL;
	unsigned claimed;

	if (!storage->ops->release_former || now < poll->former_due)
		return;
	claimed = storage->ops->release_former(storage->backend);
	poll->former_due = claimed ? now + PINS_DELAY_LAST : G_MAXINT64;
	known = pool_get_former_pins(storage->pool);
	if (!claimed && !known->len)
		return;
	if (storage->ops->list_pinned(storage->backend, everywhere, pinned) == 0)
		note_former(storage, pinned, known);
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
	g_autoptr(GArray) pins = pins_list(storage);
	gint64 now = g_get_real_time(), since = now;

	for (guint i = 0; i < pins->len; i++)
		since = MIN(since, g_array_index(pins, struct pool_pin, i).since);
	return (uint64_t)(now - since) / G_USEC_PER_SEC;
}

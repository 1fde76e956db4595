// SPDX-License-Identifier: GPL-2.0-or-later
/* Memory that a device still holds after it left its file. */
#include "file/pins.h"

#include "base/crash_point.h"
#include "base/log.h"
#include "base/page_order.h"

/* What a device holds of @run. When the backend cannot tell, all of it: it must not go to another file. */
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
		            "memory at 0x%" G_GINT64_MODIFIER "x: cannot be asked whether a device holds it: %s",
		            run.start, g_strerror(-err));
		g_array_set_size(pinned, 0);
		g_array_append_val(pinned, run);
	}
	return pinned;
}

static void say(const struct pool_user *last, const struct extent *run)
{
	static struct log_limit limit = LOG_LIMIT_INIT;

	log_limited(&limit, LOG_LEVEL_WARNING,
	            "inode %" G_GUINT64_FORMAT "%s%s: a device still holds %" G_GUINT64_FORMAT
	            " MiB at 0x%" G_GINT64_MODIFIER
	            "x, which no file gets until it lets go (process %d opened the file last): see dmemfsctl status",
	            last->ino, *last->name ? ", " : "", last->name, run->length >> 20, run->start, last->pid);
}

/* Appends @run without @pinned, which are parts of it by address. */
static void append_rest(struct extent run, const GArray *pinned, GArray *out)
{
	uint64_t at = run.start, end = run.start + run.length;

	for (guint i = 0; i <= pinned->len; i++) {
		const struct extent *next = i < pinned->len ? &g_array_index(pinned, struct extent, i) : NULL;
		struct extent part = { at, (next ? next->start : end) - at };

		if (part.length)
			g_array_append_val(out, part);
		at = next ? next->start + next->length : end;
	}
}

void pins_check(const struct storage *storage, const struct pool_user *last, GArray *extents)
{
	g_autoptr(GArray) all = g_array_copy(extents);

	g_array_set_size(extents, 0);
	for (guint i = 0; i < all->len; i++) {
		const struct extent run = g_array_index(all, struct extent, i);
		g_autoptr(GArray) pinned = find_pinned(storage, run);

		for (guint k = 0; k < pinned->len; k++) {
			pool_pin_used(storage->pool, g_array_index(pinned, struct extent, k), last);
			say(last, &g_array_index(pinned, struct extent, k));
		}
		append_rest(run, pinned, extents);
	}
}

void pins_check_pending(const struct storage *storage, uint64_t ino)
{
	g_autoptr(GArray) runs = extents_new();
	struct pool_user last;

	if (!storage->ops->list_pinned)
		return;
	pool_list_pending(storage->pool, ino, runs, &last);
	for (guint i = 0; i < runs->len; i++) {
		g_autoptr(GArray) pinned = find_pinned(storage, g_array_index(runs, struct extent, i));

		for (guint k = 0; k < pinned->len; k++) {
			const struct extent run = g_array_index(pinned, struct extent, k);

			pool_pin_pending(storage->pool, ino, run);
			say(&last, &run);
		}
	}
	CRASH_POINT("pins-checked");
}

void pins_load(const struct storage *storage)
{
	g_autoptr(GArray) regions = pool_get_regions(storage->pool);
	struct pool_usage before, after;

	pool_get_usage(storage->pool, &before);
	for (guint i = 0; i < regions->len; i++) {
		g_autoptr(GArray) pinned = find_pinned(storage, g_array_index(regions, struct pool_region, i).extent);

		for (guint k = 0; k < pinned->len; k++)
			pool_pin_free(storage->pool, g_array_index(pinned, struct extent, k));
	}
	pool_get_usage(storage->pool, &after);
	if (after.pinned > before.pinned)
		log_warning("a device still holds %" G_GUINT64_FORMAT
		            " MiB of files of an earlier run, which no file gets until it lets go",
		            (after.pinned - before.pinned) >> 20);
}

static void look_again(const struct storage *storage)
{
	g_autoptr(GArray) pins = pool_get_pins(storage->pool);
	g_autoptr(GArray) gone = extents_new();

	for (guint i = 0; i < pins->len; i++) {
		const struct extent run = g_array_index(pins, struct pool_pin, i).extent;
		g_autoptr(GArray) pinned = find_pinned(storage, run);

		append_rest(run, pinned, gone);
	}
	for (guint i = 0; i < gone->len; i++) {
		const struct extent *run = &g_array_index(gone, struct extent, i);

		pool_unpin(storage->pool, *run);
		log_info("the device has let go of %" G_GUINT64_FORMAT " MiB at 0x%" G_GINT64_MODIFIER "x",
		         run->length >> 20, run->start);
	}
}

void pins_poll(const struct storage *storage, struct pins_poll *poll, gint64 now)
{
	struct pool_usage usage;

	pool_get_usage(storage->pool, &usage);
	/* What is new may go soon. */
	if (usage.pinned > poll->bytes) {
		poll->delay = PINS_DELAY_FIRST;
		poll->due = now + poll->delay;
	}
	poll->bytes = usage.pinned;
	if (usage.pinned == 0 || now < poll->due)
		return;
	look_again(storage);
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

// SPDX-License-Identifier: GPL-2.0-or-later
/* Pinned memory in the pool. */
#include "pool/pool_pins.h"

#include "pool/extent_set.h"
#include "pool/pool_internal.h"

static uint64_t end_of(const struct extent *run)
{
	return run->start + run->length;
}

/* GCompareDataFunc: pins by address. They do not overlap. */
static gint compare(gconstpointer a, gconstpointer b, gpointer unused)
{
	const struct pool_pin *first = a, *second = b;

	(void)unused;
	return extents_compare(&first->extent, &second->extent);
}

/* Changes the pinned bytes of a file: by @more - @less. */
static void count(struct pool *pool, uint64_t ino, uint64_t more, uint64_t less)
{
	uint64_t *bytes = g_hash_table_lookup(pool->pinned_of, &ino);

	pool->pinned_bytes += more - less;
	if (!bytes) {
		bytes = g_new0(uint64_t, 1);
		g_hash_table_insert(pool->pinned_of, g_memdup2(&ino, sizeof(ino)), bytes);
	}
	*bytes += more - less;
	if (*bytes == 0)
		g_hash_table_remove(pool->pinned_of, &ino);
}

static void add_pin(struct pool *pool, struct extent run, int64_t since, const struct pool_user *last, bool recorded)
{
	struct pool_pin *pin = g_new0(struct pool_pin, 1);

	*pin = (struct pool_pin){ .extent = run, .since = since, .recorded = recorded };
	if (last)
		pin->last = *last;
	g_sequence_insert_sorted(pool->pins, pin, compare, NULL);
	count(pool, pin->last.ino, run.length, 0);
}

/* The first pin that ends after @at; the end of the sequence: there is none. */
static GSequenceIter *find_pin(const struct pool *pool, uint64_t at)
{
	struct pool_pin key = { .extent.start = at };
	/* Behind a pin that starts at @at, if there is one. */
	GSequenceIter *next = g_sequence_search(pool->pins, &key, compare, NULL);
	GSequenceIter *before = g_sequence_iter_prev(next);

	if (before == next)
		return next;
	return end_of(&((const struct pool_pin *)g_sequence_get(before))->extent) > at ? before : next;
}

/* The pin at @iter if it starts before @end; else NULL. */
static struct pool_pin *pin_before(GSequenceIter *iter, uint64_t end)
{
	struct pool_pin *pin = g_sequence_iter_is_end(iter) ? NULL : g_sequence_get(iter);

	return pin && pin->extent.start < end ? pin : NULL;
}

void pool_pin_used(struct pool *pool, struct extent run, int64_t since, const struct pool_user *last)
{
	g_mutex_lock(&pool->lock);
	add_pin(pool, run, since, last, false);
	g_mutex_unlock(&pool->lock);
}

void pool_pin_free(struct pool *pool, const struct pool_pin *pin)
{
	g_autoptr(GArray) free = extents_new();

	g_mutex_lock(&pool->lock);
	extent_set_find(pool->allocator, pin->extent, free);
	for (guint i = 0; i < free->len; i++) {
		const struct extent part = g_array_index(free, struct extent, i);

		extent_set_remove(pool->allocator, part);
		if (pool->clean)
			extent_set_remove(pool->clean, part);
		add_pin(pool, part, pin->since, &pin->last, false);
	}
	g_mutex_unlock(&pool->lock);
}

/* Removes @part of the pin at @iter, whose parts before and behind it stay. */
static void cut(GSequenceIter *iter, const struct extent *part)
{
	struct pool_pin *pin = g_sequence_get(iter), *behind;
	uint64_t end = end_of(&pin->extent);

	pin->extent.length = part->start - pin->extent.start;
	if (end > end_of(part)) {
		behind = g_memdup2(pin, sizeof(*pin));
		behind->extent = (struct extent){ end_of(part), end - end_of(part) };
		g_sequence_insert_before(g_sequence_iter_next(iter), behind);
	}
	if (pin->extent.length == 0)
		g_sequence_remove(iter);
}

void pool_own_pins(struct pool *pool, struct extent run, uint64_t ino)
{
	const struct pool_pin *pin;
	GSequenceIter *iter, *next;

	g_mutex_lock(&pool->lock);
	pool_pending_runs(pool, ino);
	for (iter = find_pin(pool, run.start); (pin = pin_before(iter, end_of(&run))); iter = next) {
		const struct extent part = extent_overlap(&pin->extent, &run);
		struct pool_pin owned = *pin;

		next = g_sequence_iter_next(iter);
		if (pin->last.ino && pin->last.ino != ino)
			continue;
		count(pool, pin->last.ino, 0, part.length);
		cut(iter, &part);
		owned.last.ino = ino;
		add_pin(pool, part, owned.since, &owned.last, true);
	}
	g_mutex_unlock(&pool->lock);
}

/* The runs that are pending of the file that @pin is on record for; NULL: it is not on record any more. */
static GArray *pending_of(const struct pool *pool, const struct pool_pin *pin)
{
	return pin->recorded ? g_hash_table_lookup(pool->pending, &pin->last.ino) : NULL;
}

uint64_t pool_unpin(struct pool *pool, struct extent run, bool promise)
{
	g_autoptr(GArray) freed = extents_new();
	const struct pool_pin *pin;
	GSequenceIter *iter, *next;
	uint64_t promised = 0;

	g_mutex_lock(&pool->lock);
	for (iter = find_pin(pool, run.start); (pin = pin_before(iter, end_of(&run))); iter = next) {
		const struct extent part = extent_overlap(&pin->extent, &run);
		GArray *pending = pending_of(pool, pin);

		next = g_sequence_iter_next(iter);
		count(pool, pin->last.ino, 0, part.length);
		pool->pending_bytes += pending ? part.length : 0;
		g_array_append_val(pending ?: freed, part);
		cut(iter, &part);
	}
	for (guint i = 0; i < freed->len && promise; i++) {
		const struct extent *part = &g_array_index(freed, struct extent, i);

		pool->promised[pool_order_at(pool, part->start) / PAGE_ORDER_STEP] += part->length;
		promised += part->length;
	}
	pool_free_locked(pool, (const struct extent *)freed->data, freed->len, false);
	g_mutex_unlock(&pool->lock);
	return promised;
}

static void append_pin(gpointer pin, gpointer pins)
{
	g_array_append_vals(pins, pin, 1);
}

GArray *pool_get_pins(struct pool *pool)
{
	GArray *pins = g_array_new(FALSE, FALSE, sizeof(struct pool_pin));

	g_mutex_lock(&pool->lock);
	g_sequence_foreach(pool->pins, append_pin, pins);
	g_mutex_unlock(&pool->lock);
	return pins;
}

void pool_set_former_pins(struct pool *pool, GArray *pins)
{
	g_mutex_lock(&pool->lock);
	g_array_unref(pool->former_pins);
	pool->former_pins = pins;
	g_mutex_unlock(&pool->lock);
}

GArray *pool_get_former_pins(struct pool *pool)
{
	GArray *pins;

	g_mutex_lock(&pool->lock);
	pins = g_array_copy(pool->former_pins);
	g_mutex_unlock(&pool->lock);
	return pins;
}

void pool_list_pinned(struct pool *pool, struct extent run, GArray *pinned)
{
	const struct pool_pin *pin;

	g_mutex_lock(&pool->lock);
	for (GSequenceIter *iter = find_pin(pool, run.start); (pin = pin_before(iter, end_of(&run)));
	     iter = g_sequence_iter_next(iter)) {
		const struct extent part = extent_overlap(&pin->extent, &run);

		g_array_append_val(pinned, part);
	}
	g_mutex_unlock(&pool->lock);
}

static uint64_t pinned_bytes(const struct pool *pool, uint64_t ino)
{
	const uint64_t *bytes = g_hash_table_lookup(pool->pinned_of, &ino);

	return bytes ? *bytes : 0;
}

uint64_t pool_pinned_bytes(struct pool *pool, uint64_t ino)
{
	uint64_t bytes;

	g_mutex_lock(&pool->lock);
	bytes = pinned_bytes(pool, ino);
	g_mutex_unlock(&pool->lock);
	return bytes;
}

uint64_t pool_remaining_bytes(struct pool *pool, uint64_t ino)
{
	const GArray *pending;
	uint64_t bytes;

	g_mutex_lock(&pool->lock);
	bytes = pinned_bytes(pool, ino);
	pending = g_hash_table_lookup(pool->pending, &ino);
	if (pending)
		bytes += extents_bytes(pending);
	g_mutex_unlock(&pool->lock);
	return bytes;
}

void pool_set_last_user(struct pool *pool, uint64_t id, const struct pool_user *last)
{
	g_mutex_lock(&pool->lock);
	g_hash_table_insert(pool->last_users, g_memdup2(&id, sizeof(id)), g_memdup2(last, sizeof(*last)));
	g_mutex_unlock(&pool->lock);
}

void pool_list_pending(struct pool *pool, uint64_t id, GArray *runs, struct pool_user *last)
{
	g_mutex_lock(&pool->lock);
	const GArray *pending = g_hash_table_lookup(pool->pending, &id);
	const struct pool_user *known = g_hash_table_lookup(pool->last_users, &id);

	if (pending)
		g_array_append_vals(runs, pending->data, pending->len);
	*last = known ? *known : (struct pool_user){ .ino = id };
	g_mutex_unlock(&pool->lock);
}

void pool_pin_pending(struct pool *pool, uint64_t id, int64_t since, const GArray *runs)
{
	const struct pool_user unknown = { .ino = id };
	g_autoptr(GArray) whole = NULL;
	const struct pool_user *last;
	GArray *pending;
	guint k = 0;

	g_mutex_lock(&pool->lock);
	last = g_hash_table_lookup(pool->last_users, &id);
	pending = g_hash_table_lookup(pool->pending, &id);
	whole = pending ? g_array_copy(pending) : extents_new();
	g_array_sort(whole, extents_compare);
	if (pending)
		g_array_set_size(pending, 0);
	for (guint i = 0; i < whole->len; i++) {
		struct extent rest = g_array_index(whole, struct extent, i);

		/* @runs that overlap this one begin where those of the last one ended: both are by address. */
		for (; k < runs->len && g_array_index(runs, struct extent, k).start < end_of(&rest); k++) {
			const struct extent *run = &g_array_index(runs, struct extent, k);
			const struct extent part = extent_overlap(&rest, run);
			const struct extent before = { rest.start, part.start - rest.start };

			if (part.length == 0)
				continue;
			if (before.length)
				g_array_append_val(pending, before);
			add_pin(pool, part, since, last ? last : &unknown, true);
			pool->pending_bytes -= part.length;
			rest = (struct extent){ end_of(&part), end_of(&rest) - end_of(&part) };
			if (end_of(run) > end_of(&rest))
				break; /* the next element of @whole has the rest of it */
		}
		if (rest.length)
			g_array_append_val(pending, rest);
	}
	g_mutex_unlock(&pool->lock);
}

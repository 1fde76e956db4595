// SPDX-License-Identifier: GPL-2.0-or-later
/* Pinned memory in the pool. */
#include "pool/pool_pins.h"

#include "pool/extent_set.h"
#include "pool/pool_internal.h"

static void add_pin(struct pool *pool, struct extent run, const struct pool_user *last, bool recorded)
{
	struct pool_pin pin = { .extent = run, .since = g_get_real_time(), .recorded = recorded };

	if (last)
		pin.last = *last;
	g_array_append_val(pool->pins, pin);
	pool->pinned_bytes += run.length;
}

void pool_pin_used(struct pool *pool, struct extent run, const struct pool_user *last)
{
	g_mutex_lock(&pool->lock);
	add_pin(pool, run, last, false);
	g_mutex_unlock(&pool->lock);
}

void pool_pin_free(struct pool *pool, struct extent run)
{
	g_autoptr(GArray) free = extents_new();

	g_mutex_lock(&pool->lock);
	extent_set_find(pool->allocator, run, free);
	for (guint i = 0; i < free->len; i++) {
		const struct extent part = g_array_index(free, struct extent, i);

		extent_set_remove(pool->allocator, part);
		if (pool->clean)
			extent_set_remove(pool->clean, part);
		add_pin(pool, part, NULL, false);
	}
	g_mutex_unlock(&pool->lock);
}

/* Replaces the element at @index, which overlaps @run, by its parts before and behind @run. Returns the overlap. */
static struct extent cut(GArray *array, guint index, struct extent run)
{
	guint size = g_array_get_element_size(array);
	g_autofree void *rest = g_memdup2(array->data + index * size, size);
	struct extent *before = (struct extent *)(array->data + index * size), *behind = rest;
	uint64_t end = before->start + before->length;
	uint64_t from = MAX(before->start, run.start), to = MIN(end, run.start + run.length);

	before->length = from - before->start;
	*behind = (struct extent){ to, end - to };
	if (end > to)
		g_array_insert_vals(array, index + 1, rest, 1);
	if (before->length == 0)
		g_array_remove_index(array, index);
	return (struct extent){ from, to - from };
}

static bool overlap(const struct extent *a, const struct extent *b)
{
	return a->start < b->start + b->length && b->start < a->start + a->length;
}

/* Removes the parts of @run from @array, whose elements begin with a struct extent. Returns these parts. */
static GArray *take_out(GArray *array, struct extent run)
{
	guint size = g_array_get_element_size(array);
	GArray *taken = extents_new();

	for (guint i = array->len; i-- > 0;) {
		if (overlap((const struct extent *)(array->data + i * size), &run)) {
			struct extent part = cut(array, i, run);

			g_array_append_val(taken, part);
		}
	}
	return taken;
}

/* The runs that are pending of the file that @pin is on record for; NULL: it is not on record any more. */
static GArray *pending_of(const struct pool *pool, const struct pool_pin *pin)
{
	return pin->recorded ? g_hash_table_lookup(pool->pending, &pin->last.ino) : NULL;
}

void pool_unpin(struct pool *pool, struct extent run)
{
	g_autoptr(GArray) freed = extents_new();

	g_mutex_lock(&pool->lock);
	for (guint i = pool->pins->len; i-- > 0;) {
		const struct pool_pin *pin = &g_array_index(pool->pins, struct pool_pin, i);

		if (overlap(&pin->extent, &run)) {
			GArray *pending = pending_of(pool, pin);
			struct extent part = cut(pool->pins, i, run);

			pool->pinned_bytes -= part.length;
			pool->pending_bytes += pending ? part.length : 0;
			g_array_append_val(pending ?: freed, part);
		}
	}
	pool_free_locked(pool, (const struct extent *)freed->data, freed->len, false);
	g_mutex_unlock(&pool->lock);
}

GArray *pool_get_pins(struct pool *pool)
{
	GArray *pins;

	g_mutex_lock(&pool->lock);
	pins = g_array_copy(pool->pins);
	g_mutex_unlock(&pool->lock);
	return pins;
}

uint64_t pool_remaining_bytes(struct pool *pool, uint64_t ino)
{
	const GArray *pending;
	uint64_t bytes = 0;

	g_mutex_lock(&pool->lock);
	pending = g_hash_table_lookup(pool->pending, &ino);
	for (guint i = 0; pending && i < pending->len; i++)
		bytes += g_array_index(pending, struct extent, i).length;
	for (guint i = 0; i < pool->pins->len; i++) {
		const struct pool_pin *pin = &g_array_index(pool->pins, struct pool_pin, i);

		bytes += pin->last.ino == ino ? pin->extent.length : 0;
	}
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

void pool_pin_pending(struct pool *pool, uint64_t id, struct extent run)
{
	const struct pool_user unknown = { .ino = id };
	g_autoptr(GArray) taken = NULL;
	const struct pool_user *last;
	GArray *pending;

	g_mutex_lock(&pool->lock);
	last = g_hash_table_lookup(pool->last_users, &id);
	pending = g_hash_table_lookup(pool->pending, &id);
	taken = pending ? take_out(pending, run) : extents_new();
	for (guint i = 0; i < taken->len; i++) {
		const struct extent part = g_array_index(taken, struct extent, i);

		pool->pending_bytes -= part.length;
		add_pin(pool, part, last ? last : &unknown, true);
	}
	g_mutex_unlock(&pool->lock);
}

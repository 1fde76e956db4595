// SPDX-License-Identifier: GPL-2.0-or-later
/* Accounts of clean and stale memory, and pieces for the threads that zero. pool_choose.c decides who gets clean memory. */
#include "pool/pool_clean.h"

#include "pool/extent_set.h"
#include "pool/pool_internal.h"

void pool_need_zeroing(struct pool *pool)
{
	pool->clean = pool_new_set(pool);
	pool->stale = pool_new_set(pool);
}

void pool_believe(struct pool *pool, struct extent run, GArray *believed)
{
	guint first = believed->len;

	g_mutex_lock(&pool->lock);
	if (pool->clean)
		extent_set_find(pool->allocator, run, believed);
	for (guint i = first; i < believed->len; i++)
		extent_set_add(pool->clean, g_array_index(believed, struct extent, i));
	g_mutex_unlock(&pool->lock);
}

static void list(struct pool *pool, const struct allocator *set, const struct extent *runs, guint count, GArray *out)
{
	g_mutex_lock(&pool->lock);
	for (guint i = 0; i < count && set; i++)
		extent_set_find(set, runs[i], out);
	g_mutex_unlock(&pool->lock);
}

void pool_list_stale(struct pool *pool, const struct extent *runs, guint count, GArray *stale)
{
	list(pool, pool->stale, runs, count, stale);
}

void pool_list_clean(struct pool *pool, const struct extent *runs, guint count, GArray *clean)
{
	list(pool, pool->clean, runs, count, clean);
}

void pool_set_zeroed(struct pool *pool, const struct extent *runs, guint count)
{
	g_mutex_lock(&pool->lock);
	for (guint i = 0; i < count && pool->stale; i++)
		extent_set_remove(pool->stale, runs[i]);
	g_mutex_unlock(&pool->lock);
}

void clean_note_freed(struct pool *pool, const struct extent *runs, guint count, bool unused)
{
	g_autoptr(GArray) clean = extents_new();

	if (!pool->clean)
		return;
	for (guint i = 0; i < count; i++) {
		if (unused)
			extent_set_find_missing(pool->stale, runs[i], clean);
		extent_set_remove(pool->stale, runs[i]);
	}
	for (guint i = 0; i < clean->len; i++)
		extent_set_add(pool->clean, g_array_index(clean, struct extent, i));
	g_cond_broadcast(&pool->work);
}

static uint64_t zeroing_bytes(const struct pool *pool)
{
	g_autoptr(GArray) free = extents_new();

	for (guint i = 0; i < pool->pieces->len; i++) {
		const struct pool_piece *piece = g_ptr_array_index(pool->pieces, i);

		for (guint k = 0; k < piece->runs->len; k++)
			extent_set_find(pool->allocator, g_array_index(piece->runs, struct extent, k), free);
	}
	return extents_bytes(free);
}

void clean_get_usage(struct pool *pool, struct pool_usage *usage)
{
	usage->clean = pool->clean ? extent_set_bytes(pool->clean) : usage->free;
	usage->zeroing = zeroing_bytes(pool);
	usage->dirty = usage->free - usage->clean - usage->zeroing;
}

/* Adds dirty memory in [@from, @to) to the piece, at most *@room bytes and POOL_PIECE_RUNS runs. */
static void collect(struct pool *pool, struct pool_piece *piece, uint64_t from, uint64_t to, uint64_t *room)
{
	struct extent run, clean;

	while (*room > 0 && piece->runs->len < POOL_PIECE_RUNS &&
	       allocator_next_free(pool->allocator, piece->regions, from, to, &run)) {
		uint64_t end = run.start + run.length;

		if (!allocator_next_free(pool->clean, piece->regions, run.start, end, &clean))
			clean = (struct extent){ end, 0 };
		if (clean.start == run.start) {
			from = clean.start + clean.length;
			continue;
		}
		run.length = MIN(run.length, MIN(*room, clean.start - run.start));
		g_array_append_val(piece->runs, run);
		*room -= run.length;
		from = run.start + run.length;
	}
	piece->at = from;
}

/* Searches from the end of the last piece, round to there, so that all memory is zeroed however fast some becomes dirty. */
static bool find_piece(struct pool *pool, struct pool_piece *piece)
{
	uint64_t room = piece->max_bytes, start = piece->at;

	g_array_set_size(piece->runs, 0);
	if (!pool->clean || pool->stopped ||
	    allocator_available(pool->allocator, DMEMFS_PAGE_4K, piece->regions) ==
	            allocator_available(pool->clean, DMEMFS_PAGE_4K, piece->regions))
		return false;
	collect(pool, piece, start, UINT64_MAX, &room);
	if (piece->runs->len == 0)
		collect(pool, piece, 0, start, &room);
	return piece->runs->len > 0;
}

bool pool_begin_zeroing(struct pool *pool, struct pool_piece *piece, bool wait)
{
	bool found;

	g_mutex_lock(&pool->lock);
	while (!(found = find_piece(pool, piece)) && wait && !pool->stopped)
		g_cond_wait(&pool->work, &pool->lock);
	if (found) {
		piece->hurried = false;
		g_ptr_array_add(pool->pieces, piece);
	}
	g_mutex_unlock(&pool->lock);
	return found;
}

void pool_end_zeroing(struct pool *pool, struct pool_piece *piece, bool zeroed)
{
	g_autoptr(GArray) free = extents_new();

	g_mutex_lock(&pool->lock);
	g_ptr_array_remove_fast(pool->pieces, piece);
	for (guint i = 0; i < piece->runs->len && zeroed; i++) {
		const struct extent run = g_array_index(piece->runs, struct extent, i);

		/* Parts that were taken meanwhile are not used yet: their new owner waits in clean_wait(). */
		extent_set_remove(pool->stale, run);
		extent_set_find(pool->allocator, run, free);
	}
	for (guint i = 0; i < free->len; i++)
		extent_set_add(pool->clean, g_array_index(free, struct extent, i));
	g_cond_broadcast(&pool->returned);
	g_mutex_unlock(&pool->lock);
}

static void hurry(struct pool_piece *piece)
{
	if (!piece->hurried)
		piece->hurry(piece->data);
	piece->hurried = true;
}

void pool_stop_zeroing(struct pool *pool)
{
	g_mutex_lock(&pool->lock);
	pool->stopped = true;
	for (guint i = 0; i < pool->pieces->len; i++)
		hurry(g_ptr_array_index(pool->pieces, i));
	g_cond_broadcast(&pool->work);
	g_mutex_unlock(&pool->lock);
}

static bool overlap(const struct extent *a, const struct extent *b)
{
	return a->start < b->start + b->length && b->start < a->start + a->length;
}

static bool overlaps_any(const struct extent *part, const GArray *runs, guint first)
{
	for (guint i = first; i < runs->len; i++) {
		if (overlap(part, &g_array_index(runs, struct extent, i)))
			return true;
	}
	return false;
}

static bool is_awaited(const struct pool *pool, const struct pool_piece *piece, const GArray *runs, guint first)
{
	g_autoptr(GArray) taken = extents_new();

	for (guint i = 0; i < piece->runs->len; i++)
		extent_set_find(pool->stale, g_array_index(piece->runs, struct extent, i), taken);
	for (guint i = 0; i < taken->len; i++) {
		if (overlaps_any(&g_array_index(taken, struct extent, i), runs, first))
			return true;
	}
	return false;
}

static bool is_any_awaited(const struct pool *pool, const GArray *runs, guint first)
{
	bool awaited = false;

	for (guint i = 0; i < pool->pieces->len; i++) {
		struct pool_piece *piece = g_ptr_array_index(pool->pieces, i);

		if (is_awaited(pool, piece, runs, first)) {
			hurry(piece);
			awaited = true;
		}
	}
	return awaited;
}

void clean_wait(struct pool *pool, const GArray *runs, guint first)
{
	while (is_any_awaited(pool, runs, first))
		g_cond_wait(&pool->returned, &pool->lock);
}

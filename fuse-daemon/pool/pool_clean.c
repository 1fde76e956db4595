// SPDX-License-Identifier: GPL-2.0-or-later
/* What of the pool's memory is zero: accounts, and pieces for the workers. Who gets clean memory: pool_choose.c. */
#include "pool/pool_clean.h"

#include "pool/extent_set.h"
#include "pool/pool_internal.h"

void placement_need_zeroing(struct placement *placement)
{
	placement->clean = placement_new_set(placement);
	placement->stale = placement_new_set(placement);
}

void placement_believe(struct placement *placement, struct extent run, GArray *believed)
{
	guint first = believed->len;

	g_mutex_lock(&placement->lock);
	if (placement->clean)
		extent_set_find(placement->allocator, run, believed);
	for (guint i = first; i < believed->len; i++)
		extent_set_add(placement->clean, g_array_index(believed, struct extent, i));
	g_mutex_unlock(&placement->lock);
}

static void list(struct placement *placement, const struct allocator *set, const struct extent *runs, guint count,
                 GArray *out)
{
	g_mutex_lock(&placement->lock);
	for (guint i = 0; i < count && set; i++)
		extent_set_find(set, runs[i], out);
	g_mutex_unlock(&placement->lock);
}

void placement_list_stale(struct placement *placement, const struct extent *runs, guint count, GArray *stale)
{
	list(placement, placement->stale, runs, count, stale);
}

void placement_list_clean(struct placement *placement, const struct extent *runs, guint count, GArray *clean)
{
	list(placement, placement->clean, runs, count, clean);
}

void placement_set_zeroed(struct placement *placement, const struct extent *runs, guint count)
{
	g_mutex_lock(&placement->lock);
	for (guint i = 0; i < count && placement->stale; i++)
		extent_set_remove(placement->stale, runs[i]);
	g_mutex_unlock(&placement->lock);
}

void clean_note_freed(struct placement *placement, const struct extent *runs, guint count, bool unused)
{
	g_autoptr(GArray) clean = extents_new();

	if (!placement->clean)
		return;
	for (guint i = 0; i < count; i++) {
		if (unused)
			extent_set_find_missing(placement->stale, runs[i], clean);
		extent_set_remove(placement->stale, runs[i]);
	}
	for (guint i = 0; i < clean->len; i++)
		extent_set_add(placement->clean, g_array_index(clean, struct extent, i));
	g_cond_broadcast(&placement->work);
}

static uint64_t zeroing_bytes(const struct placement *placement)
{
	g_autoptr(GArray) free = extents_new();
	uint64_t bytes = 0;

	for (guint i = 0; i < placement->pieces->len; i++) {
		const struct placement_piece *piece = g_ptr_array_index(placement->pieces, i);

		for (guint k = 0; k < piece->runs->len; k++)
			extent_set_find(placement->allocator, g_array_index(piece->runs, struct extent, k), free);
	}
	for (guint i = 0; i < free->len; i++)
		bytes += g_array_index(free, struct extent, i).length;
	return bytes;
}

void clean_get_usage(struct placement *placement, struct placement_usage *usage)
{
	usage->clean = placement->clean ? extent_set_bytes(placement->clean) : usage->free;
	usage->zeroing = zeroing_bytes(placement);
	usage->dirty = usage->free - usage->clean - usage->zeroing;
}

/* Adds what is dirty in [@from, @to) to the piece, as far as it may. */
static void collect(struct placement *placement, struct placement_piece *piece, uint64_t from, uint64_t to,
                    uint64_t *room)
{
	struct extent run, clean;

	while (*room > 0 && piece->runs->len < PLACEMENT_PIECE_RUNS &&
	       allocator_next_free(placement->allocator, piece->regions, from, to, &run)) {
		uint64_t end = run.start + run.length;

		if (!allocator_next_free(placement->clean, piece->regions, run.start, end, &clean))
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

/* From where the last piece ended round to there, so that all memory gets its turn however fast some becomes dirty. */
static bool find_piece(struct placement *placement, struct placement_piece *piece)
{
	uint64_t room = piece->max_bytes, start = piece->at;

	g_array_set_size(piece->runs, 0);
	if (!placement->clean || placement->stopped ||
	    allocator_available(placement->allocator, DMEMFS_PAGE_4K, piece->regions) ==
	    allocator_available(placement->clean, DMEMFS_PAGE_4K, piece->regions))
		return false;
	collect(placement, piece, start, UINT64_MAX, &room);
	if (piece->runs->len == 0)
		collect(placement, piece, 0, start, &room);
	return piece->runs->len > 0;
}

bool placement_begin_zeroing(struct placement *placement, struct placement_piece *piece, bool wait)
{
	bool found;

	g_mutex_lock(&placement->lock);
	while (!(found = find_piece(placement, piece)) && wait && !placement->stopped)
		g_cond_wait(&placement->work, &placement->lock);
	if (found) {
		piece->hurried = false;
		g_ptr_array_add(placement->pieces, piece);
	}
	g_mutex_unlock(&placement->lock);
	return found;
}

void placement_end_zeroing(struct placement *placement, struct placement_piece *piece, bool zeroed)
{
	g_autoptr(GArray) free = extents_new();

	g_mutex_lock(&placement->lock);
	g_ptr_array_remove_fast(placement->pieces, piece);
	for (guint i = 0; i < piece->runs->len && zeroed; i++) {
		const struct extent run = g_array_index(piece->runs, struct extent, i);

		/* What was taken meanwhile is still waited for: nobody has used it yet. */
		extent_set_remove(placement->stale, run);
		extent_set_find(placement->allocator, run, free);
	}
	for (guint i = 0; i < free->len; i++)
		extent_set_add(placement->clean, g_array_index(free, struct extent, i));
	g_cond_broadcast(&placement->returned);
	g_mutex_unlock(&placement->lock);
}

static void hurry(struct placement_piece *piece)
{
	if (!piece->hurried)
		piece->hurry(piece->data);
	piece->hurried = true;
}

void placement_stop_zeroing(struct placement *placement)
{
	g_mutex_lock(&placement->lock);
	placement->stopped = true;
	for (guint i = 0; i < placement->pieces->len; i++)
		hurry(g_ptr_array_index(placement->pieces, i));
	g_cond_broadcast(&placement->work);
	g_mutex_unlock(&placement->lock);
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

static bool is_awaited(const struct placement *placement, const struct placement_piece *piece, const GArray *runs,
                       guint first)
{
	g_autoptr(GArray) taken = extents_new();

	for (guint i = 0; i < piece->runs->len; i++)
		extent_set_find(placement->stale, g_array_index(piece->runs, struct extent, i), taken);
	for (guint i = 0; i < taken->len; i++) {
		if (overlaps_any(&g_array_index(taken, struct extent, i), runs, first))
			return true;
	}
	return false;
}

static bool is_any_awaited(const struct placement *placement, const GArray *runs, guint first)
{
	bool awaited = false;

	for (guint i = 0; i < placement->pieces->len; i++) {
		struct placement_piece *piece = g_ptr_array_index(placement->pieces, i);

		if (is_awaited(placement, piece, runs, first)) {
			hurry(piece);
			awaited = true;
		}
	}
	return awaited;
}

void clean_wait(struct placement *placement, const GArray *runs, guint first)
{
	while (is_any_awaited(placement, runs, first))
		g_cond_wait(&placement->returned, &placement->lock);
}

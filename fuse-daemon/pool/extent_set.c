// SPDX-License-Identifier: GPL-2.0-or-later
/* Sets of memory, kept in the allocator's tree. */
#include "pool/extent_set.h"

static uint64_t end_of(struct extent run)
{
	return run.start + run.length;
}

static void append(GArray *runs, uint64_t start, uint64_t end)
{
	struct extent run = { start, end - start };

	g_array_append_val(runs, run);
}

/* Finds the first part of [@from, @end) that is in the set. */
static bool next_part(const struct allocator *set, uint64_t from, uint64_t end, struct extent *part)
{
	return from < end && allocator_next_free(set, ALLOCATOR_ANY_REGION, from, end, part);
}

void extent_set_find(const struct allocator *set, struct extent run, GArray *found)
{
	struct extent part;

	for (uint64_t at = run.start; next_part(set, at, end_of(run), &part); at = end_of(part))
		g_array_append_val(found, part);
}

void extent_set_find_missing(const struct allocator *set, struct extent run, GArray *missing)
{
	uint64_t at = run.start;
	struct extent part;

	while (next_part(set, at, end_of(run), &part)) {
		if (part.start > at)
			append(missing, at, part.start);
		at = end_of(part);
	}
	if (at < end_of(run))
		append(missing, at, end_of(run));
}

void extent_set_add(struct allocator *set, struct extent run)
{
	g_autoptr(GArray) missing = g_array_new(FALSE, FALSE, sizeof(struct extent));

	extent_set_find_missing(set, run, missing);
	for (guint i = 0; i < missing->len; i++) {
		const struct extent *part = &g_array_index(missing, struct extent, i);

		if (allocator_free(set, part->start, part->length) < 0)
			g_error("extent set: 0x%" G_GINT64_MODIFIER "x+%" G_GUINT64_FORMAT " lies in no region",
			        part->start, part->length);
	}
}

void extent_set_remove(struct allocator *set, struct extent run)
{
	struct extent part;

	for (uint64_t at = run.start; next_part(set, at, end_of(run), &part); at = end_of(part))
		allocator_claim(set, part.start, part.length);
}

bool extent_set_has(const struct allocator *set, struct extent run)
{
	uint64_t at = run.start;
	struct extent part;

	/* The run may span adjacent regions: one part for each. */
	while (next_part(set, at, end_of(run), &part) && part.start == at)
		at = end_of(part);
	return at == end_of(run);
}

uint64_t extent_set_bytes(const struct allocator *set)
{
	return allocator_available(set, DMEMFS_PAGE_4K, ALLOCATOR_ANY_REGION);
}

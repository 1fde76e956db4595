// SPDX-License-Identifier: GPL-2.0-or-later
/* Lists of runs of memory. */
#include "base/extent.h"

gint extents_compare(gconstpointer a, gconstpointer b)
{
	const struct extent *first = a, *second = b;

	return first->start < second->start ? -1 : first->start > second->start;
}

struct extent extent_overlap(const struct extent *a, const struct extent *b)
{
	uint64_t from = MAX(a->start, b->start), to = MIN(a->start + a->length, b->start + b->length);

	return (struct extent){ from, to > from ? to - from : 0 };
}

uint64_t extents_bytes(const GArray *extents)
{
	uint64_t bytes = 0;

	for (guint i = 0; i < extents->len; i++)
		bytes += g_array_index(extents, struct extent, i).length;
	return bytes;
}

void extents_merge(GArray *extents)
{
	g_array_sort(extents, extents_compare);
	for (guint i = 1; i < extents->len;) {
		struct extent *before = &g_array_index(extents, struct extent, i - 1);
		const struct extent *extent = &g_array_index(extents, struct extent, i);
		uint64_t end = before->start + before->length;

		if (extent->start > end) {
			i++;
			continue;
		}
		before->length = MAX(end, extent->start + extent->length) - before->start;
		g_array_remove_index(extents, i);
	}
}

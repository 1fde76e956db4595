// SPDX-License-Identifier: GPL-2.0-or-later
/* The runs of one file, as a sorted array. */
#include "base/extent_map.h"

#include <string.h>

struct extent_map {
	struct extent_map_run *runs; /* by rising offset */
	guint count;
	guint room; /* of runs, in elements */
	uint64_t bytes;
};

G_STATIC_ASSERT(sizeof(struct extent_map_run) == 24);

static uint64_t run_end(const struct extent_map_run *run)
{
	return run->offset + run->extent.length;
}

struct extent_map *extent_map_new(void)
{
	return g_new0(struct extent_map, 1);
}

void extent_map_destroy(struct extent_map *map)
{
	if (!map)
		return;
	g_free(map->runs);
	g_free(map);
}

/* Index of the first run that ends after @offset: it contains @offset or is the next one. count when there is none. */
static guint find(const struct extent_map *map, uint64_t offset)
{
	guint low = 0;
	guint high = map->count;

	/* Files are mostly extended at their end. */
	if (high > 0 && run_end(&map->runs[high - 1]) <= offset)
		return high;
	while (low < high) {
		guint middle = low + (high - low) / 2;

		if (run_end(&map->runs[middle]) <= offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Allocates exactly one run at first, the common case. Doubles after that, so that appending is O(1). */
static void make_room(struct extent_map *map, guint count)
{
	if (count <= map->room)
		return;
	map->room = MAX(count, map->room * 2);
	map->runs = g_renew(struct extent_map_run, map->runs, map->room);
}

/* Frees memory when three quarters are unused. At half, a run that comes and goes would make it copy each time. */
static void trim_room(struct extent_map *map)
{
	if (map->count > map->room / 4)
		return;
	map->room = map->count;
	map->runs = g_renew(struct extent_map_run, map->runs, map->room);
}

/* Replaces @drop runs at @index by @add uninitialised ones. */
static void splice(struct extent_map *map, guint index, guint drop, guint add)
{
	guint after = map->count - index - drop;

	make_room(map, map->count - drop + add);
	if (after > 0 && add != drop)
		memmove(&map->runs[index + add], &map->runs[index + drop], after * sizeof(*map->runs));
	map->count = map->count - drop + add;
	trim_room(map);
}

/* Does @next begin where @run ends, in the file and in memory? */
static bool continues(const struct extent_map_run *run, const struct extent_map_run *next)
{
	return run_end(run) == next->offset && run->extent.start + run->extent.length == next->extent.start;
}

void extent_map_insert(struct extent_map *map, uint64_t offset, struct extent extent)
{
	struct extent_map_run run = { .offset = offset, .extent = extent };
	guint index = find(map, offset);

	g_assert(extent.length > 0 && offset < EXTENT_MAP_NONE && extent.length <= EXTENT_MAP_NONE - offset);
	g_assert(index == map->count || run_end(&run) <= map->runs[index].offset);

	bool with_last = index > 0 && continues(&map->runs[index - 1], &run);
	bool with_next = index < map->count && continues(&run, &map->runs[index]);

	map->bytes += extent.length;
	if (with_last && with_next) {
		map->runs[index - 1].extent.length += extent.length + map->runs[index].extent.length;
		splice(map, index, 1, 0);
	} else if (with_last) {
		map->runs[index - 1].extent.length += extent.length;
	} else if (with_next) {
		run.extent.length += map->runs[index].extent.length;
		map->runs[index] = run;
	} else {
		splice(map, index, 0, 1);
		map->runs[index] = run;
	}
}

/* The part of @run that lies in [from, to); the range must touch it. */
static struct extent_map_run clip(const struct extent_map_run *run, uint64_t from, uint64_t to)
{
	uint64_t begin = MAX(run->offset, from);
	uint64_t end = MIN(run_end(run), to);

	return (struct extent_map_run){
		.offset = begin,
		.extent = { .start = run->extent.start + (begin - run->offset), .length = end - begin },
	};
}

void extent_map_remove(struct extent_map *map, uint64_t offset, uint64_t length, GArray *runs)
{
	uint64_t to = length > EXTENT_MAP_NONE - MIN(offset, EXTENT_MAP_NONE) ? EXTENT_MAP_NONE : offset + length;
	guint first = find(map, offset);
	guint past = first;
	struct extent_map_run kept[2];
	guint keep = 0;

	for (; past < map->count && map->runs[past].offset < to; past++) {
		const struct extent_map_run *run = &map->runs[past];
		struct extent_map_run gone = clip(run, offset, to);

		g_array_append_val(runs, gone.extent);
		map->bytes -= gone.extent.length;
		if (run->offset < offset)
			kept[keep++] = clip(run, run->offset, offset);
		if (run_end(run) > to)
			kept[keep++] = clip(run, to, run_end(run));
	}
	if (past == first)
		return;
	splice(map, first, past - first, keep);
	for (guint i = 0; i < keep; i++)
		map->runs[first + i] = kept[i];
}

bool extent_map_lookup(const struct extent_map *map, uint64_t offset, struct extent_map_run *run)
{
	guint index = find(map, offset);

	if (index == map->count)
		return false;
	*run = map->runs[index];
	return true;
}

void extent_map_gaps(const struct extent_map *map, uint64_t from, uint64_t to, GArray *gaps)
{
	for (guint i = find(map, from); from < to; i++) {
		uint64_t data = i < map->count ? MIN(map->runs[i].offset, to) : to;

		if (from < data) {
			struct extent_gap gap = { .offset = from, .length = data - from };

			g_array_append_val(gaps, gap);
		}
		from = i < map->count ? run_end(&map->runs[i]) : to;
	}
}

uint64_t extent_map_next_data(const struct extent_map *map, uint64_t offset)
{
	guint index = find(map, offset);

	return index < map->count ? MAX(offset, map->runs[index].offset) : EXTENT_MAP_NONE;
}

uint64_t extent_map_next_hole(const struct extent_map *map, uint64_t offset)
{
	/* Adjacent runs of the file are separate when their memory is not adjacent. */
	for (guint i = find(map, offset); i < map->count && map->runs[i].offset <= offset; i++)
		offset = run_end(&map->runs[i]);
	return offset;
}

uint64_t extent_map_end(const struct extent_map *map)
{
	return map->count > 0 ? run_end(&map->runs[map->count - 1]) : 0;
}

uint64_t extent_map_bytes(const struct extent_map *map)
{
	return map->bytes;
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* Which file has which memory of the regions: the data of dmemfsctl map. */
#include "dmemfsctl/map.h"

static gint by_memory(gconstpointer a, gconstpointer b)
{
	const struct dmem_file *first = *(const struct dmem_file *const *)a,
			       *second = *(const struct dmem_file *const *)b;

	if (first->allocated != second->allocated)
		return first->allocated > second->allocated ? -1 : 1;
	return g_strcmp0(first->path, second->path);
}

/* Adds a run. It may go on in the next region: then it becomes several pieces. */
static void add_run(struct map *map, struct extent extent, guint file)
{
	for (guint i = 0; i < map->view->regions->len; i++) {
		const struct extent *region = &g_array_index(map->view->regions, struct view_region, i).extent;
		uint64_t start = MAX(extent.start, region->start);
		uint64_t end = MIN(extent.start + extent.length, region->start + region->length);
		struct map_piece piece = { { start, end - start }, file };

		if (start < end)
			g_array_append_val(g_ptr_array_index(map->pieces, i), piece);
	}
}

static void array_free(gpointer array)
{
	g_array_unref(array);
}

struct map *map_new(const struct view *view, const GPtrArray *files)
{
	struct map *map = g_new0(struct map, 1);

	map->view = view;
	map->files = g_ptr_array_new();
	map->pieces = g_ptr_array_new_with_free_func(array_free);
	for (guint i = 0; i < view->regions->len; i++)
		g_ptr_array_add(map->pieces, g_array_new(FALSE, FALSE, sizeof(struct map_piece)));
	for (guint i = 0; i < files->len; i++) {
		struct dmem_file *file = g_ptr_array_index(files, i);

		if (file->runs->len > 0)
			g_ptr_array_add(map->files, file);
	}
	g_ptr_array_sort(map->files, by_memory);
	for (guint i = 0; i < map->files->len; i++) {
		const struct dmem_file *file = g_ptr_array_index(map->files, i);

		for (guint run = 0; run < file->runs->len; run++)
			add_run(map, g_array_index(file->runs, struct extent_map_run, run).extent, i);
	}
	for (guint i = 0; i < view->lent->len; i++)
		add_run(map, g_array_index(view->lent, struct view_lent, i).extent, MAP_LENT);
	for (guint i = 0; i < map->pieces->len; i++)
		g_array_sort(g_ptr_array_index(map->pieces, i), extents_compare);
	return map;
}

void map_destroy(struct map *map)
{
	if (!map)
		return;
	g_ptr_array_unref(map->files);
	g_ptr_array_unref(map->pieces);
	g_free(map);
}

uint64_t map_scale(uint64_t length, uint64_t count, uint64_t least)
{
	uint64_t scale = least;

	while (length / scale + (length % scale != 0) > count)
		scale *= 2;
	return scale;
}

uint64_t map_look(const GArray *pieces, uint64_t start, uint64_t length, int *file)
{
	uint64_t used = 0, most = 0, of_one = 0;

	*file = -1;
	for (guint i = 0; i < pieces->len; i++) {
		const struct map_piece *piece = &g_array_index(pieces, struct map_piece, i);
		uint64_t from = MAX(piece->extent.start, start);
		uint64_t to = MIN(piece->extent.start + piece->extent.length, start + length);

		if (from >= to)
			continue;
		used += to - from;
		/* Adds up only pieces of a file that follow each other, which is precise enough for a picture. */
		of_one = i > 0 && g_array_index(pieces, struct map_piece, i - 1).file == piece->file
		                 ? of_one + (to - from)
		                 : to - from;
		if (of_one > most) {
			most = of_one;
			*file = (int)piece->file;
		}
	}
	return used;
}

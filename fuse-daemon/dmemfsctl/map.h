/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What lies where in the regions: the data of dmemfsctl map, and its pictures. */
#ifndef DMEMFSCTL_MAP_H
#define DMEMFSCTL_MAP_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "dmemfsctl/files.h"
#include "dmemfsctl/view.h"

/* A run of memory in one region that belongs to one file. */
struct map_piece {
	struct extent extent;
	guint file; /* index in map->files */
};

struct map {
	const struct view *view;
	GPtrArray *files;  /* struct dmem_file with memory, not owned; the largest first */
	GPtrArray *pieces; /* per region of the view a GArray of struct map_piece, by address */
};

/* @files: those of files_collect(), which must stay as long as the map. */
struct map *map_new(const struct view *view, const GPtrArray *files);
void map_destroy(struct map *map);
typedef struct map map_t;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(map_t, map_destroy)

/*
 * The power of two that cuts @length into at most @count parts, no less than @least. Bytes.
 */
uint64_t map_scale(uint64_t length, uint64_t count, uint64_t least);
/* Of [start, start + length): bytes in files, and of them the file that has most, or -1. */
uint64_t map_look(const GArray *pieces, uint64_t start, uint64_t length, int *file);

/*
 * Rows of cells, and a legend; g_malloc'ed. @colour: a block per cell in the colour of its file, else letters.
 * @unicode: the terminal has block characters.
 */
char *map_text(const struct map *map, bool colour, bool unicode);
/* An SVG document, g_malloc'ed: a rectangle per run, with its file as tooltip. */
char *map_svg(const struct map *map);

#endif

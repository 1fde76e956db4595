/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which file has which memory of the regions: the data of dmemfsctl map, and its pictures. */
#ifndef DMEMFSCTL_MAP_H
#define DMEMFSCTL_MAP_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "dmemfsctl/files.h"
#include "dmemfsctl/view.h"

/* Instead of a file: the memory is lent to the host. */
#define MAP_LENT G_MAXINT

/* A run of memory in one region that belongs to one file, or is lent. */
struct map_piece {
	struct extent extent;
	guint file; /* index in map->files, or MAP_LENT */
};

struct map {
	const struct view *view;
	GPtrArray *files;  /* struct dmem_file with memory, not owned; the largest first */
	GPtrArray *pieces; /* per region of the view a GArray of struct map_piece, by address */
};

/* @files: the files of files_collect(). @view and @files must outlive the map. */
struct map *map_new(const struct view *view, const GPtrArray *files);
void map_destroy(struct map *map);
typedef struct map map_t;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(map_t, map_destroy)

/* The smallest power of two, at least @least, that divides @length into at most @count parts. In bytes. */
uint64_t map_scale(uint64_t length, uint64_t count, uint64_t least);
/* Returns how many bytes of [start, start + length) are in files or lent. *@file: what has most of them, or -1. */
uint64_t map_look(const GArray *pieces, uint64_t start, uint64_t length, int *file);

/*
 * The map as text: rows of cells and a legend; g_malloc'ed. @colour: a cell is a block in the colour of its file,
 * else a letter; "+": it is lent. @unicode: the terminal has block characters.
 */
char *map_text(const struct map *map, bool colour, bool unicode);
/* The map as SVG document, g_malloc'ed: a rectangle for each run, with its file as tooltip. */
char *map_svg(const struct map *map);

#endif

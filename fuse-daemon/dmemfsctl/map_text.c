// SPDX-License-Identifier: GPL-2.0-or-later
/* The map as text. */
#include <string.h>

#include "dmemfsctl/map.h"
#include "dmemfsctl/text.h"

#define COLUMNS    64
#define ROWS       16
#define LEGEND_MAX 26

/* Colours of the terminal's 256 that differ from each other, and from black and white. */
static const int colours[] = { 33, 208, 34, 160, 99, 136, 37, 199, 70, 25, 172, 127, 30, 167, 61, 106 };

#define COLOUR_LENT 245 /* grey */

static int colour_of(int file)
{
	return file == MAP_LENT ? COLOUR_LENT : colours[(gsize)file % G_N_ELEMENTS(colours)];
}

static char letter_of(int file)
{
	if (file == MAP_LENT)
		return '+';
	return file < LEGEND_MAX ? (char)('A' + file) : '#';
}

/* A character that shows which part of @length is used. */
static const char *shade(uint64_t used, uint64_t length, bool unicode)
{
	static const char *const blocks[] = { "\u2591", "\u2592", "\u2593", "\u2588" };
	static const char *const plain[] = { ".", "-", "=", "#" };
	uint64_t step = used == length ? 3 : used * 3 / length;

	return unicode ? blocks[step] : plain[step];
}

/* The state of drawing. */
struct pen {
	bool colour;
	bool unicode;
	int file; /* the file whose colour is set; -1: the terminal's own colour */
};

static void set_colour(GString *text, struct pen *pen, int file)
{
	if (!pen->colour || pen->file == file)
		return;
	if (file < 0)
		g_string_append(text, "\033[0m");
	else
		g_string_append_printf(text, "\033[38;5;%dm", colour_of(file));
	pen->file = file;
}

static void append_cell(GString *text, struct pen *pen, uint64_t used, uint64_t length, int file)
{
	set_colour(text, pen, used ? file : -1);
	if (used == 0)
		g_string_append(text, pen->unicode ? "\u00b7" : ".");
	else if (pen->colour)
		g_string_append(text, shade(used, length, pen->unicode));
	else
		g_string_append_c(text, letter_of(file));
}

static void append_region(GString *text, const struct map *map, guint index, struct pen *pen)
{
	const struct view_region *region = &g_array_index(map->view->regions, struct view_region, index);
	uint64_t start = region->extent.start, end = start + region->extent.length;
	uint64_t cell = map_scale(region->extent.length, COLUMNS * ROWS, map->view->page_size);
	g_autofree char *size = text_size(region->extent.length);
	g_autofree char *free_size = text_size(region->free);
	g_autofree char *cell_size = text_size(cell);

	g_string_append_printf(text, "region %u: %s, %s free, node ", index, size, free_size);
	if (region->node < 0)
		g_string_append(text, "unknown");
	else
		g_string_append_printf(text, "%d", region->node);
	g_string_append_printf(text, "; a cell is %s\n", cell_size);
	for (uint64_t row = start; row < end; row += COLUMNS * cell) {
		g_string_append_printf(text, "%#14" G_GINT64_MODIFIER "x ", row);
		for (uint64_t at = row; at < MIN(end, row + COLUMNS * cell); at += cell) {
			uint64_t length = MIN(cell, end - at);
			int file;
			uint64_t used = map_look(g_ptr_array_index(map->pieces, index), at, length, &file);

			append_cell(text, pen, used, length, file);
		}
		set_colour(text, pen, -1);
		g_string_append_c(text, '\n');
	}
}

static void append_amount(GString *text, uint64_t bytes, const char *what)
{
	g_autofree char *size = text_size(bytes);

	if (bytes)
		g_string_append_printf(text, "%s %s\n", size, what);
}

static void append_legend(GString *text, const struct map *map, struct pen *pen)
{
	for (guint i = 0; i < MIN(map->files->len, LEGEND_MAX); i++) {
		const struct dmem_file *file = g_ptr_array_index(map->files, i);
		g_autofree char *size = text_size(file->allocated);
		g_autofree char *name = text_visible(file->path);

		append_cell(text, pen, 1, 1, (int)i);
		set_colour(text, pen, -1);
		g_string_append_printf(text, " %s (%s)\n", name, size);
	}
	if (map->files->len > LEGEND_MAX)
		g_string_append_printf(text, "%s %u more files\n", pen->colour ? "..." : "#",
		                       map->files->len - LEGEND_MAX);
	if (map->view->lent->len > 0) {
		append_cell(text, pen, 1, 1, MAP_LENT);
		set_colour(text, pen, -1);
		g_string_append_c(text, ' ');
		append_amount(text, view_figure(map->view, "lent_bytes"), "are lent to the host");
	}
	append_amount(text, view_figure(map->view, "pending_bytes"), "of removed files are pending");
	append_amount(text, view_figure(map->view, "pinned_bytes"), "that no file has are pinned by devices");
}

char *map_text(const struct map *map, bool colour, bool unicode)
{
	struct pen pen = { colour, unicode, -1 };
	GString *text = g_string_new(NULL);

	for (guint i = 0; i < map->view->regions->len; i++)
		append_region(text, map, i, &pen);
	append_legend(text, map, &pen);
	return g_string_free(text, FALSE);
}

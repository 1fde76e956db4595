// SPDX-License-Identifier: GPL-2.0-or-later
/* The map as SVG. */
#include "dmemfsctl/map.h"
#include "dmemfsctl/text.h"

#define WIDTH      1024 /* width of a row of memory; all in pixels */
#define LEFT       130  /* room for the address before a row */
#define MARGIN     16
#define ROW        14
#define GAP        3
#define LINE       20
#define ROWS_MAX   32
#define LEGEND_MAX 40

/* Steps by the golden angle, in degrees, so that consecutive files get hues that differ much. */
static guint hue_of(guint file)
{
	return file * 222u % 360u;
}

static void append_text(GString *svg, double x, double y, const char *text)
{
	g_autofree char *escaped = g_markup_escape_text(text, -1);

	g_string_append_printf(svg, "<text x=\"%.0f\" y=\"%.0f\">%s</text>\n", x, y, escaped);
}

static void append_rectangle(GString *svg, double x, double y, double width, guint file, const char *title)
{
	g_autofree char *escaped = g_markup_escape_text(title, -1);
	/* What is lent is grey. */
	guint saturation = file == MAP_LENT ? 0 : 60;

	g_string_append_printf(svg,
	                       "<rect x=\"%.3f\" y=\"%.0f\" width=\"%.3f\" height=\"%d\" fill=\"hsl(%u,%u%%,50%%)\">"
	                       "<title>%s</title></rect>\n",
	                       x, y, width, ROW, hue_of(file), saturation, escaped);
}

static char *name_of(const struct map *map, guint file)
{
	if (file == MAP_LENT)
		return g_strdup("lent to the host");
	return text_visible(((const struct dmem_file *)g_ptr_array_index(map->files, file))->path);
}

/* The part of @piece that lies in the row of memory from @start on. */
static void append_piece(GString *svg, const struct map *map, const struct map_piece *piece, uint64_t start,
                         uint64_t per_row, double y)
{
	uint64_t from = MAX(piece->extent.start, start);
	uint64_t to = MIN(piece->extent.start + piece->extent.length, start + per_row);

	if (from >= to)
		return;

	g_autofree char *name = name_of(map, piece->file);
	g_autofree char *size = text_size(piece->extent.length);
	g_autofree char *title =
		g_strdup_printf("%s: %s at 0x%" G_GINT64_MODIFIER "x", name, size, piece->extent.start);
	double scale = (double)WIDTH / (double)per_row;

	append_rectangle(svg, LEFT + (double)(from - start) * scale, y, (double)(to - from) * scale, piece->file,
	                 title);
}

static double append_region(GString *svg, const struct map *map, guint index, double y)
{
	const struct view_region *region = &g_array_index(map->view->regions, struct view_region, index);
	const GArray *pieces = g_ptr_array_index(map->pieces, index);
	uint64_t start = region->extent.start, end = start + region->extent.length;
	uint64_t per_row = map_scale(region->extent.length, ROWS_MAX, map->view->page_size);
	g_autofree char *size = text_size(region->extent.length);
	g_autofree char *free_size = text_size(region->free);
	g_autofree char *row_size = text_size(per_row);
	g_autofree char *node = region->node < 0 ? g_strdup("unknown") : g_strdup_printf("%d", region->node);
	g_autofree char *title =
		g_strdup_printf("region %u: %s, %s free, node %s; a row is %s", index, size, free_size, node, row_size);

	append_text(svg, MARGIN, y + LINE - 6, title);
	y += LINE;
	for (uint64_t row = start; row < end; row += per_row) {
		g_autofree char *address = g_strdup_printf("0x%" G_GINT64_MODIFIER "x", row);
		double width = (double)MIN(per_row, end - row) * WIDTH / (double)per_row;

		append_text(svg, MARGIN, y + ROW - 3, address);
		g_string_append_printf(svg, "<rect x=\"%d\" y=\"%.0f\" width=\"%.3f\" height=\"%d\" class=\"free\"/>\n",
		                       LEFT, y, width, ROW);
		for (guint i = 0; i < pieces->len; i++)
			append_piece(svg, map, &g_array_index(pieces, struct map_piece, i), row, per_row, y);
		y += ROW + GAP;
	}
	return y + LINE;
}

static double append_legend(GString *svg, const struct map *map, double y)
{
	for (guint i = 0; i < MIN(map->files->len, LEGEND_MAX); i++) {
		const struct dmem_file *file = g_ptr_array_index(map->files, i);
		g_autofree char *name = text_visible(file->path);
		g_autofree char *size = text_size(file->allocated);
		g_autofree char *text = g_strdup_printf("%s (%s)", name, size);

		append_rectangle(svg, LEFT, y, ROW, i, text);
		append_text(svg, LEFT + LINE, y + ROW - 3, text);
		y += LINE;
	}
	if (map->view->lent->len > 0) {
		g_autofree char *size = text_size(view_figure(map->view, "lent_bytes"));
		g_autofree char *text = g_strdup_printf("lent to the host (%s)", size);

		append_rectangle(svg, LEFT, y, ROW, MAP_LENT, text);
		append_text(svg, LEFT + LINE, y + ROW - 3, text);
		y += LINE;
	}
	if (map->files->len > LEGEND_MAX) {
		g_autofree char *text = g_strdup_printf("and %u more files", map->files->len - LEGEND_MAX);

		append_text(svg, LEFT + LINE, y + ROW - 3, text);
		y += LINE;
	}
	return y;
}

char *map_svg(const struct map *map)
{
	g_autoptr(GString) body = g_string_new(NULL);
	g_autofree char *root = text_visible(map->view->root);
	g_autofree char *title = g_strdup_printf("dmemfs at %s", root);
	double y = MARGIN;

	append_text(body, MARGIN, y + LINE - 6, title);
	y += 2 * LINE;
	for (guint i = 0; i < map->view->regions->len; i++)
		y = append_region(body, map, i, y);
	y = append_legend(body, map, y);
	return g_strdup_printf("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%.0f\">\n"
	                       "<style>text { font: 12px monospace; } .free { fill: #eee; stroke: #ccc; }</style>\n"
	                       "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n%s</svg>\n",
	                       LEFT + WIDTH + MARGIN, y + MARGIN, body->str);
}

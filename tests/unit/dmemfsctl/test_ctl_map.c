// SPDX-License-Identifier: GPL-2.0-or-later
/* The pictures of dmemfsctl map: what is lent to the host differs from files and from free memory. */
#include "dmemfsctl/map.h"

#include <string.h>

#define GIB (UINT64_C(1) << 30)

/* A region of eight gigabytes: the first is a file's, the last two are lent. */
struct host {
	struct view view;
	struct dmem_file file;
	GPtrArray *files;
	struct map *map;
};

static void set_up(struct host *host, gconstpointer data)
{
	const struct view_region region = { .extent = { 4 * GIB, 8 * GIB }, .free = 5 * GIB };
	const struct view_figure figure = { (char *)"lent_bytes", 2 * GIB };
	const struct view_lent lent[] = { { { 10 * GIB, GIB }, "lent" }, { { 11 * GIB, GIB }, "pinned" } };
	const struct extent_map_run run = { 0, { 4 * GIB, GIB } };

	(void)data;
	host->view = (struct view){ .root = (char *)"/mnt", .page_size = GIB };
	host->view.regions = g_array_new(FALSE, FALSE, sizeof(region));
	g_array_append_val(host->view.regions, region);
	host->view.figures = g_array_new(FALSE, FALSE, sizeof(figure));
	g_array_append_val(host->view.figures, figure);
	host->view.lent = g_array_new(FALSE, FALSE, sizeof(lent[0]));
	g_array_append_vals(host->view.lent, lent, G_N_ELEMENTS(lent));
	host->file = (struct dmem_file){ .path = (char *)"vm1", .allocated = GIB };
	host->file.runs = g_array_new(FALSE, FALSE, sizeof(run));
	g_array_append_val(host->file.runs, run);
	host->files = g_ptr_array_new();
	g_ptr_array_add(host->files, &host->file);
	host->map = map_new(&host->view, host->files);
}

static void tear_down(struct host *host, gconstpointer data)
{
	(void)data;
	map_destroy(host->map);
	g_ptr_array_unref(host->files);
	g_array_unref(host->file.runs);
	g_array_unref(host->view.regions);
	g_array_unref(host->view.figures);
	g_array_unref(host->view.lent);
}

static void as_text(struct host *host, gconstpointer data)
{
	g_autofree char *text = map_text(host->map, false, false);
	g_autofree char *coloured = map_text(host->map, true, true);

	(void)data;
	g_assert_nonnull(strstr(text, " A.....++\n"));
	g_assert_nonnull(strstr(text, "A vm1 (1 GiB)\n+ 2 GiB are lent to the host\n"));
	g_assert_nonnull(strstr(coloured, "\033[38;5;245m\u2588\u2588\033[0m\n"));
}

static void as_svg(struct host *host, gconstpointer data)
{
	g_autofree char *svg = map_svg(host->map);

	(void)data;
	g_assert_nonnull(strstr(svg, ",0%,50%)\"><title>lent to the host: 1 GiB at 0x280000000</title>"));
	g_assert_nonnull(strstr(svg, ">lent to the host (2 GiB)</text>"));
	g_assert_nonnull(strstr(svg, ",60%,50%)\"><title>vm1: 1 GiB at 0x100000000</title>"));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add("/map/text", struct host, NULL, set_up, as_text, tear_down);
	g_test_add("/map/svg", struct host, NULL, set_up, as_svg, tear_down);
	return g_test_run();
}

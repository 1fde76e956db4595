// SPDX-License-Identifier: GPL-2.0-or-later
/* dmemfsctl map: draws which file has which memory of the regions. */
#include "dmemfsctl/map.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "dmemfsctl/command.h"

static struct {
	char *output;
	char *colour;
} arguments;

static const GOptionEntry options[] = {
	{ "output", 'o', 0, G_OPTION_ARG_FILENAME, &arguments.output,
	  "Draw into FILE, which ends in .svg, or in .png where rsvg-convert is installed", "FILE" },
	{ "color", 0, 0, G_OPTION_ARG_STRING, &arguments.colour, "Colours: auto (default), always or never", "WHEN" },
	G_OPTION_ENTRY_NULL
};

static void describe(struct json *json, const struct map *map)
{
	json_string(json, "mountpoint", map->view->root);
	json_unsigned(json, "pending_bytes", view_figure(map->view, "pending_bytes"));
	json_unsigned(json, "pinned_bytes", view_figure(map->view, "pinned_bytes"));
	json_unsigned(json, "lent_bytes", view_figure(map->view, "lent_bytes"));
	json_begin_array(json, "regions");
	for (guint i = 0; i < map->pieces->len; i++) {
		const struct view_region *region = &g_array_index(map->view->regions, struct view_region, i);
		const GArray *pieces = g_ptr_array_index(map->pieces, i);

		json_begin_object(json, NULL);
		json_unsigned(json, "start", region->extent.start);
		json_unsigned(json, "length_bytes", region->extent.length);
		json_begin_array(json, "pieces");
		for (guint at = 0; at < pieces->len; at++) {
			const struct map_piece *piece = &g_array_index(pieces, struct map_piece, at);
			bool lent = piece->file == MAP_LENT;
			const struct dmem_file *file = lent ? NULL : g_ptr_array_index(map->files, piece->file);

			json_begin_object(json, NULL);
			json_unsigned(json, "start", piece->extent.start);
			json_unsigned(json, "length_bytes", piece->extent.length);
			json_string(json, "file", lent ? NULL : file->path);
			json_bool(json, "lent", lent);
			json_end(json);
		}
		json_end(json);
		json_end(json);
	}
	json_end(json);
}

/* Runs rsvg-convert, so that dmemfsctl does not depend on librsvg. */
static bool write_png(const char *svg, const char *path, GError **error)
{
	const char *argv[] = { "rsvg-convert", "--format=png", "--output", path, NULL, NULL };
	g_autofree char *temporary = NULL;
	g_autoptr(GError) reason = NULL;
	int fd = g_file_open_tmp("dmemfsctl-XXXXXX.svg", &temporary, error);
	int status = 0;
	bool done;

	if (fd < 0)
		return false;
	close(fd);
	argv[4] = temporary;
	done = g_file_set_contents(temporary, svg, -1, error);
	if (done) {
		done = g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, &status,
		                    &reason) &&
		       g_spawn_check_wait_status(status, &reason);
		if (!done)
			command_fail(error, STATUS_FAILED, "%s: %s: install librsvg2-bin, or name a .svg file", path,
			             reason->message);
	}
	unlink(temporary);
	return done;
}

static bool draw(const struct map *map, GError **error)
{
	g_autofree char *svg = map_svg(map);

	if (g_str_has_suffix(arguments.output, ".png"))
		return write_png(svg, arguments.output, error);
	return g_file_set_contents(arguments.output, svg, -1, error);
}

static bool check_options(bool *colour, GError **error)
{
	const char *when = arguments.colour ? arguments.colour : "auto";

	*colour = strcmp(when, "always") == 0 || (strcmp(when, "auto") == 0 && isatty(STDOUT_FILENO));
	if (!*colour && strcmp(when, "auto") != 0 && strcmp(when, "never") != 0)
		return command_fail(error, STATUS_USAGE, "--color %s: use auto, always or never", when) == STATUS_DONE;
	if (arguments.output && !g_str_has_suffix(arguments.output, ".svg") &&
	    !g_str_has_suffix(arguments.output, ".png"))
		return command_fail(error, STATUS_USAGE, "--output %s: name a file that ends in .svg or .png",
		                    arguments.output) == STATUS_DONE;
	return true;
}

static enum status run(const struct invocation *invocation, GError **error)
{
	bool colour;

	if (!check_options(&colour, error))
		return STATUS_USAGE;

	g_autoptr(view_t) view = view_open(invocation->operands[0], error);
	g_autoptr(file_list_t) list = view ? files_collect(view, FILE_WHERE, error) : NULL;

	if (!list)
		return STATUS_FAILED;

	g_autoptr(map_t) map = map_new(view, list->files);

	if (arguments.output && !draw(map, error))
		return STATUS_FAILED;
	if (invocation->json) {
		describe(invocation->json, map);
	} else if (!arguments.output) {
		g_autofree char *text = map_text(map, colour, g_get_charset(NULL));

		fputs(text, stdout);
	}
	return STATUS_DONE;
}

const struct command command_map = {
	.name = "map",
	.operands = "[PATH]",
	.summary = "Draw which file has which memory",
	.details =
		"A cell of the picture has the letter, or the colour, of the file that has most of its memory. Memory of\n"
		"removed files that a process still uses looks free. Memory that is lent to the host is \"+\",\n"
		"or grey.",
	.options = options,
	.operands_max = 1,
	.run = run,
};

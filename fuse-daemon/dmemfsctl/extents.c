// SPDX-License-Identifier: GPL-2.0-or-later
/* dmemfsctl extents: shows where the parts of a file lie in memory. */
#include <stdio.h>

#include "dmemfsctl/command.h"
#include "dmemfsctl/files.h"
#include "dmemfsctl/text.h"

static int node_of(const struct view *view, uint64_t address)
{
	int index = view_find_region(view, address);

	return index < 0 ? -1 : g_array_index(view->regions, struct view_region, index).node;
}

static void print_runs(const struct dmem_file *file, const struct view *view)
{
	static const char *const headers[] = { ">OFFSET", ">ADDRESS", ">LENGTH", ">NODE", "PAGES", "COMPOUND", NULL };
	g_autoptr(table_t) table = table_new(headers);
	g_autofree char *text = NULL;

	for (guint i = 0; i < file->runs->len; i++) {
		const struct extent_map_run *run = &g_array_index(file->runs, struct extent_map_run, i);
		int node = node_of(view, run->extent.start);

		table_take(table, g_strdup_printf("0x%" G_GINT64_MODIFIER "x", run->offset));
		table_take(table, g_strdup_printf("0x%" G_GINT64_MODIFIER "x", run->extent.start));
		table_take(table, g_strdup_printf("0x%" G_GINT64_MODIFIER "x", run->extent.length));
		table_take(table, node < 0 ? g_strdup("?") : g_strdup_printf("%d", node));
		table_take(table, text_page_sizes(page_share_sizes(file_run_pages(run))));
		table_add(table, view_pages_at(view, run->extent.start));
	}
	text = table_text(table, "");
	fputs(text, stdout);
}

static void print_faults(const struct dmem_file *file)
{
	for (guint i = 0; i < file->faults->len; i++) {
		const struct file_faults *faults = &g_array_index(file->faults, struct file_faults, i);
		g_autofree char *size = text_page_sizes(faults->page_size);

		printf("%s%" G_GUINT64_FORMAT " of %s%s", i ? ", " : "faults: ", faults->count, size,
		       i + 1 == file->faults->len ? "\n" : "");
	}
}

static void describe(struct json *json, const struct dmem_file *file, const struct view *view)
{
	json_string(json, "file", file->path);
	json_unsigned(json, "size_bytes", file->size);
	json_unsigned(json, "allocated_bytes", file->allocated);
	json_begin_array(json, "runs");
	for (guint i = 0; i < file->runs->len; i++) {
		const struct extent_map_run *run = &g_array_index(file->runs, struct extent_map_run, i);
		int node = node_of(view, run->extent.start);

		json_begin_object(json, NULL);
		json_unsigned(json, "offset", run->offset);
		json_unsigned(json, "address", run->extent.start);
		json_unsigned(json, "length_bytes", run->extent.length);
		json_node(json, node);
		json_string(json, "pages", view_pages_at(view, run->extent.start));
		json_end(json);
	}
	json_end(json);
	json_begin_array(json, "faults");
	for (guint i = 0; i < file->faults->len; i++) {
		const struct file_faults *faults = &g_array_index(file->faults, struct file_faults, i);

		json_begin_object(json, NULL);
		json_unsigned(json, "page_size_bytes", faults->page_size);
		json_unsigned(json, "count", faults->count);
		json_end(json);
	}
	json_end(json);
}

static enum status run(const struct invocation *invocation, GError **error)
{
	g_autoptr(view_t) view = view_open(invocation->operands[0], error);
	g_autoptr(dmem_file_t) file = view ? file_read(invocation->operands[0], FILE_WHERE, error) : NULL;

	if (!file)
		return STATUS_FAILED;
	if (invocation->json) {
		describe(invocation->json, file, view);
	} else {
		print_runs(file, view);
		print_faults(file);
	}
	return STATUS_DONE;
}

const struct command command_extents = {
	.name = "extents",
	.operands = "FILE",
	.summary = "Show which run of memory is which part of a file",
	.details =
		"NODE is that of the run's first byte. PAGES are the sizes that a well aligned mapping can use there,\n"
		"COMPOUND the compound pages (struct page) that its region has.",
	.operands_min = 1,
	.operands_max = 1,
	.run = run,
};

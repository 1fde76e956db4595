// SPDX-License-Identifier: GPL-2.0-or-later
/* dmemfsctl top: shows a mount and its files on a screen that is updated regularly. */
#include <stdio.h>

#include "dmemfsctl/command.h"
#include "dmemfsctl/files.h"
#include "dmemfsctl/terminal.h"
#include "dmemfsctl/text.h"

#define INTERVAL_MIN 0.1
#define INTERVAL_MAX 3600.0

static struct {
	double interval;
	int iterations;
} arguments = { .interval = 1 };

static const GOptionEntry options[] = {
	{ "interval", 'i', 0, G_OPTION_ARG_DOUBLE, &arguments.interval, "Seconds between two updates, 1 by default",
	  "SECONDS" },
	{ "iterations", 'n', 0, G_OPTION_ARG_INT, &arguments.iterations,
	  "Number of updates before exit; 1 by default without a terminal and with --json", "COUNT" },
	G_OPTION_ENTRY_NULL
};

/* The fault count of a file at the last update. */
struct former {
	uint64_t inode;
	uint64_t faults;
};

struct row {
	const struct dmem_file *file;
	double rate; /* faults per second */
};

struct sample {
	struct view *view;
	struct file_list *list;
	GArray *rows; /* struct row, the busiest first */
};

static void sample_clear(struct sample *sample)
{
	g_clear_pointer(&sample->rows, g_array_unref);
	g_clear_pointer(&sample->list, files_destroy);
	g_clear_pointer(&sample->view, view_destroy);
}

static gint by_activity(gconstpointer a, gconstpointer b)
{
	const struct row *first = a, *second = b;

	if (first->rate != second->rate)
		return first->rate > second->rate ? -1 : 1;
	if (first->file->allocated != second->file->allocated)
		return first->file->allocated > second->file->allocated ? -1 : 1;
	return g_strcmp0(first->file->path, second->file->path);
}

/* Faults per second since the last update; 0 at the first one. Notes the count for the next update. */
static double rate_of(const struct dmem_file *file, GHashTable *past, double seconds)
{
	uint64_t faults = file_fault_count(file);
	struct former *former = g_hash_table_lookup(past, &file->inode);
	double rate = 0;

	if (!former) {
		former = g_new0(struct former, 1);
		former->inode = file->inode;
		g_hash_table_insert(past, &former->inode, former);
	} else if (seconds > 0 && faults >= former->faults) {
		rate = (double)(faults - former->faults) / seconds;
	}
	former->faults = faults;
	return rate;
}

static bool take_sample(const char *path, GHashTable *past, double seconds, struct sample *sample, GError **error)
{
	sample->view = view_open(path, error);
	sample->list = sample->view ? files_collect(sample->view, FILE_IF_ALLOWED, error) : NULL;
	if (!sample->list) {
		sample_clear(sample);
		return false;
	}
	sample->rows = g_array_new(FALSE, FALSE, sizeof(struct row));
	for (guint i = 0; i < sample->list->files->len; i++) {
		const struct dmem_file *file = g_ptr_array_index(sample->list->files, i);
		struct row row = { file, rate_of(file, past, seconds) };

		g_array_append_val(sample->rows, row);
	}
	g_array_sort(sample->rows, by_activity);
	return true;
}

static void append_share(GString *text, const struct view *view, const char *name, const char *figure)
{
	uint64_t bytes = view_figure(view, figure);
	g_autofree char *size = text_size(bytes);
	g_autofree char *share = text_share(bytes, view_figure(view, "capacity_bytes"));

	g_string_append_printf(text, "  %s %s (%s)", name, size, share);
}

static char *sample_text(const struct sample *sample)
{
	static const char *const all[] = { ">FAULTS/S", ">FAULTS", ">SIZE",     ">MEMORY", "PAGES",
		                           "NODES",     "FILE",    "MAPPED BY", NULL };
	static const char *const fewer[] = { ">FAULTS/S", ">FAULTS", ">SIZE", ">MEMORY", "FILE", "MAPPED BY", NULL };
	bool hidden = files_hide_memory();
	g_autoptr(table_t) table = table_new(hidden ? fewer : all);
	g_autofree char *note = files_note(sample->list);
	g_autofree char *root = text_visible(sample->view->root);
	g_autofree char *capacity = text_size(view_figure(sample->view, "capacity_bytes"));
	g_autofree char *rows = NULL;
	GString *text = g_string_new(NULL);

	g_string_append_printf(text, "%s: %s, %u files\n", root, capacity, sample->list->files->len);
	append_share(text, sample->view, "in files", "allocated_bytes");
	append_share(text, sample->view, "pending", "pending_bytes");
	append_share(text, sample->view, "free", "free_bytes");
	if (view_figure(sample->view, "pinned_bytes"))
		append_share(text, sample->view, "pinned", "pinned_bytes");
	if (view_figure(sample->view, "lent_bytes"))
		append_share(text, sample->view, "lent", "lent_bytes");
	if (view_figure(sample->view, "lent_taking_bytes"))
		append_share(text, sample->view, "taking back", "lent_taking_bytes");
	g_string_append_printf(text, "\n%s%s\n", hidden ? note : "", hidden ? "\n" : "");
	for (guint i = 0; i < sample->rows->len; i++) {
		const struct row *row = &g_array_index(sample->rows, struct row, i);
		bool counted = row->file->faults->len > 0;

		table_take(table, counted ? g_strdup_printf("%.0f", row->rate) : g_strdup("-"));
		table_take(table, counted ? g_strdup_printf("%" G_GUINT64_FORMAT, file_fault_count(row->file))
		                          : g_strdup("-"));
		table_take(table, text_size(row->file->size));
		table_take(table, text_size(row->file->allocated));
		if (!hidden) {
			table_take(table, text_page_sizes(page_share_sizes(file_pages(row->file))));
			table_take(table, file_nodes(row->file, sample->view));
		}
		table_take(table, file_name(row->file));
		table_take(table, file_users(row->file));
	}
	rows = table_text(table, "");
	g_string_append(text, rows);
	return g_string_free(text, FALSE);
}

static void describe(struct json *json, const struct sample *sample)
{
	json_begin_object(json, NULL);
	json_string(json, "mountpoint", sample->view->root);
	for (guint i = 0; i < sample->view->figures->len; i++) {
		const struct view_figure *figure = &g_array_index(sample->view->figures, struct view_figure, i);

		json_unsigned(json, figure->name, figure->value);
	}
	json_begin_array(json, "by_file");
	for (guint i = 0; i < sample->rows->len; i++) {
		const struct row *row = &g_array_index(sample->rows, struct row, i);

		json_begin_object(json, NULL);
		json_string(json, "path", row->file->path);
		json_unsigned(json, "inode", row->file->inode);
		json_unsigned(json, "allocated_bytes", row->file->allocated);
		json_unsigned(json, "faults", file_fault_count(row->file));
		json_unsigned(json, "faults_per_second", (uint64_t)(row->rate + 0.5));
		json_unsigned(json, "processes", row->file->users->len);
		json_end(json);
	}
	json_end(json);
	json_end(json);
}

/* Prints JSON, a screen or plain text. A screen stays without a daemon, and shows @failure. */
static void show(const struct sample *sample, const GError *failure, struct json *json, bool live)
{
	if (json) {
		describe(json, sample);
		return;
	}

	g_autofree char *text = failure ? g_strdup_printf("%s\n", failure->message) : sample_text(sample);

	if (live) {
		terminal_show(text);
	} else {
		puts(text);
		fflush(stdout);
	}
}

/* False: the user quits. */
static bool pause_between(bool live)
{
	if (live)
		return terminal_wait((int)(arguments.interval * 1000));
	g_usleep((gulong)(arguments.interval * G_USEC_PER_SEC));
	return true;
}

static enum status watch(const char *path, struct json *json, bool live, GError **error)
{
	g_autoptr(GHashTable) past = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
	gint64 last = 0;
	int left = arguments.iterations;

	do {
		gint64 now = g_get_monotonic_time();
		double seconds = last ? (double)(now - last) / G_USEC_PER_SEC : 0;
		struct sample sample = { 0 };
		g_autoptr(GError) failure = NULL;

		if (!take_sample(path, past, seconds, &sample, &failure) && !(live && last)) {
			g_propagate_error(error, g_steal_pointer(&failure));
			return STATUS_FAILED;
		}
		show(&sample, failure, json, live);
		sample_clear(&sample);
		last = now;
	} while (--left != 0 && pause_between(live));
	return STATUS_DONE;
}

static enum status run(const struct invocation *invocation, GError **error)
{
	const char *path = invocation->operands[0];
	bool live = !invocation->json && terminal_exists();
	enum status status;

	if (!(arguments.interval >= INTERVAL_MIN && arguments.interval <= INTERVAL_MAX))
		return command_fail(error, STATUS_USAGE, "--interval: is not between %g and %g seconds", INTERVAL_MIN,
		                    INTERVAL_MAX);
	if (arguments.iterations < 0)
		return command_fail(error, STATUS_USAGE, "--iterations %d: use a number above 0", arguments.iterations);
	if (!live && arguments.iterations == 0)
		arguments.iterations = 1;
	if (invocation->json)
		json_begin_array(invocation->json, "samples");
	if (live)
		terminal_begin();
	status = watch(path, invocation->json, live, error);
	if (live)
		terminal_end();
	return status;
}

const struct command command_top = {
	.name = "top",
	.operands = "[PATH]",
	.summary = "Watch the files of a mount: faults, memory, processes that map them; q quits",
	.details = "The memory backend does not count faults.",
	.options = options,
	.operands_max = 1,
	.run = run,
};

// SPDX-License-Identifier: GPL-2.0-or-later
/* dmemfsctl status: shows which daemon serves a mount, and how its memory is used. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "dmemfsctl/command.h"
#include "dmemfsctl/text.h"
#include "dmemfsctl/users.h"
#include "dmemfsctl/view.h"

static const char *said(const struct view *view, const char *name)
{
	const char *value = g_hash_table_lookup(view->daemon, name);

	return value ? value : "?";
}

static void print_line(const char *name, uint64_t bytes, uint64_t whole)
{
	g_autofree char *size = text_size(bytes);
	g_autofree char *share = text_share(bytes, whole);

	printf("  %-10s %12s %8s\n", name, size, share);
}

static void print_regions(const struct view *view)
{
	static const char *const headers[] = {
		"REGION", ">START", ">SIZE", ">FREE", ">NODE", "COMPOUND", "KERNEL", NULL
	};
	g_autoptr(table_t) table = table_new(headers);
	g_autofree char *text = NULL;

	for (guint i = 0; i < view->regions->len; i++) {
		const struct view_region *region = &g_array_index(view->regions, struct view_region, i);

		table_take(table, g_strdup_printf("%u", i));
		table_take(table, g_strdup_printf("0x%" G_GINT64_MODIFIER "x", region->extent.start));
		table_take(table, text_size(region->extent.length));
		table_take(table, text_size(region->free));
		table_take(table, region->node < 0 ? g_strdup("?") : g_strdup_printf("%d", region->node));
		table_add(table, region->pages ? region->pages : "?");
		table_add(table, *region->kernel ? region->kernel : "?");
	}
	text = table_text(table, "  ");
	fputs(text, stdout);
}

/* "qemu-system-x86(1234)": the name that process @pid has now, if it still exists. */
static char *process_text(int pid)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/comm", pid);
	g_autofree char *comm = NULL;
	g_autofree char *name = NULL;

	if (pid <= 0)
		return g_strdup("?");
	if (!g_file_get_contents(path, &comm, NULL, NULL))
		return g_strdup_printf("%d, which has ended", pid);
	name = text_visible(g_strchomp(comm));
	return g_strdup_printf("%s(%d)", name, pid);
}

static char *time_text(int64_t since)
{
	g_autoptr(GDateTime) time = g_date_time_new_from_unix_local(since);

	return time ? g_date_time_format(time, "%F %T") : g_strdup("?");
}

/* Prints nothing when no memory is pinned. */
static void print_pins(const struct view *view)
{
	static const char *const headers[] = { ">PINNED",   ">SIZE",          "SINCE", ">INODE",
		                               "LAST NAME", "LAST OPENED BY", NULL };
	g_autoptr(table_t) table = table_new(headers);
	g_autofree char *text = NULL;

	for (guint i = 0; i < view->pins->len; i++) {
		const struct view_pin *pin = &g_array_index(view->pins, struct view_pin, i);

		table_take(table, g_strdup_printf("0x%" G_GINT64_MODIFIER "x", pin->extent.start));
		table_take(table, text_size(pin->extent.length));
		table_take(table, time_text(pin->since));
		table_take(table, pin->inode ? g_strdup_printf("%" G_GUINT64_FORMAT, pin->inode) : g_strdup("?"));
		table_take(table, *pin->name ? text_visible(pin->name) : g_strdup("?"));
		table_take(table, process_text(pin->pid));
	}
	text = table_text(table, "  ");
	if (view->pins->len > 0)
		fputs(text, stdout);
}

/* Why the host keeps a unit of lent memory; NULL: nobody has asked for it in vain. */
static const char *lent_reason(const char *state)
{
	static const char *const reasons[][2] = {
		{ "pinned", "a process has pinned some of it" },
		{ "memory", "the host has no room for what is in it" },
		{ "time", "the kernel took too long" },
		{ "other", "see the log" },
	};

	for (size_t i = 0; i < G_N_ELEMENTS(reasons); i++) {
		if (strcmp(state, reasons[i][0]) == 0)
			return reasons[i][1];
	}
	return NULL;
}

/* Lent memory that could not be taken back when that was tried last. Prints nothing when there is none. */
static void print_refused(const struct view *view)
{
	static const char *const headers[] = { ">LENT, NOT BACK", ">SIZE", "WHY", NULL };
	g_autoptr(table_t) table = table_new(headers);
	g_autofree char *text = NULL;
	guint count = 0;

	for (guint i = 0; i < view->lent->len; i++) {
		const struct view_lent *unit = &g_array_index(view->lent, struct view_lent, i);
		const char *reason = lent_reason(unit->state);

		if (!reason)
			continue;
		table_take(table, g_strdup_printf("0x%" G_GINT64_MODIFIER "x", unit->extent.start));
		table_take(table, text_size(unit->extent.length));
		table_add(table, reason);
		count++;
	}
	text = table_text(table, "  ");
	if (count > 0)
		fputs(text, stdout);
}

/* Who keeps the memory of removed files. Prints nothing when there are none. */
static void print_removed(const GPtrArray *users)
{
	static const char *const headers[] = { ">REMOVED, STILL MAPPED", ">INODE", "LAST PATH", "MAPPED BY", NULL };
	g_autoptr(table_t) table = table_new(headers);
	g_autofree char *text = NULL;
	guint count = 0;

	for (guint i = 0; i < users->len; i++) {
		const struct user *user = g_ptr_array_index(users, i);

		if (!user->last_path)
			continue;
		table_take(table, text_size(user->mapped));
		table_take(table, g_strdup_printf("%" G_GUINT64_FORMAT, user->inode));
		table_take(table, text_visible(user->last_path));
		table_take(table, process_text(user->pid));
		count++;
	}
	text = table_text(table, "  ");
	if (count > 0)
		fputs(text, stdout);
}

/* Counts each process once, even if it maps several files. @earlier: only those that map one by an earlier mount. */
static guint count_processes(const GPtrArray *users, bool earlier)
{
	guint count = 0;
	pid_t last = 0;

	for (guint i = 0; i < users->len; i++) {
		const struct user *user = g_ptr_array_index(users, i);

		if (earlier && !user->is_earlier)
			continue;
		count += user->pid != last;
		last = user->pid;
	}
	return count;
}

static void print_zeroing(const struct view *view)
{
	uint64_t rate = view_figure(view, "zeroing_rate");
	g_autofree char *text = text_size(rate);

	if (rate)
		printf("  zeroing %s/s\n", text);
}

/* Prints nothing when no memory is pinned. */
static void print_pinned(const struct view *view, uint64_t capacity)
{
	uint64_t pinned = view_figure(view, "pinned_bytes"), former = view_figure(view, "pinned_former_bytes");

	if (pinned)
		print_line("pinned", pinned, capacity);
	/* Of regions that are not in the configuration any more. */
	if (former)
		print_line("  former", former, capacity);
}

/* Prints nothing when no memory is lent. */
static void print_lent(const struct view *view, uint64_t capacity)
{
	uint64_t lent = view_figure(view, "lent_bytes"), taking = view_figure(view, "lent_taking_bytes");

	if (lent)
		print_line("lent", lent, capacity);
	if (taking)
		print_line("  taking", taking, capacity);
}

/* Prints nothing when there is no poisoned memory, as is normal. */
static void print_poisoned(const struct view *view, uint64_t capacity)
{
	uint64_t retired = view_figure(view, "poisoned_bytes"), used = view_figure(view, "poisoned_used_bytes");

	if (retired + used == 0)
		return;
	print_line("poisoned", retired, capacity);
	print_line("  in files", used, capacity);
}

/* Prints nothing when no removed file is in use. */
static void print_removed_bytes(const struct view *view, uint64_t capacity)
{
	uint64_t removed = view_figure(view, "removed_bytes");

	if (removed)
		print_line("  removed", removed, capacity);
}

static void print_view(const struct view *view, const GPtrArray *users)
{
	guint processes = count_processes(users, false), earlier = count_processes(users, true);
	uint64_t capacity = view_figure(view, "capacity_bytes");
	g_autofree char *page_size = text_page_sizes(view->page_size);
	g_autofree char *root = text_visible(view->root);

	printf("%s: dmemfsd %s (pid %s), backend %s, pages of %s, alloc %s\n", root, said(view, "version"),
	       said(view, "pid"), said(view, "backend"), page_size, view->alloc);
	print_line("capacity", capacity, capacity);
	print_line("in files", view_figure(view, "allocated_bytes"), capacity);
	print_removed_bytes(view, capacity);
	print_line("pending", view_figure(view, "pending_bytes"), capacity);
	print_line("promised", view_figure(view, "promised_bytes"), capacity);
	print_line("free", view_figure(view, "free_bytes"), capacity);
	print_line("  clean", view_figure(view, "clean_bytes"), capacity);
	print_line("  dirty", view_figure(view, "dirty_bytes") + view_figure(view, "zeroing_bytes"), capacity);
	print_line("  in 2M", view_figure(view, "free_2m_bytes"), capacity);
	print_line("  in 1G", view_figure(view, "free_1g_bytes"), capacity);
	print_lent(view, capacity);
	print_pinned(view, capacity);
	print_poisoned(view, capacity);
	printf("  %" G_GUINT64_FORMAT " files in %" G_GUINT64_FORMAT " directories, mapped by %u process%s\n",
	       view_figure(view, "files"), view_figure(view, "directories"), processes, processes == 1 ? "" : "es");
	if (earlier)
		printf("  %u of them by an earlier mount: see dmemfsctl doctor\n", earlier);
	print_zeroing(view);
	print_regions(view);
	print_pins(view);
	print_refused(view);
	print_removed(users);
}

static void describe_removed(struct json *json, const GPtrArray *users)
{
	json_begin_array(json, "removed_mapped");
	for (guint i = 0; i < users->len; i++) {
		const struct user *user = g_ptr_array_index(users, i);

		if (!user->last_path)
			continue;
		json_begin_object(json, NULL);
		json_unsigned(json, "inode", user->inode);
		json_string(json, "last_path", user->last_path);
		json_unsigned(json, "mapped_bytes", user->mapped);
		json_signed(json, "pid", user->pid);
		json_string(json, "name", user->name);
		json_end(json);
	}
	json_end(json);
}

static void describe_pins(struct json *json, const struct view *view)
{
	json_begin_array(json, "pinned");
	for (guint i = 0; i < view->pins->len; i++) {
		const struct view_pin *pin = &g_array_index(view->pins, struct view_pin, i);

		json_begin_object(json, NULL);
		json_unsigned(json, "start", pin->extent.start);
		json_unsigned(json, "length_bytes", pin->extent.length);
		json_signed(json, "since", pin->since);
		json_unsigned(json, "inode", pin->inode);
		json_string(json, "name", pin->name);
		json_signed(json, "pid", pin->pid);
		json_end(json);
	}
	json_end(json);
}

static void describe_lent(struct json *json, const struct view *view)
{
	json_begin_array(json, "lent");
	for (guint i = 0; i < view->lent->len; i++) {
		const struct view_lent *unit = &g_array_index(view->lent, struct view_lent, i);

		json_begin_object(json, NULL);
		json_unsigned(json, "start", unit->extent.start);
		json_unsigned(json, "length_bytes", unit->extent.length);
		json_string(json, "state", unit->state);
		json_end(json);
	}
	json_end(json);
}

static void describe_regions(struct json *json, const struct view *view)
{
	json_begin_array(json, "regions");
	for (guint i = 0; i < view->regions->len; i++) {
		const struct view_region *region = &g_array_index(view->regions, struct view_region, i);

		json_begin_object(json, NULL);
		json_unsigned(json, "start", region->extent.start);
		json_unsigned(json, "length_bytes", region->extent.length);
		json_unsigned(json, "free_bytes", region->free);
		json_node(json, region->node);
		json_string(json, "pages", region->pages);
		json_string(json, "kernel", *region->kernel ? region->kernel : NULL);
		json_end(json);
	}
	json_end(json);
}

static void describe_view(struct json *json, const struct view *view, const GPtrArray *users)
{
	json_begin_object(json, NULL);
	json_string(json, "mountpoint", view->root);
	json_string(json, "version", said(view, "version"));
	json_signed(json, "pid", g_ascii_strtoll(said(view, "pid"), NULL, 10));
	json_string(json, "backend", said(view, "backend"));
	json_string(json, "state_dir", said(view, "state_dir"));
	json_unsigned(json, "page_size_bytes", view->page_size);
	json_string(json, "alloc", view->alloc);
	json_unsigned(json, "mapping_processes", count_processes(users, false));
	json_unsigned(json, "earlier_mount_processes", count_processes(users, true));
	for (guint i = 0; i < view->figures->len; i++) {
		const struct view_figure *figure = &g_array_index(view->figures, struct view_figure, i);

		json_unsigned(json, figure->name, figure->value);
	}
	describe_regions(json, view);
	describe_pins(json, view);
	describe_lent(json, view);
	describe_removed(json, users);
	json_end(json);
}

/* To @errors it adds why others cannot be shown (GError). */
static GPtrArray *open_views(const char *path, GPtrArray *errors)
{
	GPtrArray *views;
	GError *error = NULL;
	struct view *view;

	if (!path)
		return view_open_all(errors);
	views = g_ptr_array_new_with_free_func((GDestroyNotify)view_destroy);
	view = view_open(path, &error);
	if (view)
		g_ptr_array_add(views, view);
	else
		g_ptr_array_add(errors, error);
	return views;
}

static void show_errors(struct json *json, const GPtrArray *errors)
{
	g_autoptr(GPtrArray) texts = g_ptr_array_new();

	for (guint i = 0; i < errors->len; i++)
		g_ptr_array_add(texts, ((GError *)g_ptr_array_index(errors, i))->message);
	if (json)
		json_list(json, "errors", texts);
	for (guint i = 0; !json && i < texts->len; i++)
		log_error("%s", (const char *)g_ptr_array_index(texts, i));
}

static enum status run(const struct invocation *invocation, GError **error)
{
	g_autoptr(GPtrArray) errors = g_ptr_array_new_with_free_func((GDestroyNotify)g_error_free);
	g_autoptr(GPtrArray) views = open_views(invocation->operands[0], errors);
	const GError *first = errors->len > 0 ? g_ptr_array_index(errors, 0) : NULL;

	if (views->len == 0 && errors->len == 1) {
		g_propagate_error(error, g_error_copy(first));
		return STATUS_FAILED;
	}
	if (invocation->json)
		json_begin_array(invocation->json, "mounts");
	for (guint i = 0; i < views->len; i++) {
		const struct view *view = g_ptr_array_index(views, i);
		g_autoptr(GPtrArray) users = users_find(view);

		if (invocation->json)
			describe_view(invocation->json, view, users);
		else
			print_view(view, users);
	}
	if (invocation->json)
		json_end(invocation->json);
	show_errors(invocation->json, errors);
	return first ? command_exit_status(first) : STATUS_DONE;
}

const struct command command_status = {
	.name = "status",
	.operands = "[PATH]",
	.summary = "Show who serves a mount and how its memory is used",
	.details =
		"Shows the mount that PATH lies on, or each dmemfs. Memory in files is removed when its file was removed,\n"
		"but a process still has it open or maps it; a table shows which map it. It is pending when a process maps it\n"
		"only by an earlier mount. Free memory is dirty until it is zeroed for the next file.\n"
		"Promised memory is what files with demand allocation may still touch. Memory is poisoned when an\n"
		"uncorrected error was found in it: it leaves the pool as soon as no file has it any more. Memory is\n"
		"pinned when no file has it any more, but a device still holds it. Lent memory is used by the host until a\n"
		"file needs it; a table shows what could not be taken back, and why. KERNEL is \"unmapped\" if the host's\n"
		"kernel maps only what dmemfs accesses, and only meanwhile.",
	.operands_max = 1,
	.run = run,
};

// SPDX-License-Identifier: GPL-2.0-or-later
/* dmemfsctl ls: lists the files of a mount, where their memory lies and which processes map them. */
#include <stdio.h>

#include "dmemfsctl/command.h"
#include "dmemfsctl/files.h"
#include "dmemfsctl/text.h"

static char *memory_text(const struct dmem_file *file)
{
	g_autofree char *all = text_size(file->allocated), *bad = text_size(file->poisoned);

	return file->poisoned ? g_strdup_printf("%s, %s bad", all, bad) : g_steal_pointer(&all);
}

/* "qemu-system-x86(1234), 4K only, not bound to node 1; ...": who maps the file and how, and what it asks for and does not get. */
static char *users_text(const struct dmem_file *file, const struct view *view)
{
	GString *text = g_string_new(NULL);

	for (guint i = 0; i < file->users->len; i++) {
		const struct user *user = g_ptr_array_index(file->users, i);
		g_autofree char *name = text_visible(user->name), *page = text_page_sizes(user->page_size);
		g_autofree char *unmet = node_names(file_unmet_nodes(file, view, user));

		g_string_append_printf(text, "%s%s(%d)%s", i ? "; " : "", name, (int)user->pid,
		                       user->is_earlier ? ", by an earlier mount" : "");
		if (file_page_wanted(file, view, user))
			g_string_append_printf(text, ", %s only", page);
		if (*unmet)
			g_string_append_printf(text, ", not bound to node %s", unmet);
	}
	return g_string_free(text->len ? text : g_string_append_c(text, '-'), FALSE);
}

static void print_files(const GPtrArray *files, const struct view *view)
{
	static const char *const all[] = { ">SIZE", ">MEMORY", ">RUNS",     "PAGES", "COMPOUND",
		                           "NODES", "FILE",    "MAPPED BY", NULL };
	static const char *const fewer[] = { ">SIZE", ">MEMORY", "COMPOUND", "FILE", "MAPPED BY", NULL };
	bool hidden = files_hide_memory();
	g_autoptr(table_t) table = table_new(hidden ? fewer : all);
	g_autofree char *text = NULL;

	for (guint i = 0; i < files->len; i++) {
		const struct dmem_file *file = g_ptr_array_index(files, i);

		table_take(table, file->is_known ? text_size(file->size) : g_strdup("?"));
		table_take(table, file->is_known ? memory_text(file) : g_strdup("?"));
		if (!hidden) {
			table_take(table, file->path ? g_strdup_printf("%u", file->runs->len) : g_strdup("?"));
			table_take(table, text_page_sizes(page_share_sizes(file_pages(file))));
		}
		table_add(table, file->pages ? file->pages : "?");
		if (!hidden)
			table_take(table, file_nodes(file, view));
		table_take(table, file_name(file));
		table_take(table, users_text(file, view));
	}
	text = table_text(table, "");
	fputs(text, stdout);
}

/* On standard error, so that standard output has the table alone. */
static void print_note(const struct file_list *list)
{
	g_autofree char *note = files_note(list);

	if (files_hide_memory())
		fprintf(stderr, "# %s\n", note);
}

static void describe_pages(struct json *json, struct page_share share)
{
	json_unsigned(json, "in_4k_pages_bytes", share.bytes_4k);
	json_unsigned(json, "in_2m_pages_bytes", share.bytes_2m);
	json_unsigned(json, "in_1g_pages_bytes", share.bytes_1g);
}

static void describe_users(struct json *json, const struct dmem_file *file, const struct view *view)
{
	json_begin_array(json, "mapped_by");
	for (guint i = 0; i < file->users->len; i++) {
		const struct user *user = g_ptr_array_index(file->users, i);
		g_autofree char *unmet = node_names(file_unmet_nodes(file, view, user));

		json_begin_object(json, NULL);
		json_signed(json, "pid", user->pid);
		json_string(json, "name", user->name);
		json_unsigned(json, "mapped_bytes", user->mapped);
		json_unsigned(json, "page_size_bytes", user->page_size);
		if (!files_hide_memory()) {
			json_unsigned(json, "page_size_wanted_bytes", file_page_wanted(file, view, user));
			json_string(json, "unmet_nodes", *unmet ? unmet : NULL);
		}
		json_bool(json, "private", user->is_private);
		json_bool(json, "earlier_mount", user->is_earlier);
		json_end(json);
	}
	json_end(json);
}

static void describe_file(struct json *json, const struct dmem_file *file, const struct view *view)
{
	g_autofree char *nodes = file_nodes(file, view);

	json_begin_object(json, NULL);
	json_string(json, "path", file->path);
	json_string(json, "last_path", file->last_path);
	json_unsigned(json, "inode", file->inode);
	if (file->is_known) {
		json_unsigned(json, "size_bytes", file->size);
		json_unsigned(json, "allocated_bytes", file->allocated);
	}
	if (file->path) {
		json_unsigned(json, "uid", file->uid);
		json_string(json, "pages", file->pages);
	}
	if (file->path && !files_hide_memory()) {
		json_unsigned(json, "poisoned_bytes", file->poisoned);
		json_unsigned(json, "runs", file->runs->len);
		json_string(json, "nodes", nodes);
		describe_pages(json, file_pages(file));
	}
	describe_users(json, file, view);
	json_end(json);
}

static enum status run(const struct invocation *invocation, GError **error)
{
	g_autoptr(view_t) view = view_open(invocation->operands[0], error);
	g_autoptr(file_list_t) list = view ? files_collect(view, FILE_IF_ALLOWED, error) : NULL;

	if (!list)
		return STATUS_FAILED;
	files_read_policies(list->users, view);
	if (!invocation->json) {
		print_files(list->files, view);
		print_note(list);
		return STATUS_DONE;
	}
	json_string(invocation->json, "mountpoint", view->root);
	json_begin_array(invocation->json, "files");
	for (guint i = 0; i < list->files->len; i++)
		describe_file(invocation->json, g_ptr_array_index(list->files, i), view);
	json_end(invocation->json);
	return STATUS_DONE;
}

const struct command command_ls = {
	.name = "ls",
	.operands = "[PATH]",
	.summary = "List files with their memory, its nodes and the processes that map them",
	.details =
		"PAGES are the page sizes that an aligned mapping can use. Files that were removed while a process maps\n"
		"them are listed last, with their last path: they keep their memory until no process maps it. Only root\n"
		"sees RUNS, PAGES and NODES. \"4K only\": the address of the mapping allows no larger pages. \"not bound to\n"
		"node 1\": the mapping is bound to other nodes, but memory of the file is on this one. \"by an earlier\n"
		"mount\": the process runs since before dmemfsd was stopped or died, and has the same memory.",
	.operands_max = 1,
	.run = run,
};

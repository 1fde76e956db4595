// SPDX-License-Identifier: GPL-2.0-or-later
/* The files of a mount, where their memory lies, and which processes map them. */
#include "dmemfsctl/files.h"

#include <errno.h>
#include <fts.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/page_order.h"
#include "config/config.h"
#include "dmemfsctl/command.h"
#include "dmemfsctl/text.h"

GArray *file_parse_extents(const char *text)
{
	GArray *runs = g_array_new(FALSE, FALSE, sizeof(struct extent_map_run));
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

	for (char **line = lines; *line; line++) {
		struct extent_map_run run;

		if (sscanf(*line, "%" SCNu64 " %" SCNu64 " %" SCNu64, &run.offset, &run.extent.start,
		           &run.extent.length) == 3)
			g_array_append_val(runs, run);
	}
	return runs;
}

GArray *file_parse_faults(const char *text)
{
	GArray *faults = g_array_new(FALSE, FALSE, sizeof(struct file_faults));
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

	for (char **line = lines; *line; line++) {
		g_auto(GStrv) words = g_strsplit(*line, " ", 2);
		struct file_faults entry;

		if (!words[0] || !words[1] || !config_parse_size(words[0], &entry.page_size, NULL))
			continue;
		entry.count = g_ascii_strtoull(words[1], NULL, 10);
		g_array_append_val(faults, entry);
	}
	return faults;
}

void dmem_file_free(struct dmem_file *file)
{
	if (!file)
		return;
	g_free(file->path);
	g_free(file->last_path);
	g_free(file->pages);
	g_array_unref(file->runs);
	g_array_unref(file->faults);
	g_ptr_array_unref(file->users);
	g_free(file);
}

/* Takes ownership of @runs. */
static struct dmem_file *new_file(uint64_t inode, GArray *runs, const char *faults)
{
	struct dmem_file *file = g_new0(struct dmem_file, 1);

	file->inode = inode;
	file->runs = runs;
	file->faults = file_parse_faults(faults ? faults : "");
	file->users = g_ptr_array_new();
	return file;
}

/* Reads all runs of a file, in several parts if they do not fit into one attribute. NULL and @error. */
static GArray *read_runs(const char *path, GError **error)
{
	GArray *runs = g_array_new(FALSE, FALSE, sizeof(struct extent_map_run));
	uint64_t from = 0;

	for (;;) {
		g_autofree char *name = g_strdup_printf("dmemfs.extents@%" G_GUINT64_FORMAT, from);
		g_autofree char *text = view_read_attribute(path, name, error);
		g_autoptr(GArray) part = text ? file_parse_extents(text) : NULL;
		const struct extent_map_run *last;

		if (!part) {
			g_array_unref(runs);
			return NULL;
		}
		if (part->len == 0)
			return runs;
		g_array_append_vals(runs, part->data, part->len);
		last = &g_array_index(part, struct extent_map_run, part->len - 1);
		from = last->offset + last->extent.length;
	}
}

/* The bytes in dmemfs.poison, which has the form of dmemfs.extents; 0 when the daemon is older and does not have it. */
static uint64_t read_poisoned(const char *path)
{
	g_autofree char *text = view_read_attribute(path, "dmemfs.poison", NULL);
	g_autoptr(GArray) runs = file_parse_extents(text ? text : "");
	uint64_t bytes = 0;

	for (guint i = 0; i < runs->len; i++)
		bytes += g_array_index(runs, struct extent_map_run, i).extent.length;
	return bytes;
}

bool files_hide_memory(void)
{
	return geteuid() != 0;
}

char *files_note(const struct file_list *list)
{
	GString *text = g_string_new("only root may see where memory lies: runs, pages and nodes are left out");

	if (list->unreadable)
		g_string_append_printf(text, ", and what is in directories that this user may not read (%u)",
		                       list->unreadable);
	return g_string_free(text, FALSE);
}

static struct dmem_file *describe(const char *path, const struct stat *st, enum file_detail detail, GError **error)
{
	bool hidden = detail == FILE_IF_ALLOWED && files_hide_memory();
	GArray *runs = hidden ? file_parse_extents("") : read_runs(path, error);
	g_autofree char *faults = runs ? view_read_attribute(path, "dmemfs.faults", NULL) : NULL;
	g_autofree char *unit = NULL;
	struct dmem_file *file;

	if (!runs)
		return NULL;
	file = new_file(st->st_ino, runs, faults);
	file->is_known = true;
	file->size = (uint64_t)st->st_size;
	file->allocated = (uint64_t)st->st_blocks * 512; /* stat(2) */
	file->uid = st->st_uid;
	file->poisoned = hidden ? 0 : read_poisoned(path);
	file->pages = view_read_attribute(path, "dmemfs.pages", NULL);
	unit = view_read_attribute(path, "dmemfs.page_size", NULL);
	if (!unit || !config_parse_size(unit, &file->unit, NULL))
		file->unit = 0;
	return file;
}

struct dmem_file *file_read(const char *path, enum file_detail detail, GError **error)
{
	struct stat st;
	struct dmem_file *file;

	if (stat(path, &st) < 0) {
		command_fail(error, STATUS_FAILED, "%s: %s: name a file on dmemfs", path, g_strerror(errno));
		return NULL;
	}
	if (!S_ISREG(st.st_mode)) {
		command_fail(error, STATUS_FAILED, "%s: is not a regular file: name a file on dmemfs", path);
		return NULL;
	}
	file = describe(path, &st, detail, error);
	if (file)
		file->path = g_strdup(path);
	return file;
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

/*
 * Adds the file of @entry, unless another name of it came before. Failing to describe it is an error only if it still
 * exists.
 */
static bool visit(const struct view *view, const FTSENT *entry, enum file_detail detail, GHashTable *seen,
                  GPtrArray *files, GError **error)
{
	uint64_t inode = entry->fts_statp->st_ino;
	g_autoptr(GError) reason = NULL;
	struct dmem_file *file;

	if (g_hash_table_contains(seen, &inode))
		return true;
	file = describe(entry->fts_accpath, entry->fts_statp, detail, &reason);
	if (!file) {
		struct stat st;

		if (lstat(entry->fts_accpath, &st) < 0 && errno == ENOENT)
			return true;
		g_propagate_error(error, g_steal_pointer(&reason));
		return false;
	}
	file->path = g_strdup(entry->fts_path + strlen(view->root) + (strcmp(view->root, "/") != 0));
	g_hash_table_insert(seen, &file->inode, file);
	g_ptr_array_add(files, file);
	return true;
}

static bool walk(const struct view *view, enum file_detail detail, GHashTable *seen, struct file_list *list,
                 GError **error)
{
	bool may_miss = detail == FILE_IF_ALLOWED && files_hide_memory();
	char *paths[] = { view->root, NULL };
	FTS *tree = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, by_name);
	bool good = true;
	FTSENT *entry;

	while (good && (entry = fts_read(tree))) {
		if (entry->fts_info == FTS_F)
			good = visit(view, entry, detail, seen, list->files, error);
		else if ((entry->fts_info == FTS_DNR || entry->fts_info == FTS_NS) && entry->fts_errno == EACCES &&
		         may_miss)
			list->unreadable++;
		else if ((entry->fts_info == FTS_DNR || entry->fts_info == FTS_ERR || entry->fts_info == FTS_NS) &&
		         entry->fts_errno != ENOENT)
			good = command_fail(error, STATUS_FAILED, "%s: %s: run as root to see all files",
			                    entry->fts_path, g_strerror(entry->fts_errno)) == STATUS_DONE;
	}
	fts_close(tree);
	return good;
}

/* The removed file that @user maps. */
static struct dmem_file *describe_removed(const struct user *user)
{
	struct dmem_file *file = new_file(user->inode, file_parse_extents(""), NULL);
	struct stat st;

	file->last_path = g_strdup(user->last_path ?: user->earlier_path);
	file->is_known = user_stat(user, &st);
	if (file->is_known) {
		file->size = (uint64_t)st.st_size;
		file->allocated = (uint64_t)st.st_blocks * 512; /* stat(2) */
	}
	return file;
}

/* Adds the processes to the files that they map, and an entry for each mapped file that has no name. */
static void assign_users(struct file_list *list, GHashTable *seen)
{
	for (guint i = 0; i < list->users->len; i++) {
		struct user *user = g_ptr_array_index(list->users, i);
		struct dmem_file *file = g_hash_table_lookup(seen, &user->inode);

		/* A file in a directory that cannot be read is not removed. */
		if (!file && list->unreadable)
			continue;
		if (!file) {
			file = describe_removed(user);
			g_hash_table_insert(seen, &file->inode, file);
			g_ptr_array_add(list->files, file);
		}
		g_ptr_array_add(file->users, user);
	}
}

struct file_list *files_collect(const struct view *view, enum file_detail detail, GError **error)
{
	struct file_list *list = g_new0(struct file_list, 1);
	g_autoptr(GHashTable) seen = g_hash_table_new(g_int64_hash, g_int64_equal);

	list->files = g_ptr_array_new_with_free_func((GDestroyNotify)dmem_file_free);
	/* Before the walk, so that a file which is made and mapped during the walk is not taken for a removed one. */
	list->users = users_find(view);
	if (!walk(view, detail, seen, list, error)) {
		files_destroy(list);
		return NULL;
	}
	assign_users(list, seen);
	return list;
}

void files_destroy(struct file_list *list)
{
	if (!list)
		return;
	g_ptr_array_unref(list->files);
	g_ptr_array_unref(list->users);
	g_free(list);
}

/* Bytes of @run in whole pages of @size. */
static uint64_t in_pages(const struct extent_map_run *run, uint64_t size)
{
	uint64_t first = (run->extent.start + size - 1) / size * size;
	uint64_t end = (run->extent.start + run->extent.length) / size * size;

	return (run->extent.start - run->offset) % size == 0 && end > first ? end - first : 0;
}

struct page_share file_run_pages(const struct extent_map_run *run)
{
	uint64_t in_1g = in_pages(run, DMEMFS_PAGE_1G);
	uint64_t in_2m = in_pages(run, DMEMFS_PAGE_2M);

	return (struct page_share){ run->extent.length - in_2m, in_2m - in_1g, in_1g };
}

struct page_share file_pages(const struct dmem_file *file)
{
	struct page_share sum = { 0 };

	for (guint i = 0; i < file->runs->len; i++) {
		struct page_share share = file_run_pages(&g_array_index(file->runs, struct extent_map_run, i));

		sum.bytes_4k += share.bytes_4k;
		sum.bytes_2m += share.bytes_2m;
		sum.bytes_1g += share.bytes_1g;
	}
	return sum;
}

uint64_t page_share_sizes(struct page_share share)
{
	return (share.bytes_4k ? DMEMFS_PAGE_4K : 0) | (share.bytes_2m ? DMEMFS_PAGE_2M : 0) |
	       (share.bytes_1g ? DMEMFS_PAGE_1G : 0);
}

/* The nodes of the memory between two offsets in the file, a bit each; no machine of today has 64. Sets @unknown if one is. */
static uint64_t nodes_between(const struct dmem_file *file, const struct view *view, uint64_t from, uint64_t to,
                              bool *unknown)
{
	uint64_t nodes = 0;

	for (guint i = 0; i < file->runs->len; i++) {
		const struct extent_map_run *run = &g_array_index(file->runs, struct extent_map_run, i);
		const struct extent range = { from, to - from }, in_file = { run->offset, run->extent.length };
		const struct extent part = extent_overlap(&range, &in_file);
		uint64_t at = run->extent.start + (part.length ? part.start - run->offset : 0), end = at + part.length;

		/* A run may go on in the next region, which may be on another node. */
		while (at < end) {
			int index = view_find_region(view, at);
			const struct view_region *region =
				index < 0 ? NULL : &g_array_index(view->regions, struct view_region, index);

			if (!region || region->node < 0 || region->node > 63)
				*unknown = true;
			else
				nodes |= UINT64_C(1) << region->node;
			at = region ? region->extent.start + region->extent.length : end;
		}
	}
	return nodes;
}

char *node_names(uint64_t nodes)
{
	GString *text = g_string_new(NULL);

	for (int node = 0; node < 64; node++) {
		if (nodes & UINT64_C(1) << node)
			g_string_append_printf(text, "%s%d", text->len ? "+" : "", node);
	}
	return g_string_free(text, FALSE);
}

char *file_nodes(const struct dmem_file *file, const struct view *view)
{
	bool unknown = false;
	g_autofree char *known = node_names(nodes_between(file, view, 0, G_MAXINT64, &unknown));

	if (unknown)
		return g_strconcat(known, *known ? "+?" : "?", NULL);
	return g_strdup(*known ? known : "-");
}

uint64_t file_unmet_nodes(const struct dmem_file *file, const struct view *view, const struct user *user)
{
	uint64_t unmet = 0;
	bool unknown;

	for (guint i = 0; i < user->mappings->len; i++) {
		const struct mapping *mapping = &g_array_index(user->mappings, struct mapping, i);

		if (mapping->bound)
			unmet |= ~mapping->bound & nodes_between(file, view, mapping->offset,
			                                         mapping->offset + mapping->length, &unknown);
	}
	return unmet;
}

void files_read_policies(const GPtrArray *users, const struct view *view)
{
	g_autofree char *online = NULL;
	bool several =
		g_file_get_contents("/sys/devices/system/node/online", &online, NULL, NULL) && strpbrk(online, "-,");

	for (guint i = 0; i < view->regions->len; i++)
		several |= g_array_index(view->regions, struct view_region, i).node > 0;
	if (several)
		users_read_policies(users);
}

uint64_t file_page_wanted(const struct dmem_file *file, const struct view *view, const struct user *user)
{
	bool is_tmpfs = g_strcmp0(g_hash_table_lookup(view->daemon, "backend"), "memory") == 0;
	uint64_t sizes = page_share_sizes(file_pages(file)), wanted;
	unsigned order;

	if (!file->pages || !page_order_parse(file->pages, &order))
		order = PAGE_ORDER_NONE;
	wanted = page_order_wanted(order, file->unit, user->mapped);
	if (is_tmpfs)
		wanted = DMEMFS_PAGE_2M;
	if (user->mapped < wanted || user->page_size >= wanted)
		return 0;
	/* Nothing is known of the memory of a removed file. */
	return !file->path || sizes >= wanted ? wanted : 0;
}

uint64_t file_fault_count(const struct dmem_file *file)
{
	uint64_t sum = 0;

	for (guint i = 0; i < file->faults->len; i++)
		sum += g_array_index(file->faults, struct file_faults, i).count;
	return sum;
}

char *file_users(const struct dmem_file *file)
{
	GString *text = g_string_new(NULL);

	for (guint i = 0; i < file->users->len; i++) {
		const struct user *user = g_ptr_array_index(file->users, i);
		g_autofree char *name = text_visible(user->name);

		g_string_append_printf(text, "%s%s(%d)", i ? ", " : "", name, (int)user->pid);
	}
	return g_string_free(text->len ? text : g_string_append_c(text, '-'), FALSE);
}

char *file_name(const struct dmem_file *file)
{
	g_autofree char *last = file->last_path ? text_visible(file->last_path) : g_strdup("");

	return file->path ? text_visible(file->path)
	                  : g_strdup_printf("%s%s(removed, inode %" G_GUINT64_FORMAT ")", last, *last ? " " : "",
	                                    file->inode);
}

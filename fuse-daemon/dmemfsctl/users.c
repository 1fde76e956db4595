// SPDX-License-Identifier: GPL-2.0-or-later
/* Which processes map the files of a mount. */
#include "dmemfsctl/users.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/extent.h"
#include "dmemfsctl/earlier_mounts.h"

/*
 * A line is "START-END PERMS OFFSET MAJOR:MINOR INODE   PATH" (proc(5)); PERMS end in 's' for shared, 'p' for
 * private.
 */
bool mapping_parse(const char *line, struct mapping *mapping)
{
	uint64_t end;
	char permissions[5];
	unsigned major_number, minor_number;
	int length;

	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %x:%x %" SCNu64 " %n", &mapping->address, &end,
	           permissions, &mapping->offset, &major_number, &minor_number, &mapping->inode, &length) != 7)
		return false;
	mapping->path = line + length;
	mapping->length = end - mapping->address;
	mapping->device = makedev(major_number, minor_number);
	mapping->is_private = permissions[3] == 'p';
	return mapping->inode != 0 && end > mapping->address;
}

uint64_t mapping_page_size(const struct mapping *mapping)
{
	static const uint64_t sizes[] = { DMEMFS_PAGE_1G, DMEMFS_PAGE_2M };

	for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
		uint64_t first = (mapping->address + sizes[i] - 1) / sizes[i] * sizes[i];

		if ((mapping->address - mapping->offset) % sizes[i] == 0 &&
		    first + sizes[i] <= mapping->address + mapping->length)
			return sizes[i];
	}
	return DMEMFS_PAGE_4K;
}

static void user_free(gpointer data)
{
	struct user *user = data;

	g_array_unref(user->mappings);
	g_free(user->name);
	g_free(user->last_path);
	g_free(user->earlier_path);
	g_free(user->link);
	g_free(user);
}

static char *read_name(pid_t pid)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/comm", (int)pid);
	char *name = NULL;

	return g_file_get_contents(path, &name, NULL, NULL) ? g_strchomp(name) : g_strdup("?");
}

bool user_stat(const struct user *user, struct stat *st)
{
	const unsigned wanted = STATX_INO | STATX_NLINK | STATX_SIZE | STATX_BLOCKS;
	struct statx stx;

	if (statx(AT_FDCWD, user->link, user->is_earlier ? AT_STATX_DONT_SYNC : 0, wanted, &stx) < 0)
		return false;
	*st = (struct stat){
		.st_ino = stx.stx_ino,
		.st_nlink = stx.stx_nlink,
		.st_size = (off_t)stx.stx_size,
		.st_blocks = (blkcnt_t)stx.stx_blocks,
	};
	if (makedev(stx.stx_dev_major, stx.stx_dev_minor) == user->device && st->st_ino == user->inode)
		return true;
	errno = ESTALE;
	return false;
}

static const char removed_mark[] = " (deleted)"; /* proc(5) */

static char *without_mark(const char *path)
{
	return g_strndup(path, strlen(path) - (g_str_has_suffix(path, removed_mark) ? strlen(removed_mark) : 0));
}

/*
 * The path of a file that was removed, g_malloc'ed; NULL: the file is still there, under another name or one that only ends so. The
 * path is looked up only by who may not follow the link: it can be of another mount namespace, whose owner chose it.
 */
static char *removed_path(const struct user *user, const struct mapping *mapping)
{
	struct stat st;

	if (!g_str_has_suffix(mapping->path, removed_mark))
		return NULL;
	if (user_stat(user, &st)) {
		if (st.st_nlink > 0)
			return NULL;
	} else if ((errno == EPERM || errno == EACCES) && !user->is_earlier && lstat(mapping->path, &st) == 0 &&
	           st.st_dev == mapping->device && st.st_ino == mapping->inode) {
		return NULL;
	}
	return user->earlier_path ? g_strdup(user->earlier_path) : without_mark(mapping->path);
}

/* @first: the index of the first entry of this process. */
static struct user *user_of(GPtrArray *users, guint first, pid_t pid, const struct mapping *mapping,
                            const struct view *view)
{
	for (guint i = first; i < users->len; i++) {
		struct user *user = g_ptr_array_index(users, i);

		if (user->inode == mapping->inode && user->device == mapping->device)
			return user;
	}

	struct user *user = g_new0(struct user, 1);

	user->pid = pid;
	user->inode = mapping->inode;
	user->device = mapping->device;
	user->is_earlier = mapping->device != view->device;
	user->name = read_name(pid);
	user->link = g_strdup_printf("/proc/%d/map_files/%" PRIx64 "-%" PRIx64, (int)pid, mapping->address,
	                             mapping->address + mapping->length);
	if (user->is_earlier) {
		g_autofree char *path = without_mark(mapping->path);

		/* The kernel's path of a file on a mount that is gone begins at the root of that mount. */
		user->earlier_path = g_build_filename(view->root, path, NULL);
	}
	user->last_path = removed_path(user, mapping);
	user->mappings = g_array_new(FALSE, FALSE, sizeof(struct mapping));
	g_ptr_array_add(users, user);
	return user;
}

static void add_mapping(struct user *user, const struct mapping *mapping)
{
	uint64_t page_size = mapping_page_size(mapping);

	/* A small remainder of a split mapping says nothing about the alignment of the rest. */
	if (!user->page_size || (mapping->length > user->page_size && page_size < user->page_size) ||
	    (user->mapped <= user->page_size && page_size > user->page_size))
		user->page_size = page_size;
	user->mapped += mapping->length;
	user->end = MAX(user->end, mapping->offset + mapping->length);
	user->is_private |= mapping->is_private;
	g_array_append_val(user->mappings, *mapping);
	g_array_index(user->mappings, struct mapping, user->mappings->len - 1).path = NULL; /* the line goes */
}

static FILE *open_list(pid_t pid, const char *name)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/%s", (int)pid, name);

	return fopen(path, "re");
}

/*
 * Skips processes that end meanwhile, or that this process may not examine. Reads line by line: each may have a path of 4 KiB, and the
 * process chooses how many there are.
 */
static void look_at(pid_t pid, const struct view *view, GPtrArray *users)
{
	FILE *maps = open_list(pid, "maps");
	guint first = users->len;
	g_autoptr(GArray) earlier = NULL; /* earlier_mounts_of(@pid); NULL: not asked yet */
	char *line = NULL;
	size_t room = 0;

	while (maps && getline(&line, &room, maps) > 0) {
		struct mapping mapping = { 0 };

		g_strchomp(line);
		if (!mapping_parse(line, &mapping))
			continue;
		if (mapping.device != view->device) {
			if (!earlier_mounts_have(view->earlier, mapping.device))
				continue;
			if (!earlier)
				earlier = earlier_mounts_of(view->earlier, pid);
			if (!earlier_mounts_have(earlier, mapping.device))
				continue;
		}
		add_mapping(user_of(users, first, pid, &mapping, view), &mapping);
	}
	free(line);
	if (maps)
		fclose(maps);
}

static gint by_pid(gconstpointer a, gconstpointer b)
{
	const struct user *first = *(const struct user *const *)a, *second = *(const struct user *const *)b;

	if (first->pid != second->pid)
		return first->pid < second->pid ? -1 : 1;
	return first->inode < second->inode ? -1 : first->inode > second->inode;
}

GPtrArray *users_find(const struct view *view)
{
	GPtrArray *users = g_ptr_array_new_with_free_func(user_free);
	g_autoptr(GDir) processes = g_dir_open("/proc", 0, NULL);
	const char *name;

	while (processes && (name = g_dir_read_name(processes))) {
		if (g_ascii_isdigit(*name))
			look_at((pid_t)strtol(name, NULL, 10), view, users);
	}
	g_ptr_array_sort(users, by_pid);
	return users;
}

/* "0-1,4": a bit for each node below 64. */
static uint64_t parse_nodes(const char *text)
{
	uint64_t nodes = 0;

	while (g_ascii_isdigit(*text)) {
		char *end;
		uint64_t first = g_ascii_strtoull(text, &end, 10), last = first;

		if (*end == '-')
			last = g_ascii_strtoull(end + 1, &end, 10);
		for (uint64_t node = first; node <= last && node < 64; node++)
			nodes |= UINT64_C(1) << node;
		text = *end == ',' ? end + 1 : end;
	}
	return nodes;
}

/* A line is "ADDRESS POLICY ...", POLICY for example "default", "bind:0-1", "bind=static:1", "prefer:0" (numa(7)). */
bool numa_line_parse(const char *line, uint64_t *address, uint64_t *bound)
{
	char *policy;
	const char *nodes;

	*address = g_ascii_strtoull(line, &policy, 16);
	*bound = 0;
	if (policy == line || *policy != ' ')
		return false;
	nodes = strpbrk(policy + 1, ": ");
	if (g_str_has_prefix(policy, " bind") && nodes && *nodes == ':')
		*bound = parse_nodes(nodes + 1);
	return true;
}

/* All mappings of the process of the entry @first, by address. */
static GHashTable *mappings_of(const GPtrArray *users, guint first)
{
	const struct user *of = g_ptr_array_index(users, first);
	GHashTable *mappings = g_hash_table_new(g_int64_hash, g_int64_equal);

	for (guint i = first; i < users->len; i++) {
		const struct user *user = g_ptr_array_index(users, i);

		if (user->pid != of->pid)
			break;
		for (guint k = 0; k < user->mappings->len; k++) {
			struct mapping *mapping = &g_array_index(user->mappings, struct mapping, k);

			g_hash_table_insert(mappings, &mapping->address, mapping);
		}
	}
	return mappings;
}

static void read_policies_of(pid_t pid, GHashTable *mappings)
{
	FILE *policies = open_list(pid, "numa_maps");
	char *line = NULL;
	size_t room = 0;

	while (policies && getline(&line, &room, policies) > 0) {
		uint64_t address, bound;
		struct mapping *mapping =
			numa_line_parse(line, &address, &bound) ? g_hash_table_lookup(mappings, &address) : NULL;

		if (mapping)
			mapping->bound = bound;
	}
	free(line);
	if (policies)
		fclose(policies);
}

void users_read_policies(const GPtrArray *users)
{
	pid_t last = 0;

	for (guint i = 0; i < users->len; i++) {
		const struct user *user = g_ptr_array_index(users, i);

		if (user->pid != last) {
			g_autoptr(GHashTable) mappings = mappings_of(users, i);

			read_policies_of(user->pid, mappings);
		}
		last = user->pid;
	}
}

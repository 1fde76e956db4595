// SPDX-License-Identifier: GPL-2.0-or-later
/* Parses the kernel's list of mounts. */
#include "base/mounts.h"

#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/mountinfo.h"

static void mount_point_free(gpointer data)
{
	struct mount_point *mount = data;

	g_free(mount->path);
	g_free(mount->type);
	g_clear_pointer(&mount->children, g_ptr_array_unref);
	g_free(mount);
}

/* Is a server asked, one of this machine (FUSE) or of a network? */
static bool is_served(const char *type)
{
	static const char *const types[] = { "fuse", "fuse.", "fuseblk", "nfs", "nfs4",     "cifs",
		                             "smb3", "ceph",  "9p",      "afs", "virtiofs", "lustre" };

	for (size_t i = 0; i < G_N_ELEMENTS(types); i++) {
		if (strcmp(type, types[i]) == 0 || (strcmp(types[i], "fuse.") == 0 && g_str_has_prefix(type, types[i])))
			return true;
	}
	return false;
}

/* "ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [OPTIONAL...] - TYPE SOURCE OPTIONS", with octal escapes in the names. */
static struct mount_point *parse_line(const char *line)
{
	g_auto(GStrv) fields = g_strsplit(line, " ", -1);
	unsigned major_number, minor_number;
	int id, parent;
	char **field;

	if (g_strv_length(fields) < 10 || sscanf(line, "%d %d %u:%u ", &id, &parent, &major_number, &minor_number) != 4)
		return NULL;
	for (field = fields + 6; *field && strcmp(*field, "-") != 0; field++)
		;

	struct mount_point *mount = g_new0(struct mount_point, 1);

	mount->id = id;
	mount->parent = parent;
	mount->path = g_strcompress(fields[4]);
	mount->type = g_strdup(field[0] && field[1] ? field[1] : "");
	mount->device = makedev(major_number, minor_number);
	mount->is_whole = strcmp(fields[3], "/") == 0;
	mount->is_dmemfs = strcmp(mount->type, MOUNTINFO_TYPE) == 0;
	mount->may_block = !mount->is_dmemfs && is_served(mount->type);
	return mount;
}

static bool lies_on(const char *path, const char *mountpoint)
{
	size_t length = strlen(mountpoint);

	if (strcmp(mountpoint, "/") == 0)
		return path[0] == '/';
	return strncmp(path, mountpoint, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

/* The mount that the kernel enters next on the way to @path from @mount; NULL: the first of all. NULL: @path ends on @mount. */
static const struct mount_point *next_mount(const GPtrArray *mounts, const struct mount_point *mount, const char *path)
{
	const GPtrArray *next = mount ? mount->children : mounts;
	const struct mount_point *found = NULL;
	size_t length = 0;

	/* The one with the shortest path; of several with the same path, the last one is on top. */
	for (guint i = 0; next && i < next->len; i++) {
		const struct mount_point *child = g_ptr_array_index(next, i);

		if ((!mount && !child->is_first) || !lies_on(path, child->path) ||
		    (found && strlen(child->path) > length))
			continue;
		found = child;
		length = strlen(child->path);
	}
	return found;
}

/* @blocking: the first mount with may_block that is asked on the way. */
static const struct mount_point *walk(const GPtrArray *mounts, const char *path, const struct mount_point **blocking)
{
	const struct mount_point *at = next_mount(mounts, NULL, path), *next;

	*blocking = NULL;
	/* A list that changed while it was read could have a circle. */
	for (guint steps = 0; at && steps < mounts->len; steps++, at = next) {
		next = next_mount(mounts, at, path);
		/* What is mounted over its root directory hides it: it is not asked. */
		if (at->may_block && !*blocking && (!next || strcmp(next->path, at->path) != 0))
			*blocking = at;
		if (!next)
			break;
	}
	return at;
}

const struct mount_point *mounts_of_path(const GPtrArray *mounts, const char *path)
{
	const struct mount_point *blocking;

	return walk(mounts, path, &blocking);
}

const struct mount_point *mounts_blocking_lexically(const GPtrArray *mounts, const char *path)
{
	const struct mount_point *blocking;

	walk(mounts, path, &blocking);
	return blocking;
}

/*
 * Replaces the first symbolic link in @path, which is below @root, or finds that there is none. NULL without @blocking: there is none.
 * readlink(2) is asked only for names of which all before it are known not to block.
 */
static char *follow_first_link(const GPtrArray *mounts, const char *root, const char *path,
                               const struct mount_point **blocking)
{
	for (size_t length = 0; path[length];) {
		g_autofree char *target = NULL;
		g_autofree char *name = NULL;
		g_autofree char *full = NULL;

		length += 1 + strcspn(path + length + 1, "/");
		name = g_strndup(path, length);
		*blocking = mounts_blocking_lexically(mounts, name);
		if (*blocking)
			return NULL;
		full = g_strconcat(root, name, NULL);
		target = g_file_read_link(full, NULL);
		if (target) {
			g_autofree char *directory = g_path_get_dirname(name);
			g_autofree char *whole = g_strconcat(target, path + length, NULL);

			return g_canonicalize_filename(whole, directory);
		}
	}
	return NULL;
}

char *mounts_resolve(const GPtrArray *mounts, const char *root, const char *path, const struct mount_point **blocking)
{
	g_autofree char *at = g_canonicalize_filename(path, "/");

	*blocking = NULL;
	for (int links = 0; links < 40; links++) { /* MAXSYMLINKS */
		char *next = follow_first_link(mounts, root, at + (at[1] == '/'), blocking);

		if (!next)
			return *blocking ? NULL : g_strdup(at + (at[1] == '/'));
		g_free(at);
		at = next;
	}
	return NULL;
}

const struct mount_point *mounts_blocking(const GPtrArray *mounts, const char *path)
{
	const struct mount_point *blocking;

	g_free(mounts_resolve(mounts, "", path, &blocking));
	return blocking;
}

/* Tells each mount what is mounted on it. */
static void find_children(const GPtrArray *mounts)
{
	g_autoptr(GHashTable) by_id = g_hash_table_new(g_direct_hash, g_direct_equal);

	for (guint i = 0; i < mounts->len; i++) {
		struct mount_point *mount = g_ptr_array_index(mounts, i);

		g_hash_table_insert(by_id, GINT_TO_POINTER(mount->id), mount);
	}
	for (guint i = 0; i < mounts->len; i++) {
		struct mount_point *mount = g_ptr_array_index(mounts, i);
		struct mount_point *parent = g_hash_table_lookup(by_id, GINT_TO_POINTER(mount->parent));

		mount->is_first = !parent || parent == mount;
		if (mount->is_first)
			continue;
		if (!parent->children)
			parent->children = g_ptr_array_new();
		g_ptr_array_add(parent->children, mount);
	}
}

GPtrArray *mounts_parse(const char *mountinfo)
{
	GPtrArray *mounts = g_ptr_array_new_with_free_func(mount_point_free);
	g_auto(GStrv) lines = g_strsplit(mountinfo, "\n", -1);
	const struct mount_point *root;
	dev_t device;

	for (char **line = lines; *line; line++) {
		struct mount_point *mount = parse_line(*line);

		if (mount)
			g_ptr_array_add(mounts, mount);
	}
	find_children(mounts);
	root = mounts_of_path(mounts, "/");
	device = root ? root->device : 0;
	for (guint i = 0; i < mounts->len; i++) {
		struct mount_point *mount = g_ptr_array_index(mounts, i);

		mount->may_block &= mount->device != device;
	}
	return mounts;
}

/* Unless all are parts. */
static void remove_parts(GPtrArray *mounts)
{
	guint whole = 0;

	for (guint i = 0; i < mounts->len; i++)
		whole += ((const struct mount_point *)g_ptr_array_index(mounts, i))->is_whole;
	for (guint i = mounts->len; whole && i > 0; i--) {
		if (!((const struct mount_point *)g_ptr_array_index(mounts, i - 1))->is_whole)
			g_ptr_array_remove_index(mounts, i - 1);
	}
}

GPtrArray *mounts_of_dmemfs(const GPtrArray *mounts)
{
	GPtrArray *found = g_ptr_array_new();

	for (guint i = 0; i < mounts->len; i++) {
		struct mount_point *mount = g_ptr_array_index(mounts, i);
		const struct mount_point *other = NULL;
		guint k = 0;

		if (!mount->is_dmemfs)
			continue;
		for (; k < found->len; k++) {
			other = g_ptr_array_index(found, k);
			if (other->device == mount->device)
				break;
		}
		/* Asked last: this takes a walk over many mounts. */
		if ((k < found->len && (other->is_whole || !mount->is_whole)) ||
		    mounts_of_path(mounts, mount->path) != mount)
			continue;
		if (k == found->len)
			g_ptr_array_add(found, mount);
		else
			found->pdata[k] = mount;
	}
	remove_parts(found);
	return found;
}

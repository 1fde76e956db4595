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
	g_free(mount);
}

/* "ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [OPTIONAL...] - TYPE SOURCE OPTIONS", with octal escapes in the names. */
static struct mount_point *parse_line(const char *line)
{
	g_auto(GStrv) fields = g_strsplit(line, " ", -1);
	unsigned major_number, minor_number;
	char **field;

	if (g_strv_length(fields) < 10 || sscanf(fields[2], "%u:%u", &major_number, &minor_number) != 2)
		return NULL;
	for (field = fields + 6; *field && strcmp(*field, "-") != 0; field++)
		;

	struct mount_point *mount = g_new0(struct mount_point, 1);

	mount->path = g_strcompress(fields[4]);
	mount->device = makedev(major_number, minor_number);
	mount->is_whole = strcmp(fields[3], "/") == 0;
	mount->is_dmemfs = field[0] && field[1] && strcmp(field[1], MOUNTINFO_TYPE) == 0;
	return mount;
}

GPtrArray *mounts_parse(const char *mountinfo)
{
	GPtrArray *mounts = g_ptr_array_new_with_free_func(mount_point_free);
	g_auto(GStrv) lines = g_strsplit(mountinfo, "\n", -1);

	for (char **line = lines; *line; line++) {
		struct mount_point *mount = parse_line(*line);

		if (mount)
			g_ptr_array_add(mounts, mount);
	}
	return mounts;
}

static bool lies_on(const char *path, const char *mountpoint)
{
	size_t length = strlen(mountpoint);

	if (strcmp(mountpoint, "/") == 0)
		return path[0] == '/';
	return strncmp(path, mountpoint, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

const struct mount_point *mounts_of_path(const GPtrArray *mounts, const char *path)
{
	const struct mount_point *found = NULL;

	/* The mount with the longest path; of several with the same path, the last one is on top. */
	for (guint i = 0; i < mounts->len; i++) {
		const struct mount_point *mount = g_ptr_array_index(mounts, i);

		if (lies_on(path, mount->path) && (!found || strlen(mount->path) >= strlen(found->path)))
			found = mount;
	}
	return found;
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
		guint k = 0;

		if (!mount->is_dmemfs || mounts_of_path(mounts, mount->path) != mount)
			continue;
		while (k < found->len && ((struct mount_point *)g_ptr_array_index(found, k))->device != mount->device)
			k++;
		if (k == found->len)
			g_ptr_array_add(found, mount);
		else if (mount->is_whole && !((struct mount_point *)g_ptr_array_index(found, k))->is_whole)
			found->pdata[k] = mount;
	}
	remove_parts(found);
	return found;
}

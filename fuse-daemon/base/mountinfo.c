// SPDX-License-Identifier: GPL-2.0-or-later
/* What is mounted where: /proc/self/mountinfo (proc(5)). */
#include "base/mountinfo.h"

#include <errno.h>
#include <glib.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "base/log.h"
#include "base/mounts.h"

/*
 * Resolves symbolic links as realpath(3) does, but sends no request to the file system that is mounted at @path, whose
 * daemon may be dead: realpath(3) asks for attributes, readlink(2) on the root of a mount is answered by the kernel.
 */
static char *resolve(const char *path)
{
	g_autofree char *at = g_strdup(path);

	for (int links = 0; links < 40; links++) { /* MAXSYMLINKS */
		g_autofree char *directory = g_path_get_dirname(at);
		g_autofree char *name = g_path_get_basename(at);
		g_autofree char *target = g_file_read_link(at, NULL);
		char real[PATH_MAX];

		if (!target)
			return realpath(directory, real) ? g_build_filename(real, name, NULL) : NULL;
		g_free(at);
		at = g_canonicalize_filename(target, directory);
	}
	return NULL;
}

GPtrArray *mountinfo_read(GError **error)
{
	g_autofree char *text = NULL;

	return g_file_get_contents(MOUNTINFO_FILE, &text, NULL, error) ? mounts_parse(text) : NULL;
}

/* NULL on failure, which was logged. */
static GPtrArray *read_mounts(void)
{
	g_autoptr(GError) error = NULL;
	GPtrArray *mounts = mountinfo_read(&error);

	if (!mounts)
		log_warning("%s", error->message);
	return mounts;
}

/* @point: a mount point as mountinfo has it, without symbolic links; NULL: not found. */
static bool find(const char *point, dev_t *device)
{
	g_autoptr(GPtrArray) mounts = point ? read_mounts() : NULL;
	bool found = false;

	*device = 0;

	/* A later line is mounted over an earlier one. */
	for (guint i = 0; mounts && i < mounts->len; i++) {
		const struct mount_point *mount = g_ptr_array_index(mounts, i);

		if (strcmp(mount->path, point) == 0) {
			*device = mount->device;
			found = mount->is_dmemfs;
		}
	}
	return found;
}

bool mountinfo_find(const char *mountpoint, dev_t *device)
{
	g_autofree char *point = resolve(mountpoint);

	return find(point, device);
}

static bool unmount(const char *point, dev_t device, int flags)
{
	dev_t found;

	return !find(point, &found) || found != device || umount2(point, UMOUNT_NOFOLLOW | flags) == 0;
}

void mountinfo_unmount(const char *mountpoint, dev_t device)
{
	g_autofree char *point = resolve(mountpoint);

	if (unmount(point, device, 0)) {
		if (mountinfo_has(device))
			log_warning(
				"%s: still mounted: another file system is mounted over it, or it has bind mounts: unmount them",
				mountpoint);
		return;
	}
	if (errno == EBUSY)
		log_info(
			"%s: files are in use: processes that map them keep that memory; the next daemon has their names again",
			mountpoint);
	if (!unmount(point, device, MNT_DETACH))
		log_warning("%s: cannot unmount: %s: run umount -l %s", mountpoint, g_strerror(errno), mountpoint);
}

bool mountinfo_has(dev_t device)
{
	g_autoptr(GPtrArray) mounts = read_mounts();
	bool found = !mounts;

	for (guint i = 0; mounts && i < mounts->len; i++) {
		const struct mount_point *mount = g_ptr_array_index(mounts, i);

		found |= mount->is_dmemfs && mount->device == device;
	}
	return found;
}

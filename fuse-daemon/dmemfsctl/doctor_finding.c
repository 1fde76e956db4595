// SPDX-License-Identifier: GPL-2.0-or-later
/* Helpers of the checks: read files of the system, add findings. */
#include "dmemfsctl/doctor.h"
#include "dmemfsctl/view.h"

void doctor_add(struct doctor *doctor, enum level level, const char *remedy, const char *format, ...)
{
	struct finding *finding = g_new0(struct finding, 1);
	va_list args;

	va_start(args, format);
	finding->text = g_strdup_vprintf(format, args);
	va_end(args);
	finding->check = doctor->check;
	finding->level = level;
	finding->remedy = g_strdup(remedy);
	g_ptr_array_add(doctor->findings, finding);
}

char *doctor_read(const struct doctor *doctor, const char *path)
{
	g_autofree char *full = g_strconcat(doctor->root, path, NULL);
	char *text = NULL;

	return g_file_get_contents(full, &text, NULL, NULL) ? g_strchomp(text) : NULL;
}

bool doctor_exists(const struct doctor *doctor, const char *path)
{
	g_autofree char *full = g_strconcat(doctor->root, path, NULL);

	return g_file_test(full, G_FILE_TEST_EXISTS);
}

const struct mount_point *doctor_blocking(const struct doctor *doctor, const char *path)
{
	return doctor->here ? mounts_blocking(doctor->mounts, path) : NULL;
}

bool doctor_can_examine(struct doctor *doctor, const char *path)
{
	const struct mount_point *mount = doctor_blocking(doctor, path);

	if (mount)
		doctor_add(doctor, LEVEL_NOTE, "use a directory on a disk of this machine",
		           "%s is not examined: it is on the mount of %s at %s, which may not answer", path,
		           mount->type, mount->path);
	return !mount;
}

bool doctor_has_backend(const struct doctor *doctor, const char *backend)
{
	for (guint i = 0; i < doctor->views->len; i++) {
		const struct view *view = g_ptr_array_index(doctor->views, i);

		if (g_strcmp0(g_hash_table_lookup(view->daemon, "backend"), backend) == 0)
			return true;
	}
	return false;
}

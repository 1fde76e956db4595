// SPDX-License-Identifier: GPL-2.0-or-later
/* Checks of libvirt's configuration. */
#include <string.h>

#include "dmemfsctl/doctor.h"
#include "dmemfsctl/view.h"

#define QEMU_CONF "/etc/libvirt/qemu.conf"

/* The value of the last line `key = "value"` that is not a comment; g_malloc'ed, NULL when there is none. */
static char *find_setting(const char *text, const char *key)
{
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
	char *found = NULL;

	for (char **line = lines; *line; line++) {
		g_auto(GStrv) parts = g_strsplit(*line, "=", 2);

		if (!parts[0] || !parts[1] || strcmp(g_strstrip(parts[0]), key) != 0)
			continue;
		g_strdelimit(g_strstrip(parts[1]), "\"", ' ');
		g_free(found);
		found = g_strdup(g_strstrip(parts[1]));
	}
	return found;
}

const char *doctor_mountpoint(const struct doctor *doctor)
{
	if (doctor->views->len > 0)
		return ((const struct view *)g_ptr_array_index(doctor->views, 0))->root;
	return doctor->config ? doctor->config->mountpoint : "/mnt/dmemfs";
}

bool doctor_lies_on_a_mount(const struct doctor *doctor, const char *path)
{
	const char *mountpoint = doctor_mountpoint(doctor);
	const struct mount_point *blocking = doctor_blocking(doctor, path);

	if (blocking)
		return blocking->is_dmemfs;

	g_autoptr(view_t) view = doctor->here ? view_open(path, NULL) : NULL;

	return view || (g_str_has_prefix(path, mountpoint) && strchr("/", path[strlen(mountpoint)]));
}

char *doctor_backing_directory(const struct doctor *doctor)
{
	g_autofree char *text = doctor_read(doctor, QEMU_CONF);
	g_autofree char *directory = text ? find_setting(text, "memory_backing_dir") : NULL;

	return directory && doctor_lies_on_a_mount(doctor, directory) ? g_steal_pointer(&directory) : NULL;
}

/*
 * libvirt has hugetlbfs_mount = "PATH", or a list of paths in brackets, on one line or several. It stops when one of them is on
 * another file system, and manages no guest of QEMU then.
 */
static void check_hugetlbfs(struct doctor *doctor, const char *text)
{
	g_autoptr(GRegex) setting = g_regex_new("^\\s*hugetlbfs_mount\\s*=\\s*(\"[^\"]*\"|\\[[^]]*\\])",
	                                        G_REGEX_RAW | G_REGEX_MULTILINE, 0, NULL);
	g_autoptr(GMatchInfo) match = NULL;
	g_auto(GStrv) paths = NULL;
	g_autofree char *value = NULL;
	g_autofree char *remedy =
		g_strdup_printf("take it out of hugetlbfs_mount, set memory_backing_dir = \"%s\" instead, and restart "
	                        "libvirt",
	                        doctor_mountpoint(doctor));

	if (!g_regex_match(setting, text, 0, &match))
		return;
	value = g_match_info_fetch(match, 1);
	paths = g_strsplit(value, "\"", -1); /* every second one lies between quotes */
	for (guint i = 1; i < g_strv_length(paths); i += 2) {
		if (doctor_lies_on_a_mount(doctor, paths[i]))
			doctor_add(doctor, LEVEL_PROBLEM, remedy,
			           QEMU_CONF
			           ": hugetlbfs_mount has %s, which is on dmemfs: libvirt ends when it starts",
			           paths[i]);
	}
}

/* Would files of guests outlive their guests at a power failure, with all their memory? @directory: memory_backing_dir. */
static void check_lost_contents(struct doctor *doctor, const char *directory)
{
	/* Where libvirt makes them. A setting of @directory does not change what the directories in it have inherited. */
	g_autofree char *own = g_build_filename(directory, "libvirt", NULL);
	g_autofree char *guests = g_build_filename(own, "qemu", NULL);
	bool used = g_file_test(own, G_FILE_TEST_IS_DIR);
	const char *parent = g_file_test(guests, G_FILE_TEST_IS_DIR) ? guests : used ? own : directory;
	g_autofree char *value = view_read_attribute(parent, "dmemfs.lost_contents", NULL);
	g_autofree char *quoted = g_shell_quote(own);
	/*
	 * Files beside libvirt's are none of its guests'. Guests may own what is in there: a symbolic link that one of them puts in
	 * place meanwhile is not followed.
	 */
	g_autofree char *remedy =
		used ? g_strdup_printf("run find %s \\( -type d -o -type f \\) -execdir setfattr -h "
	                               "-n dmemfs.lost_contents -v remove {} +",
	                               quoted)
		     : g_strdup_printf("run mkdir -p %s/qemu && setfattr -n dmemfs.lost_contents -v remove %s %s/qemu",
	                               quoted, quoted, quoted);

	if (g_strcmp0(value, "zero") == 0)
		doctor_add(doctor, LEVEL_NOTE, remedy,
		           "dmemfs.lost_contents of %s is zero: after a power failure, files of guests that no longer "
		           "run stay there and keep their memory",
		           parent);
}

void doctor_check_libvirt(struct doctor *doctor)
{
	g_autofree char *text = doctor_read(doctor, QEMU_CONF);
	g_autofree char *directory = text ? find_setting(text, "memory_backing_dir") : NULL;
	g_autofree char *remedy =
		g_strdup_printf("set memory_backing_dir = \"%s\" in " QEMU_CONF " and restart libvirt",
	                        doctor_mountpoint(doctor));

	if (!text)
		doctor_add(doctor, LEVEL_NOTE, NULL, "libvirt is not installed");
	else if (!directory)
		doctor_add(doctor, LEVEL_NOTE, remedy,
		           QEMU_CONF ": memory_backing_dir is not set: libvirt's guests do not use dmemfs");
	else if (!doctor_lies_on_a_mount(doctor, directory))
		doctor_add(doctor, LEVEL_PROBLEM, remedy, QEMU_CONF ": memory_backing_dir = %s is not on dmemfs",
		           directory);
	else
		doctor_add(doctor, LEVEL_OK, NULL, "libvirt's guests use %s", directory);
	if (directory && doctor->here && !doctor_blocking(doctor, directory))
		check_lost_contents(doctor, directory);
	if (text)
		check_hugetlbfs(doctor, text);
}

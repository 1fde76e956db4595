// SPDX-License-Identifier: GPL-2.0-or-later
/* Checks of the daemon: its configuration, its mounts, its state directory, its quotas. */
#include <errno.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/xattr.h>

#include "dmemfsctl/doctor.h"
#include "dmemfsctl/text.h"
#include "dmemfsctl/view.h"
#include "quota/quota_check.h"
#include "quota/quota_limit.h"

#define RAMFS_MAGIC 0x858458f6 /* fs/ramfs/inode.c */
/* Bytes that should be free for the record. With 10,000 files the record has a few MiB, and its log as much again. */
#define STATE_ROOM (UINT64_C(64) << 20)

static void add_mistakes(struct doctor *doctor, const GError *error)
{
	g_auto(GStrv) lines = g_strsplit(error->message, "\n", -1);

	for (char **line = lines; *line; line++)
		doctor_add(doctor, LEVEL_PROBLEM, NULL, "%s", *line);
}

/* Nothing needs to be asked of a dmemfs at the mountpoint, whose daemon may be dead. */
static bool can_check_host(struct doctor *doctor)
{
	const struct config *config = doctor->config;
	const struct mount_point *blocking = doctor_blocking(doctor, config->mountpoint);
	g_autofree char *metrics = config->metrics_file ? g_path_get_dirname(config->metrics_file) : NULL;
	bool can = (blocking && blocking->is_dmemfs) || doctor_can_examine(doctor, config->mountpoint);

	can &= doctor_can_examine(doctor, config->state_dir);
	can &= !config->memory_dir || doctor_can_examine(doctor, config->memory_dir);
	return can & (!metrics || doctor_can_examine(doctor, metrics));
}

void doctor_check_config(struct doctor *doctor)
{
	g_autoptr(GError) error = NULL;

	if (doctor->config_error) {
		add_mistakes(doctor, doctor->config_error);
		return;
	}
	if (!doctor->config) {
		doctor_add(doctor, LEVEL_NOTE, "copy configs/dmemfsd.conf there, or name another file with --config",
		           CONFIG_DEFAULT_FILE " does not exist");
		return;
	}
	/* The machine is not checked when a daemon runs, which has done it. */
	if (doctor->views->len == 0 && can_check_host(doctor))
		config_check_for_host(doctor->config, &error);
	if (error)
		add_mistakes(doctor, error);
	else
		doctor_add(doctor, LEVEL_OK, NULL, "%s is in order", doctor->config->file);
}

static void check_poison(struct doctor *doctor, const struct view *view)
{
	uint64_t used = view_figure(view, "poisoned_used_bytes"), all = view_figure(view, "poisoned_bytes") + used;
	g_autofree char *all_text = text_size(all), *used_text = text_size(used);

	if (all > 0)
		doctor_add(doctor, used ? LEVEL_PROBLEM : LEVEL_NOTE,
		           used ? "see the log for the files; replace the memory module" : "replace the memory module",
		           "%s: %s of memory are bad, %s of them are still in files", view->root, all_text, used_text);
}

void doctor_check_daemon(struct doctor *doctor)
{
	for (guint i = 0; i < doctor->views_errors->len; i++)
		doctor_add(doctor, doctor->config ? LEVEL_PROBLEM : LEVEL_NOTE, NULL, "%s",
		           ((const GError *)g_ptr_array_index(doctor->views_errors, i))->message);
	for (guint i = 0; i < doctor->views->len; i++) {
		const struct view *view = g_ptr_array_index(doctor->views, i);
		const char *version = g_hash_table_lookup(view->daemon, "version");

		if (g_strcmp0(version, DMEMFS_VERSION) != 0)
			doctor_add(doctor, LEVEL_NOTE, "run dmemfsctl reload",
			           "%s: served by dmemfsd %s, but " DMEMFS_VERSION " is installed", view->root,
			           version);
		else
			doctor_add(doctor, LEVEL_OK, NULL, "%s: served by dmemfsd %s", view->root, version);
		check_poison(doctor, view);
	}
}

static void check_directory(struct doctor *doctor, const char *path)
{
	struct statfs fs;
	struct stat st;

	if (!doctor_can_examine(doctor, path))
		return;
	if (stat(path, &st) < 0 || statfs(path, &fs) < 0) {
		/* The daemon makes a missing directory, and logs when it cannot. */
		if (errno != ENOENT)
			doctor_add(doctor, LEVEL_PROBLEM, "make it a directory that the daemon can use", "%s: %s", path,
			           g_strerror(errno));
		return;
	}

	uint64_t room = (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize;
	g_autofree char *room_text = text_size(room);

	if (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC)
		doctor_add(doctor, LEVEL_NOTE, "name a state-dir on a disk, such as /var/lib/dmemfs",
		           "%s lies in memory: a reboot loses names and sizes", path);
	else if (room < STATE_ROOM)
		doctor_add(doctor, LEVEL_PROBLEM, "make room: the daemon refuses changes when the record cannot grow",
		           "%s: %s free", path, room_text);
	else if (st.st_mode & (S_IRWXG | S_IRWXO))
		doctor_add(doctor, LEVEL_NOTE, "run chmod 700 on it", "%s: other users can read it", path);
	else
		doctor_add(doctor, LEVEL_OK, NULL, "%s: %s free", path, room_text);
}

void doctor_check_state(struct doctor *doctor)
{
	const char *configured = doctor->config ? doctor->config->state_dir : NULL;

	for (guint i = 0; i < doctor->views->len; i++) {
		const struct view *view = g_ptr_array_index(doctor->views, i);
		const char *path = g_hash_table_lookup(view->daemon, "state_dir");

		if (path)
			check_directory(doctor, path);
		if (g_strcmp0(path, configured) == 0)
			configured = NULL;
	}
	if (configured)
		check_directory(doctor, configured);
}

/* Has the quota's directory a limit in the daemon? */
static bool is_in_force(const struct config *config, const struct quota_config *quota)
{
	g_autofree char *path = g_build_filename(config->mountpoint, quota->path, NULL);

	return lgetxattr(path, quota_limit_name(QUOTA_BYTES), NULL, 0) > 0 ||
	       lgetxattr(path, quota_limit_name(QUOTA_FILES), NULL, 0) > 0;
}

void doctor_check_quotas(struct doctor *doctor)
{
	const struct config *config = doctor->config;
	guint before = doctor->findings->len;

	if (!config || config->quotas->len == 0 || doctor_blocking(doctor, config->state_dir) ||
	    doctor_blocking(doctor, config->mountpoint))
		return;
	for (guint i = 0; i < config->quotas->len; i++) {
		const struct quota_config *quota = g_ptr_array_index(config->quotas, i);
		const char *obstacle = quota_check_obstacle(config, quota);

		if (obstacle)
			doctor_add(doctor, LEVEL_PROBLEM, "then run dmemfsctl reload",
			           "[quota %s]: cannot be in force: %s: %s", quota->name, quota->path, obstacle);
		else if (doctor->views->len > 0 && !is_in_force(config, quota))
			doctor_add(doctor, LEVEL_PROBLEM, "run dmemfsctl reload", "[quota %s]: not in force: %s",
			           quota->name, quota->path);
	}
	if (doctor->findings->len == before)
		doctor_add(doctor, LEVEL_OK, NULL, "%u quotas of the configuration are in order", config->quotas->len);
}

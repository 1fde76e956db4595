// SPDX-License-Identifier: GPL-2.0-or-later
/* Checks that this machine has what the configuration asks for. */
#include "config/config_host.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mountinfo.h"
#include "base/private.h"
#include "config/config_keys.h"

/* Why nothing can be mounted there, and the remedy. NULL: nothing is wrong. The caller frees it. */
static char *mountpoint_obstacle(const char *path)
{
	struct statx st;

	/* AT_STATX_FORCE_SYNC: after a daemon died, the kernel would answer from its cache for a while. */
	if (statx(AT_FDCWD, path, AT_STATX_FORCE_SYNC, STATX_TYPE, &st) < 0) {
		if (errno == ENOTCONN)
			return g_strdup_printf("%s is the stale mount of a daemon that died: run fusermount3 -u %s",
			                       path, path);
		if (errno == ENOENT)
			return g_strdup_printf("%s does not exist: run mkdir -p %s, or name another directory", path,
			                       path);
		return g_strdup_printf("%s: %s: name a directory that can be reached", path, g_strerror(errno));
	}
	if (!S_ISDIR(st.stx_mode))
		return g_strdup_printf("%s is not a directory: name a directory", path);
	if (st.stx_attributes & STATX_ATTR_MOUNT_ROOT)
		return g_strdup_printf("%s is a mount point already: unmount it, or name another directory", path);
	return NULL;
}

bool config_check_mountpoint(const struct config *config, GError **error)
{
	g_autofree char *obstacle = mountpoint_obstacle(config->mountpoint);

	if (!obstacle)
		return true;
	g_set_error(error, CONFIG_ERROR, CONFIG_ERROR_INVALID, "%s: [daemon] mountpoint: %s", config->file, obstacle);
	return false;
}

static void check_mountpoint(const struct config_text *text, const char *path)
{
	g_autofree char *obstacle = NULL;
	dev_t device;

	/* This daemon may take over an earlier daemon's mount, and a request to a mount without a daemon may block for ever. */
	if (mountinfo_find(path, &device))
		return;
	obstacle = mountpoint_obstacle(path);
	if (obstacle)
		config_text_fail(text, CONFIG_DAEMON, "mountpoint", "%s", obstacle);
}

/* Nothing can be kept in file systems whose files are the kernel's. */
static void check_kept(const struct config_text *text, const char *key, const char *path)
{
	static const unsigned magics[] = { PROC_SUPER_MAGIC,   SYSFS_MAGIC,         DEBUGFS_MAGIC,    TRACEFS_MAGIC,
		                           CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, SECURITYFS_MAGIC, BPF_FS_MAGIC,
		                           DEVPTS_SUPER_MAGIC, EFIVARFS_MAGIC,      PSTOREFS_MAGIC };
	g_autofree char *parent = g_path_get_dirname(path);
	struct statfs fs;

	if (statfs(path, &fs) < 0 && statfs(parent, &fs) < 0)
		return; /* check_directory() says why */
	for (size_t i = 0; i < G_N_ELEMENTS(magics); i++) {
		if ((unsigned)fs.f_type == magics[i])
			config_text_fail(
				text, CONFIG_DAEMON, key,
				"%s is on a pseudo file system of the kernel: name a directory on a disk, such as "
				"/var/lib/dmemfs",
				path);
	}
}

/* Can the daemon use or create this directory? Only its last component may be missing. @exists: it is there. */
static bool check_directory(const struct config_text *text, const char *key, const char *path, bool *exists)
{
	g_autofree char *parent = g_path_get_dirname(path);
	g_autoptr(GError) reason = NULL;
	int fd = private_directory(path, false, &reason);

	*exists = fd >= 0;
	if (fd >= 0)
		return close(fd) == 0;
	if (!g_error_matches(reason, G_FILE_ERROR, G_FILE_ERROR_NOENT))
		return config_text_fail(text, CONFIG_DAEMON, key, "%s", reason->message);
	if (faccessat(AT_FDCWD, parent, W_OK | X_OK, AT_EACCESS) < 0)
		return config_text_fail(text, CONFIG_DAEMON, key, "%s cannot be made in %s: %s: %s", path, parent,
		                        g_strerror(errno), geteuid() ? "run as root" : "make it, or name another");
	return true;
}

static void warn(const struct config_text *text, const char *key, const char *format, ...) G_GNUC_PRINTF(3, 4);
static void warn(const struct config_text *text, const char *key, const char *format, ...)
{
	g_autofree char *place = config_text_place(text, CONFIG_DAEMON, key);
	g_autofree char *message = NULL;
	va_list args;

	va_start(args, format);
	message = g_strdup_vprintf(format, args);
	va_end(args);
	log_warning("%s: %s", place, message);
}

/* Files of the memory backend take RAM as far as the tmpfs lets them. */
static void warn_of_little_memory(const struct config_text *text, const struct config *config, const struct statfs *fs)
{
	uint64_t ram = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t room = (uint64_t)fs->f_blocks * (uint64_t)fs->f_bsize;
	uint64_t wanted = config->size;

	for (guint i = 0; i < config->regions->len; i++)
		wanted += ((const struct region_config *)g_ptr_array_index(config->regions, i))->size;

	g_autofree char *room_text = g_format_size_full(room, G_FORMAT_SIZE_IEC_UNITS);
	g_autofree char *ram_text = g_format_size_full(ram, G_FORMAT_SIZE_IEC_UNITS);
	g_autofree char *wanted_text = g_format_size_full(wanted, G_FORMAT_SIZE_IEC_UNITS);

	if (!config->populate)
		return;
	/* room is 0 when the tmpfs was mounted with size=0: no limit (tmpfs(5)). */
	if (room != 0 && wanted > room)
		warn(text, "memory-dir",
		     "the tmpfs of %s has room for %s, but the size is %s: files will get ENOSPC early: lower the size, or "
		     "remount the tmpfs with a larger one",
		     config->memory_dir, room_text, wanted_text);
	else if (wanted > ram)
		warn(text, "size",
		     "this machine has %s of RAM, but the size is %s: it will run out of memory before files get ENOSPC: "
		     "lower the size",
		     ram_text, wanted_text);
}

static void check_memory_dir(const struct config_text *text, const struct config *config)
{
	static const char key[] = "memory-dir";
	g_autofree char *parent = g_path_get_dirname(config->memory_dir);
	struct statfs fs;
	bool exists = false;

	if (config->memory_dir_given && !check_directory(text, key, config->memory_dir, &exists))
		return;
	if (statfs(exists ? config->memory_dir : parent, &fs) < 0)
		config_text_fail(text, CONFIG_DAEMON, key, "%s: %s: name a directory that can be reached",
		                 config->memory_dir, g_strerror(errno));
	else if (fs.f_type != TMPFS_MAGIC)
		config_text_fail(text, CONFIG_DAEMON, key,
		                 "%s is not on tmpfs: name a directory below /dev/shm or another tmpfs",
		                 config->memory_dir);
	else
		warn_of_little_memory(text, config, &fs);
}

/* The daemon starts all the same, and tries again. */
static void check_metrics_file(const struct config_text *text, const char *path)
{
	g_autofree char *directory = g_path_get_dirname(path);

	if (faccessat(AT_FDCWD, directory, W_OK | X_OK, AT_EACCESS) == 0)
		return;
	if (errno == ENOENT)
		warn(text, "metrics-file", "%s does not exist: run mkdir -p %s, or name another file", directory,
		     directory);
	else
		warn(text, "metrics-file", "no file can be made in %s: %s: name another file", directory,
		     g_strerror(errno));
}

/* The most descriptors that a request thread has, and the rest of the daemon. Open files need none (backend.h). */
#define DESCRIPTORS_OF_A_THREAD 3
#define DESCRIPTORS_OF_THE_REST 64

static void check_descriptors(const struct config_text *text, const struct config *config)
{
	rlim_t needed = config->threads * DESCRIPTORS_OF_A_THREAD + DESCRIPTORS_OF_THE_REST;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_max >= needed)
		return;
	config_text_fail(text, CONFIG_DAEMON, "threads",
	                 "%u threads need up to %lu open files, and the limit is %lu: configure fewer "
	                 "threads, or raise the limit (LimitNOFILE= of the unit, ulimit -Hn)",
	                 config->threads, (unsigned long)needed, (unsigned long)limit.rlim_max);
}

void config_check_host(const struct config_text *text, const struct config *config)
{
	bool exists;

	check_descriptors(text, config);
	check_mountpoint(text, config->mountpoint);
	check_kept(text, "state-dir", config->state_dir);
	check_directory(text, "state-dir", config->state_dir, &exists);
	if (config->memory_dir && !config_text_failed(text, CONFIG_DAEMON, "memory-dir") &&
	    !config_text_failed(text, CONFIG_DAEMON, "backend"))
		check_memory_dir(text, config);
	if (config->metrics_file && !config_text_failed(text, CONFIG_DAEMON, "metrics-file"))
		check_metrics_file(text, config->metrics_file);
}

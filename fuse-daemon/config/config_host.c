// SPDX-License-Identifier: GPL-2.0-or-later
/* Checks that this machine has what the configuration asks for. */
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
#include "config/config.h"

static bool fail(const struct config *config, const char *place, GError **error, const char *format, ...)
	G_GNUC_PRINTF(4, 5);
static bool fail(const struct config *config, const char *place, GError **error, const char *format, ...)
{
	g_autofree char *message = NULL;
	va_list args;

	va_start(args, format);
	message = g_strdup_vprintf(format, args);
	va_end(args);
	g_set_error(error, CONFIG_ERROR, CONFIG_ERROR_HOST, "%s: %s: %s", config->file, place, message);
	return false;
}

bool config_check_mountpoint(const struct config *config, GError **error)
{
	static const char place[] = "[daemon] mountpoint";
	const char *path = config->mountpoint;
	struct statx st;

	/* AT_STATX_FORCE_SYNC: after a daemon died, the kernel would answer from its cache for a while. */
	if (statx(AT_FDCWD, path, AT_STATX_FORCE_SYNC, STATX_TYPE, &st) < 0) {
		if (errno == ENOTCONN)
			return fail(config, place, error,
			            "%s is the stale mount of a daemon that died: run fusermount3 -u %s", path, path);
		if (errno == ENOENT)
			return fail(config, place, error,
			            "%s does not exist: run mkdir -p %s, or name another directory", path, path);
		return fail(config, place, error, "%s: %s: name a directory that can be reached", path,
		            g_strerror(errno));
	}
	if (!S_ISDIR(st.stx_mode))
		return fail(config, place, error, "%s is not a directory: name a directory", path);
	if (st.stx_attributes & STATX_ATTR_MOUNT_ROOT)
		return fail(config, place, error, "%s is a mount point already: unmount it, or name another directory",
		            path);
	return true;
}

/* Nothing can be kept in file systems whose files are the kernel's. */
static bool check_kept(const struct config *config, const char *place, const char *path, GError **error)
{
	static const unsigned magics[] = { PROC_SUPER_MAGIC,   SYSFS_MAGIC,         DEBUGFS_MAGIC,    TRACEFS_MAGIC,
		                           CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, SECURITYFS_MAGIC, BPF_FS_MAGIC,
		                           DEVPTS_SUPER_MAGIC, EFIVARFS_MAGIC,      PSTOREFS_MAGIC };
	g_autofree char *parent = g_path_get_dirname(path);
	struct statfs fs;

	if (statfs(path, &fs) < 0 && statfs(parent, &fs) < 0)
		return true; /* check_directory() says why */
	for (size_t i = 0; i < G_N_ELEMENTS(magics); i++) {
		if ((unsigned)fs.f_type == magics[i])
			return fail(config, place, error,
			            "%s is on a pseudo file system of the kernel: name a directory on a disk, such as "
			            "/var/lib/dmemfs",
			            path);
	}
	return true;
}

/* Can the daemon use or create this directory? Only its last component may be missing. @exists: it is there. */
static bool check_directory(const struct config *config, const char *place, const char *path, bool *exists,
                            GError **error)
{
	g_autofree char *parent = g_path_get_dirname(path);
	g_autoptr(GError) reason = NULL;
	int fd = private_directory(path, false, &reason);

	*exists = fd >= 0;
	if (fd >= 0)
		return close(fd) == 0;
	if (!g_error_matches(reason, G_FILE_ERROR, G_FILE_ERROR_NOENT))
		return fail(config, place, error, "%s", reason->message);
	if (faccessat(AT_FDCWD, parent, W_OK | X_OK, AT_EACCESS) < 0)
		return fail(config, place, error, "%s cannot be made in %s: %s: %s", path, parent, g_strerror(errno),
		            geteuid() ? "run as root" : "make it, or name another");
	return true;
}

/* Files of the memory backend take RAM as far as the tmpfs lets them. */
static void warn_of_little_memory(const struct config *config, const struct statfs *fs)
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
		log_warning(
			"%s: [daemon] memory-dir: the tmpfs of %s has room for %s, but the size is %s: files will get "
			"ENOSPC early: lower the size, or remount the tmpfs with a larger one",
			config->file, config->memory_dir, room_text, wanted_text);
	else if (wanted > ram)
		log_warning(
			"%s: [daemon] size: this machine has %s of RAM, but the size is %s: it will run out of memory "
			"before files get ENOSPC: lower the size",
			config->file, ram_text, wanted_text);
}

static bool check_memory_dir(const struct config *config, GError **error)
{
	static const char place[] = "[daemon] memory-dir";
	g_autofree char *parent = g_path_get_dirname(config->memory_dir);
	struct statfs fs;
	bool exists = false;

	if (config->memory_dir_given && !check_directory(config, place, config->memory_dir, &exists, error))
		return false;
	if (statfs(exists ? config->memory_dir : parent, &fs) < 0)
		return fail(config, place, error, "%s: %s: name a directory that can be reached", config->memory_dir,
		            g_strerror(errno));
	if (fs.f_type != TMPFS_MAGIC)
		return fail(config, place, error,
		            "%s is not on tmpfs: name a directory below /dev/shm or another tmpfs", config->memory_dir);
	warn_of_little_memory(config, &fs);
	return true;
}

/* The most descriptors that a request thread has, and the rest of the daemon. Open files need none (backend.h). */
#define DESCRIPTORS_OF_A_THREAD 3
#define DESCRIPTORS_OF_THE_REST 64

static bool check_descriptors(const struct config *config, GError **error)
{
	rlim_t needed = config->threads * DESCRIPTORS_OF_A_THREAD + DESCRIPTORS_OF_THE_REST;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_max >= needed)
		return true;
	return fail(config, "[daemon] threads", error,
	            "%u threads need up to %lu open files, and the limit is %lu: configure fewer "
	            "threads, or raise the limit (LimitNOFILE= of the unit, ulimit -Hn)",
	            config->threads, (unsigned long)needed, (unsigned long)limit.rlim_max);
}

bool config_check_host(const struct config *config, GError **error)
{
	dev_t device;
	bool exists;

	return check_descriptors(config, error) &&
	       (mountinfo_find(config->mountpoint, &device) || config_check_mountpoint(config, error)) &&
	       check_kept(config, "[daemon] state-dir", config->state_dir, error) &&
	       check_directory(config, "[daemon] state-dir", config->state_dir, &exists, error) &&
	       (config->backend != BACKEND_MEMORY || check_memory_dir(config, error));
}

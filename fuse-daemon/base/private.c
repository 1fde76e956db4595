// SPDX-License-Identifier: GPL-2.0-or-later
/* Files and directories that only the daemon's user can change. */
#include "base/private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINKS_MAX 40 /* MAXSYMLINKS */

/* An unprivileged user who may not reach @path is told so instead of @remedy. */
static bool fail(GError **error, int err, const char *path, const char *remedy)
{
	if (err == EACCES && geteuid() != 0)
		remedy = "run as root";
	g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(err), "%s: %s: %s", path, g_strerror(err), remedy);
	return false;
}

/* What the user of this process can do about @path, which belongs to another user. Others may own a directory for a reason. */
static char *owner_remedy(const char *path, const struct stat *st)
{
	if (geteuid() != 0 && st->st_uid == 0)
		return g_strdup("run as root, or name another");
	if (geteuid() != 0)
		return g_strdup_printf("run as user %u, or name another", st->st_uid);
	return !S_ISREG(st->st_mode) ? g_strdup("name another, that belongs to root")
	                             : g_strdup_printf("run chown -h 0 %s, or name another", path);
}

/* @own: @path must belong to the daemon's user; without, it may also belong to root, or be writable and sticky. */
static bool check(const char *path, const struct stat *st, bool own, GError **error)
{
	unsigned mode = st->st_mode & 07777;
	g_autofree char *remedy = owner_remedy(path, st);

	if (st->st_uid != geteuid() && (own || st->st_uid != 0))
		g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_PERM, "%s belongs to user %u (mode %04o): %s", path,
		            st->st_uid, mode, remedy);
	else if (!S_ISLNK(st->st_mode) && (mode & (S_IWGRP | S_IWOTH)) && (own || !(mode & S_ISVTX)))
		g_set_error(
			error, G_FILE_ERROR, G_FILE_ERROR_PERM,
			"%s can be written by others (mode %04o): run chmod go-w %s, or name one of the daemon's own",
			path, mode, path);
	else
		return true;
	return false;
}

static bool check_way(const char *path, unsigned links, GError **error);

/* Checks what the symbolic link @path points to. Its directory @directory has been checked. */
static bool check_target(const char *path, const char *directory, unsigned links, GError **error)
{
	g_autofree char *target = g_file_read_link(path, NULL);
	char *real = realpath(directory, NULL);
	g_autofree char *next = target && real ? g_canonicalize_filename(target, real) : NULL;

	free(real);
	if (!next || links == LINKS_MAX)
		return fail(error, ELOOP, path, "name a directory that can be reached");
	return check_way(next, links + 1, error);
}

/* Checks the directory @path, and every directory and symbolic link that leads to it, from the root on. */
static bool check_way(const char *path, unsigned links, GError **error)
{
	g_autofree char *parent = g_path_get_dirname(path);
	struct stat st;

	if (!g_str_equal(parent, path) && !check_way(parent, links, error))
		return false;
	if (lstat(path, &st) < 0)
		return fail(error, errno == ENOENT ? ENOTDIR : errno, path, "name a directory that can be reached");
	if (!check(path, &st, false, error))
		return false;
	if (S_ISLNK(st.st_mode))
		return check_target(path, parent, links, error);
	return S_ISDIR(st.st_mode) || fail(error, ENOTDIR, path, "name another");
}

int private_directory(const char *path, bool make, GError **error)
{
	g_autofree char *parent = g_path_get_dirname(path);
	g_autoptr(GError) reason = NULL;
	struct stat st;
	int fd = -1;

	if (!check_way(parent, 0, &reason)) {
		if (reason->code != G_FILE_ERROR_PERM)
			g_prefix_error(&reason, "%s cannot be made, run mkdir -p %s: ", path, parent);
		g_propagate_error(error, g_steal_pointer(&reason));
		return -1;
	}
	/* mkdir() applies the umask; chmod() does not. */
	if (make && (mkdir(path, 0700) == 0 ? chmod(path, 0700) < 0 : errno != EEXIST)) {
		fail(error, errno, path, "cannot be made: make it, or name another");
		return -1;
	}
	if (lstat(path, &st) < 0)
		fail(error, errno, path, "name a directory that can be reached");
	else if (!S_ISDIR(st.st_mode))
		g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_NOTDIR,
		            "%s is not a directory: remove it, or name another", path);
	else if (check(path, &st, true, error)) {
		fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			fail(error, errno, path, "name a directory that can be reached");
	}
	return fd;
}

int private_file(int directory, const char *name, int flags, GError **error)
{
	g_autofree char *link = g_strdup_printf("/proc/self/fd/%d", directory);
	g_autofree char *parent = g_file_read_link(link, NULL);
	g_autofree char *path = g_build_filename(parent ?: "", name, NULL);
	/* O_NONBLOCK: the open of a fifo must not block. */
	int fd = openat(directory, name, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		fail(error, errno, path, "cannot open");
	else if (!S_ISREG(st.st_mode))
		g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL, "%s is not a regular file: remove it", path);
	else if (check(path, &st, true, error)) {
		if ((st.st_mode & 07777) == 0600 || fchmod(fd, 0600) == 0)
			return fd;
		fail(error, errno, path, "cannot make it private");
	}
	if (fd >= 0)
		close(fd);
	return -1;
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* The state directory, held by one daemon at a time. */
#include "instance.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int fail(GError **error, const char *path, const char *what, int err)
{
	g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(err), "%s: %s: %s", path, what, g_strerror(err));
	return -1;
}

/* The pid that the holder wrote into the lock file, for the message only. */
static int held_by_other(GError **error, const char *path, int fd)
{
	char pid[16] = "";
	ssize_t length = pread(fd, pid, sizeof(pid) - 1, 0);

	pid[MAX(length, 0)] = '\0';
	g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_EXIST,
	            "%s: another daemon (pid %s) uses this state directory: stop it, or give each daemon its own state-dir",
	            path, *pid ? g_strchomp(pid) : "unknown");
	return -1;
}

static bool names_this_process(int fd)
{
	char held[16] = "", own[16];

	snprintf(own, sizeof(own), "%d\n", (int)getpid());
	return pread(fd, held, sizeof(held) - 1, 0) > 0 && strcmp(held, own) == 0;
}

void instance_ready(int lock)
{
	futimens(lock, NULL); /* now */
}

int instance_lock(const char *state_dir, GError **error)
{
	g_autofree char *path = g_build_filename(state_dir, "lock", NULL);

	if (mkdir(state_dir, 0700) < 0 && errno != EEXIST)
		return fail(error, state_dir, "cannot make the state directory", errno);

	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return fail(error, path, "cannot open", errno);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno == EWOULDBLOCK)
			held_by_other(error, path, fd);
		else
			fail(error, path, "cannot lock", errno);
		close(fd);
		return -1;
	}
	if (!names_this_process(fd) && (ftruncate(fd, 0) < 0 || dprintf(fd, "%d\n", (int)getpid()) < 0)) {
		fail(error, path, "cannot write", errno);
		close(fd);
		return -1;
	}
	return fd;
}

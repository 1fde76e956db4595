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

#include "private.h"
#include "store.h"

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

/* What an earlier version left readable. SQLite gives what it makes beside the database the mode of that. */
static bool close_to_others(int directory, GError **error)
{
	static const char *const names[] = { STORE_FILE, STORE_FILE "-wal", STORE_FILE "-shm" };

	for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
		g_autoptr(GError) reason = NULL;
		int fd = private_file(directory, names[i], O_RDONLY, &reason);

		if (fd >= 0) {
			close(fd);
		} else if (!g_error_matches(reason, G_FILE_ERROR, G_FILE_ERROR_NOENT)) {
			g_propagate_error(error, g_steal_pointer(&reason));
			return false;
		}
	}
	return true;
}

/* Owns @directory. */
static int take_lock(int directory, const char *path, GError **error)
{
	int fd = private_file(directory, "lock", O_RDWR | O_CREAT, error);
	bool done = false;

	if (fd < 0) {
		/* said */
	} else if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno == EWOULDBLOCK)
			held_by_other(error, path, fd);
		else
			fail(error, path, "cannot lock", errno);
	} else if (!names_this_process(fd) && (ftruncate(fd, 0) < 0 || dprintf(fd, "%d\n", (int)getpid()) < 0)) {
		fail(error, path, "cannot write", errno);
	} else {
		done = close_to_others(directory, error);
	}
	close(directory);
	if (fd >= 0 && !done)
		close(fd);
	return done ? fd : -1;
}

int instance_lock(const char *state_dir, GError **error)
{
	g_autofree char *path = g_build_filename(state_dir, "lock", NULL);
	int directory = private_directory(state_dir, true, error);

	return directory < 0 ? -1 : take_lock(directory, path, error);
}

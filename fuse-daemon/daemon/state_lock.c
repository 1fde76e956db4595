// SPDX-License-Identifier: GPL-2.0-or-later
/* The lock of the state directory: only one daemon at a time uses the directory. */
#include "daemon/state_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mountinfo.h"
#include "base/notify.h"
#include "base/private.h"
#include "store/store.h"

/* How often to try to lock, in microseconds. */
#define POLL (20 * 1000)

static bool fail(GError **error, const char *path, const char *what, int err)
{
	g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(err), "%s: %s: %s", path, what, g_strerror(err));
	return false;
}

/*
 * The daemon that holds the lock, from the lock file: "PID\nMAJOR:MINOR\nCONFIGURATION\n". The lines after the first are there once the
 * daemon serves.
 */
struct holder {
	int pid;      /* 0: unknown */
	dev_t device; /* of its mount; 0: it does not serve yet */
};

static struct holder read_holder(int lock)
{
	struct holder holder = { 0 };
	unsigned major_number, minor_number;
	char text[64] = "";

	if (pread(lock, text, sizeof(text) - 1, 0) > 0 &&
	    sscanf(text, "%d\n%u:%u", &holder.pid, &major_number, &minor_number) == 3)
		holder.device = makedev(major_number, minor_number);
	return holder;
}

void state_lock_ready(int lock, dev_t device, const char *config_file)
{
	g_autofree char *text =
		g_strdup_printf("%d\n%u:%u\n%s\n", (int)getpid(), major(device), minor(device), config_file);

	if (ftruncate(lock, (off_t)strlen(text)) < 0 || pwrite(lock, text, strlen(text), 0) < 0)
		log_warning(
			"cannot write the lock file of the state directory: %s: a daemon that starts meanwhile will "
			"wait for this one",
			g_strerror(errno));
}

/* Tells the log and the service manager. */
static void say_waiting(const struct holder *holder, const char *path)
{
	g_autofree char *state = g_strdup_printf("STATUS=Waiting for the daemon with pid %d to end", holder->pid);

	notify_send(state);
	log_info("%s: waiting for the daemon with pid %d, whose mount is gone or not made yet, to end", path,
	         holder->pid);
}

static bool fail_held(GError **error, const char *path, const struct holder *holder, bool serves)
{
	if (serves)
		g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_EXIST,
		            "%s: another daemon (pid %d) uses this state directory: stop it, or name another state-dir",
		            path, holder->pid);
	else
		g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_EXIST,
		            "%s: the mount of another daemon (pid %d) is unmounted here, but that daemon still serves "
		            "open files, or a copy of the mount in another mount namespace (grep -l ' %u:%u ' "
		            "/proc/[0-9]*/mountinfo finds the copies): wait for its end, or stop it",
		            path, holder->pid, major(holder->device), minor(holder->device));
	return false;
}

/*
 * Waits for a daemon whose mount is gone, because it will end soon. Fails at once when the other daemon serves a
 * mount.
 */
static bool wait_for_lock(int lock, const char *path, unsigned patience, GError **error)
{
	int64_t end = g_get_monotonic_time() + patience * G_USEC_PER_SEC;
	struct holder holder;
	int waited_for = 0;
	bool mounted;

	while (flock(lock, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK)
			return fail(error, path, "cannot lock", errno);
		holder = read_holder(lock);
		mounted = holder.device && mountinfo_has(holder.device);
		if (mounted || g_get_monotonic_time() >= end)
			return fail_held(error, path, &holder, mounted || !holder.device);
		if (waited_for != holder.pid)
			say_waiting(&holder, path);
		waited_for = holder.pid;
		g_usleep(POLL);
	}
	return true;
}

/* Makes files private that an earlier version left readable. SQLite gives new files the mode of the database. */
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
static int take_lock(int directory, const char *path, unsigned patience, GError **error)
{
	int fd = private_file(directory, "lock", O_RDWR | O_CREAT, error);
	bool done = fd >= 0 && wait_for_lock(fd, path, patience, error);

	/* After a reload this process already held the lock: the file stays as it is until state_lock_ready(). */
	if (done && read_holder(fd).pid != (int)getpid() &&
	    (ftruncate(fd, 0) < 0 || dprintf(fd, "%d\n", (int)getpid()) < 0))
		done = fail(error, path, "cannot write", errno);
	done = done && close_to_others(directory, error);
	close(directory);
	if (fd >= 0 && !done)
		close(fd);
	return done ? fd : -1;
}

int state_lock_take(const char *state_dir, unsigned patience, GError **error)
{
	g_autofree char *path = g_build_filename(state_dir, "lock", NULL);
	int directory = private_directory(state_dir, true, error);

	return directory < 0 ? -1 : take_lock(directory, path, patience, error);
}

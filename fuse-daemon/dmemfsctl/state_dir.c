// SPDX-License-Identifier: GPL-2.0-or-later
/* The state directory that a subcommand works on, and the daemon that uses it. */
#include "dmemfsctl/state_dir.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/config.h"
#include "daemon/state_lock.h"
#include "store/store.h"

static char *choose(const char *operand, const char *file, GError **error)
{
	if (operand && file) {
		command_fail(error, STATUS_USAGE, "both --config and the directory %s are given: name one of them",
		             operand);
		return NULL;
	}
	if (operand)
		return g_canonicalize_filename(operand, NULL);

	g_autoptr(config_t) config = config_load(file ? file : CONFIG_DEFAULT_FILE, error);

	return config ? g_strdup(config->state_dir) : NULL;
}

static bool check_directory(const char *state_dir, GError **error)
{
	struct stat st;

	if (stat(state_dir, &st) < 0)
		command_fail(error, STATUS_FAILED, "%s: %s%s", state_dir, g_strerror(errno),
		             errno == EACCES ? command_as_root(errno) : ": name the state-dir of a configuration");
	else if (!S_ISDIR(st.st_mode))
		command_fail(error, STATUS_FAILED, "%s: is not a directory: name the state-dir, or use --config FILE",
		             state_dir);
	else
		return true;
	return false;
}

static bool check_database(const char *state_dir, GError **error)
{
	g_autofree char *path = g_build_filename(state_dir, STORE_FILE, NULL);
	struct stat st;

	if (stat(path, &st) == 0)
		return true;
	if (errno == ENOENT)
		command_fail(error, STATUS_FAILED, "%s: has no " STORE_FILE ": no daemon has used this directory yet",
		             state_dir);
	else
		command_fail(error, STATUS_FAILED, "%s: %s%s", path, g_strerror(errno), command_as_root(errno));
	return false;
}

char *state_dir_find(const char *operand, const char *config, GError **error)
{
	g_autofree char *path = choose(operand, config, error);

	return path && check_directory(path, error) && check_database(path, error) ? g_steal_pointer(&path) : NULL;
}

/* A line of the lock file (state_lock.c), from 0 on. NULL: there is none. */
static char *read_line(const char *state_dir, guint number)
{
	g_autofree char *path = g_build_filename(state_dir, "lock", NULL);
	g_autofree char *text = NULL;
	g_auto(GStrv) lines = NULL;

	if (!g_file_get_contents(path, &text, NULL, NULL))
		return NULL;
	lines = g_strsplit(text, "\n", -1);
	return number < g_strv_length(lines) && *lines[number] ? g_strdup(lines[number]) : NULL;
}

static char *read_pid(const char *state_dir)
{
	return read_line(state_dir, 0);
}

char *state_dir_config(const char *state_dir)
{
	return read_line(state_dir, 2);
}

static int lock(const char *state_dir, GError **error)
{
	g_autoptr(GError) reason = NULL;
	int fd = state_lock_take(state_dir, 0, &reason);

	if (fd >= 0)
		return fd;
	if (!g_error_matches(reason, G_FILE_ERROR, G_FILE_ERROR_EXIST)) {
		g_propagate_error(error, g_steal_pointer(&reason));
		return -1;
	}

	g_autofree char *pid = read_pid(state_dir);

	command_fail(error, STATUS_DAEMON,
	             "%s: the daemon (pid %s) is running: unmount it first, with fusermount3 -u MOUNTPOINT", state_dir,
	             pid ? pid : "unknown");
	return -1;
}

enum status state_dir_work(const struct invocation *invocation, const char *config,
                           enum status (*work)(const char *state_dir, struct json *json, GError **error),
                           GError **error)
{
	g_autofree char *state_dir = state_dir_find(invocation->operands[0], config, error);
	int fd = state_dir ? lock(state_dir, error) : -1;
	enum status status = STATUS_FAILED;

	if (fd >= 0) {
		status = work(state_dir, invocation->json, error);
		close(fd);
	}
	return status;
}

pid_t state_dir_daemon(const char *state_dir, GError **error)
{
	g_autoptr(GError) held = NULL;
	int fd = state_lock_take(state_dir, 0, &held);
	g_autofree char *text = NULL;
	guint64 pid;

	if (fd >= 0) {
		close(fd);
	} else if (g_error_matches(held, G_FILE_ERROR, G_FILE_ERROR_EXIST)) {
		text = read_pid(state_dir);
		if (text && g_ascii_string_to_unsigned(text, 10, 1, G_MAXINT, &pid, NULL))
			return (pid_t)pid;
	} else {
		g_propagate_error(error, g_steal_pointer(&held));
		return -1;
	}
	command_fail(error, STATUS_DAEMON, "%s: no daemon runs: start it with dmemfsd --config FILE", state_dir);
	return -1;
}

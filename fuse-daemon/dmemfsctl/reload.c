// SPDX-License-Identifier: GPL-2.0-or-later
/* dmemfsctl reload: makes the daemon go on with the installed program and configuration. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "config/config.h"
#include "dmemfsctl/command.h"
#include "dmemfsctl/state_dir.h"

/*
 * How long a daemon may take to answer its current requests and to load its record. Generous, for machines under
 * load.
 */
#define PATIENCE (60 * G_USEC_PER_SEC)
#define POLL     (20 * 1000)

static struct {
	char *config;
} arguments;

static const GOptionEntry options[] = { { "config", 'c', 0, G_OPTION_ARG_FILENAME, &arguments.config,
	                                  "Reload the daemon of this configuration, instead of " CONFIG_DEFAULT_FILE,
	                                  "FILE" },
	                                G_OPTION_ENTRY_NULL };

/* The mtime of the lock file: a daemon writes the file when it serves, also after a reload. */
static struct timespec lock_time(const char *state_dir)
{
	g_autofree char *path = g_build_filename(state_dir, "lock", NULL);
	struct stat st;

	return stat(path, &st) == 0 ? st.st_mtim : (struct timespec){ 0 };
}

static enum status wait_for_next(const char *state_dir, struct timespec before, GError **error)
{
	gint64 deadline = g_get_monotonic_time() + PATIENCE;

	while (g_get_monotonic_time() < deadline) {
		struct timespec now = lock_time(state_dir);

		if (now.tv_sec != before.tv_sec || now.tv_nsec != before.tv_nsec)
			return STATUS_DONE;
		g_usleep(POLL);
	}
	return command_fail(error, STATUS_FAILED, "%s: the daemon has not reloaded in %d s: its log says why",
	                    state_dir, (int)(PATIENCE / G_USEC_PER_SEC));
}

static bool is_same(const char *one, const char *other)
{
	g_autofree char *first = g_canonicalize_filename(one, NULL), *second = g_canonicalize_filename(other, NULL);
	struct stat a, b;

	return strcmp(first, second) == 0 ||
	       (stat(one, &a) == 0 && stat(other, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino);
}

/* A daemon reads the file again that it was started with: another one would be checked here and then not be used. */
static bool check_file(const char *state_dir, pid_t pid, GError **error)
{
	const char *wanted = arguments.config ? arguments.config : CONFIG_DEFAULT_FILE;
	g_autofree char *used = state_dir_config(state_dir);

	if (!used || is_same(wanted, used))
		return true;
	command_fail(error, STATUS_FAILED,
	             "%s: the daemon (pid %d) was started with %s and reads that file again: change that file and use "
	             "--config %s, or stop the daemon and start it with --config %s",
	             wanted, (int)pid, used, used, wanted);
	return false;
}

/* Checks the configuration here, because the daemon reports errors only in its log. */
static bool check_configuration(GError **error)
{
	g_autoptr(config_t) config =
		config_load_for_host(arguments.config ? arguments.config : CONFIG_DEFAULT_FILE, error);

	return config;
}

static enum status run(const struct invocation *invocation, GError **error)
{
	g_autofree char *state_dir = NULL;
	struct timespec before;
	enum status status;
	pid_t pid;

	if (!check_configuration(error))
		return STATUS_FAILED;
	state_dir = state_dir_find(NULL, arguments.config, error);
	if (!state_dir)
		return STATUS_FAILED;
	pid = state_dir_daemon(state_dir, error);
	if (pid < 0 || !check_file(state_dir, pid, error))
		return STATUS_FAILED;
	before = lock_time(state_dir);
	if (kill(pid, SIGHUP) < 0)
		return command_fail(error, STATUS_FAILED, "daemon (pid %d): %s%s", (int)pid, g_strerror(errno),
		                    command_as_root(errno));
	status = wait_for_next(state_dir, before, error);
	if (status != STATUS_DONE)
		return status;
	if (invocation->json)
		json_unsigned(invocation->json, "pid", (uint64_t)pid);
	else
		printf("%s: reloaded (pid %d)\n", state_dir, (int)pid);
	return STATUS_DONE;
}

const struct command command_reload = {
	.name = "reload",
	.operands = "",
	.summary = "Make the daemon go on with the installed program and configuration",
	.details = "Users of the mount see a short pause. If the new program does not accept the configuration, the\n"
		   "daemon goes on as it is.",
	.options = options,
	.run = run,
};

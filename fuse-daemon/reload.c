// SPDX-License-Identifier: GPL-2.0-or-later
/* The daemon replaces itself by the program that is installed now. */
#include "reload.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "keeper.h"
#include "log.h"

static char **arguments;
static char *program;
static char *directory; /* where relative paths of the command line start */

void reload_init(char **argv)
{
	arguments = argv;
	program = g_file_read_link("/proc/self/exe", NULL);
	directory = g_get_current_dir();
}

bool reload_is_safe(const char *config_file)
{
	char *argv[] = { program, (char *)"--check-config", (char *)"--config", (char *)config_file, NULL };
	g_autofree char *complaint = NULL;
	g_autoptr(GError) error = NULL;
	int status;

	if (!g_spawn_sync(directory, argv, NULL, G_SPAWN_STDOUT_TO_DEV_NULL, NULL, NULL, NULL, &complaint, &status, &error)) {
		log_error("not reloaded: %s: %s", program, error->message);
		return false;
	}
	if (!g_spawn_check_wait_status(status, NULL)) {
		log_error("not reloaded: %s", g_strstrip(complaint));
		return false;
	}
	return true;
}

static void change_signals(int how)
{
	sigset_t mask;

	sigemptyset(&mask);
	sigaddset(&mask, SIGHUP);
	sigaddset(&mask, SIGINT);
	sigaddset(&mask, SIGTERM);
	sigprocmask(how, &mask, NULL);
}

void reload_block_signals(void)
{
	change_signals(SIG_BLOCK);
}

void reload_unblock_signals(void)
{
	change_signals(SIG_UNBLOCK);
}

void reload_exec(int fd)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	setenv("LISTEN_PID", pid, true);
	setenv("LISTEN_FDS", "1", true);
	setenv("LISTEN_FDNAMES", KEEPER_FDNAME, true);
	if (chdir(directory) < 0)
		log_warning("%s: %s", directory, g_strerror(errno));
	/* The copy stays open across the exec, everything else does not. */
	if (fd == KEEPER_FIRST_FD ? fcntl(fd, F_SETFD, 0) == 0 : dup2(fd, KEEPER_FIRST_FD) >= 0)
		execv(program, arguments);
	log_error("not reloaded: %s: %s", program, g_strerror(errno));
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* Reload: the daemon replaces itself by the installed program. */
#include "daemon/reload.h"

#include <errno.h>
#include <glib.h>
#include <signal.h>
#include <unistd.h>

#include "base/log.h"
#include "connection/fd_store.h"

static char **arguments;
static char *program;
static char *directory; /* the working directory at the start, for relative paths of the command line */

void reload_init(char **argv)
{
	arguments = argv;
	program = g_file_read_link("/proc/self/exe", NULL);
	directory = g_get_current_dir();
}

char *reload_absolute(const char *path)
{
	return g_canonicalize_filename(path, directory);
}

static bool program_accepts(const char *config_file)
{
	char *argv[] = { program, (char *)"--check-config", (char *)"--config", (char *)config_file, NULL };
	g_autofree char *complaint = NULL;
	g_autoptr(GError) error = NULL;
	int status;

	if (!g_spawn_sync(directory, argv, NULL, G_SPAWN_STDOUT_TO_DEV_NULL, NULL, NULL, NULL, &complaint, &status,
	                  &error)) {
		log_error("not reloaded: %s: %s", program, error->message);
		return false;
	}
	if (g_spawn_check_wait_status(status, NULL))
		return true;

	g_auto(GStrv) lines = g_strsplit(g_strchomp(complaint), "\n", -1);

	for (char **line = lines; *line; line++)
		log_error("not reloaded: %s", *line);
	return false;
}

struct reload_check {
	char *config_file;
	void (*is_safe)(void *data);
	void *data;
	GThread *thread; /* runs the check; NULL: no check runs */
	bool again;      /* reload_check_ask() was called during the check */
	bool safe;       /* the result; only the thread uses it until it has ended */
};

static void look(struct reload_check *check);

/* In the main loop: the thread has its result. */
static gboolean on_looked(gpointer data)
{
	struct reload_check *check = data;

	g_thread_join(g_steal_pointer(&check->thread));
	if (check->again)
		look(check);
	else if (check->safe)
		check->is_safe(check->data);
	return G_SOURCE_REMOVE;
}

static gpointer ask_program(gpointer data)
{
	struct reload_check *check = data;

	check->safe = program_accepts(check->config_file);
	g_idle_add(on_looked, check);
	return NULL;
}

static void look(struct reload_check *check)
{
	check->again = false;
	check->thread = g_thread_new("reload", ask_program, check);
}

struct reload_check *reload_check_new(const char *config_file, void (*is_safe)(void *data), void *data)
{
	struct reload_check *check = g_new0(struct reload_check, 1);

	check->config_file = g_strdup(config_file);
	check->is_safe = is_safe;
	check->data = data;
	return check;
}

void reload_check_ask(struct reload_check *check)
{
	if (check->thread)
		check->again = true;
	else
		look(check);
}

void reload_check_free(struct reload_check *check)
{
	if (!check)
		return;
	if (check->thread)
		g_thread_join(check->thread);
	g_idle_remove_by_data(check);
	g_free(check->config_file);
	g_free(check);
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
	if (chdir(directory) < 0)
		log_warning("%s: %s", directory, g_strerror(errno));
	if (fd_store_pass(fd))
		execv(program, arguments);
	log_error("not reloaded: %s: %s", program, g_strerror(errno));
}

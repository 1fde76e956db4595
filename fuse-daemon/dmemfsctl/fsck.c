// SPDX-License-Identifier: GPL-2.0-or-later
/* dmemfsctl fsck: checks the record of a stopped daemon; with --move-aside renames a damaged one. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/config.h"
#include "dmemfsctl/command.h"
#include "dmemfsctl/state_dir.h"
#include "store/store.h"

static struct {
	char *config;
	gboolean move_aside;
	gboolean force;
} arguments;

static const GOptionEntry options[] = {
	{ "config", 'c', 0, G_OPTION_ARG_FILENAME, &arguments.config,
	  "Check the state-dir of this configuration, instead of " CONFIG_DEFAULT_FILE, "FILE" },
	{ "move-aside", 0, 0, G_OPTION_ARG_NONE, &arguments.move_aside,
	  "Give a damaged database another name, so that the daemon starts with an empty tree", NULL },
	{ "force", 0, 0, G_OPTION_ARG_NONE, &arguments.force, "Also move a database aside that is not damaged", NULL },
	G_OPTION_ENTRY_NULL
};

/*
 * The files of a database, in the order in which they are renamed. The database is first: without it SQLite ignores
 * the log. "-redo" is of an older daemon (store_open()).
 */
static const char *const suffixes[] = { "", "-wal", "-shm", "-redo" };

/*
 * SQLite makes a log and its index even for a reader. If there was no log before, both are empty and are removed
 * again.
 */
static GPtrArray *check_without_traces(const char *state_dir, GError **error)
{
	g_autofree char *log = g_build_filename(state_dir, STORE_FILE "-wal", NULL);
	g_autofree char *log_index = g_build_filename(state_dir, STORE_FILE "-shm", NULL);
	bool had_log = g_file_test(log, G_FILE_TEST_EXISTS);
	GPtrArray *problems = store_fsck(state_dir, error);

	if (!had_log) {
		unlink(log);
		unlink(log_index);
	}
	return problems;
}

/*
 * One text for each problem; an empty array: none. A database that SQLite cannot open because of damage is one
 * problem.
 */
static GPtrArray *find_problems(const char *state_dir, GError **error)
{
	g_autoptr(GError) reason = NULL;
	GPtrArray *problems = check_without_traces(state_dir, &reason);

	if (problems)
		return problems;
	if (!g_error_matches(reason, STORE_ERROR, STORE_ERROR_DAMAGED)) {
		g_propagate_error(error, g_steal_pointer(&reason));
		return NULL;
	}
	problems = g_ptr_array_new_with_free_func(g_free);
	g_ptr_array_add(problems, g_strdup(reason->message));
	return problems;
}

static bool sync_directory(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool done = fd >= 0 && fsync(fd) == 0;

	if (fd >= 0)
		close(fd);
	return done;
}

/*
 * Renames the files of the database; deletes and overwrites nothing. Returns its new path, g_malloc'ed; NULL and
 * @error.
 */
static char *move_aside(const char *state_dir, GError **error)
{
	g_autoptr(GDateTime) now = g_date_time_new_now_utc();
	g_autofree char *date = g_date_time_format(now, "%Y%m%dT%H%M%S.%fZ");
	g_autofree char *old = g_build_filename(state_dir, STORE_FILE, NULL);
	g_autofree char *new = g_strdup_printf("%s.aside-%s", old, date);

	for (size_t i = 0; i < G_N_ELEMENTS(suffixes); i++) {
		g_autofree char *from = g_strconcat(old, suffixes[i], NULL);
		g_autofree char *to = g_strconcat(new, suffixes[i], NULL);

		if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) < 0 && !(errno == ENOENT && i > 0)) {
			command_fail(error, STATUS_FAILED, "%s: cannot rename it to %s: %s", from, to,
			             g_strerror(errno));
			return NULL;
		}
	}
	if (!sync_directory(state_dir)) {
		command_fail(error, STATUS_FAILED, "%s: cannot sync the directory: %s", state_dir, g_strerror(errno));
		return NULL;
	}
	return g_steal_pointer(&new);
}

static void print_findings(const char *path, const GPtrArray *problems)
{
	if (problems->len == 0)
		printf("%s: in order\n", path);
	for (guint i = 0; i < problems->len; i++)
		printf("%s: %s\n", path, (const char *)g_ptr_array_index(problems, i));
}

static void print_next(const char *state_dir, const char *moved)
{
	if (moved)
		printf("moved aside to %s\n"
		       "Next: start dmemfsd, which begins with an empty tree. Processes that map a file keep its memory until\n"
		       "they unmap it. To go back, stop dmemfsd and rename %s* to the names without \"%s\".\n",
		       moved, moved, strstr(moved, ".aside-"));
	else
		printf("Next: restore a copy of %s/" STORE_FILE ", or start with an empty tree after\n"
		       "  dmemfsctl fsck --move-aside %s\n",
		       state_dir, state_dir);
}

static void describe(struct json *json, const char *path, const GPtrArray *problems, const char *moved)
{
	json_string(json, "database", path);
	json_bool(json, "clean", problems->len == 0);
	json_list(json, "problems", problems);
	json_string(json, "moved_to", moved);
}

static enum status check(const char *state_dir, struct json *json, GError **error)
{
	g_autofree char *path = g_build_filename(state_dir, STORE_FILE, NULL);
	g_autofree char *moved = NULL;
	g_autoptr(GError) unreadable = NULL;
	g_autoptr(GPtrArray) problems = find_problems(state_dir, &unreadable);

	if (!problems && !(arguments.move_aside && arguments.force)) {
		g_propagate_error(error, g_steal_pointer(&unreadable));
		return STATUS_FAILED;
	}
	if (!problems) {
		problems = g_ptr_array_new_with_free_func(g_free);
		g_ptr_array_add(problems, g_strdup(unreadable->message));
	}
	if (arguments.move_aside && problems->len == 0 && !arguments.force)
		return command_fail(error, STATUS_FAILED,
		                    "%s: is in order, and was not moved: add --force to move it aside", path);
	if (arguments.move_aside) {
		moved = move_aside(state_dir, error);
		if (!moved)
			return STATUS_FAILED;
	}
	if (json) {
		describe(json, path, problems, moved);
	} else {
		print_findings(path, problems);
		if (problems->len > 0 || moved)
			print_next(state_dir, moved);
	}
	return moved || problems->len == 0 ? STATUS_DONE : STATUS_FOUND;
}

static enum status run(const struct invocation *invocation, GError **error)
{
	if (arguments.force && !arguments.move_aside)
		return command_fail(error, STATUS_USAGE,
		                    "--force is given without --move-aside: add --move-aside, or leave --force out");
	return state_dir_work(invocation, arguments.config, check, error);
}

const struct command command_fsck = {
	.name = "fsck",
	.operands = "[STATE_DIR]",
	.summary = "Check the record of names and memory, while the daemon is stopped",
	.details = "Finds memory that two files own or that lies in no region, names without an inode, wrong counts\n"
		   "and wrong checksums. Changes nothing without --move-aside, and never deletes.",
	.options = options,
	.operands_max = 1,
	.run = run,
};

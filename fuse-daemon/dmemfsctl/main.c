// SPDX-License-Identifier: GPL-2.0-or-later
/* dmemfsctl: finds the subcommand, runs it, and prints its result or its error. */
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/closest.h"
#include "base/log.h"
#include "config/config.h"
#include "dmemfsctl/command.h"
#include "dmemfsctl/usage.h"

static enum status print(const char *text)
{
	if (fputs(text, stdout) >= 0 && fflush(stdout) == 0 && !ferror(stdout))
		return STATUS_DONE;
	log_error("stdout: cannot write: %s", g_strerror(errno));
	return STATUS_FAILED;
}

/*
 * Prints @error as text or JSON. Searches the command line for --json, because parsing may have failed before that
 * option.
 */
static enum status report(const GError *error, char **arguments)
{
	enum status status = command_exit_status(error);
	bool as_json = false;

	for (char **argument = arguments; *argument && !g_str_equal(*argument, "--"); argument++)
		as_json |= g_str_equal(*argument, "--json");
	if (as_json) {
		g_autoptr(json_t) json = json_new();

		json_string(json, "error", error->message);
		json_unsigned(json, "exit_status", status);
		print(json_finish(json));
	} else {
		config_log_error(error);
	}
	return status;
}

static enum status run(const struct command *command, char ***arguments, GError **error)
{
	bool as_json = false;
	g_autofree char *help = NULL;

	if (!usage_parse(command, arguments, &as_json, &help, error))
		return help ? print(help) : STATUS_USAGE;

	g_autoptr(json_t) json = as_json ? json_new() : NULL;
	struct invocation invocation = { .operands = *arguments + 1, .json = json };
	enum status status = command->run(&invocation, error);

	if (*error)
		return status;

	enum status printed = print(json ? json_finish(json) : "");

	return printed ? printed : status;
}

static enum status fail_unknown(const char *name, GError **error)
{
	g_autoptr(GPtrArray) names = g_ptr_array_new();
	g_autofree char *remark = NULL;

	for (const struct command *const *command = commands; *command; command++)
		g_ptr_array_add(names, (char *)(*command)->name);
	g_ptr_array_add(names, NULL);
	remark = closest_remark(name, (const char *const *)names->pdata);
	return command_fail(error, STATUS_USAGE, "unknown command \"%s\"%s: see dmemfsctl --help", name, remark);
}

static enum status dispatch(char ***arguments, GError **error)
{
	const char *name = (*arguments)[0] ? (*arguments)[1] : NULL;
	const struct command *command;

	if (!name || g_str_equal(name, "--json"))
		return command_fail(error, STATUS_USAGE, "no command is given: see dmemfsctl --help");
	if (g_str_equal(name, "--help") || g_str_equal(name, "-h")) {
		g_autofree char *help = usage_of_program();

		return print(help);
	}
	if (g_str_equal(name, "--version"))
		return print("dmemfsctl " DMEMFS_VERSION "\n");
	command = command_find(name);
	if (!command)
		return fail_unknown(name, error);

	/* Drops argv[0], so that the option parser takes the subcommand's name for the program's. */
	g_free((*arguments)[0]);
	memmove(*arguments, *arguments + 1, (g_strv_length(*arguments + 1) + 1) * sizeof(**arguments));
	return run(command, arguments, error);
}

int main(int argc G_GNUC_UNUSED, char **argv)
{
	g_autoptr(GError) error = NULL;
	g_auto(GStrv) arguments = g_strdupv(argv);
	enum status status;

	log_init();
	log_set_name("dmemfsctl");
	signal(SIGPIPE, SIG_DFL); /* ends silently in: dmemfsctl ls | head */
	setlocale(LC_CTYPE, "");  /* the terminal's characters; messages and numbers are not localized */
	status = dispatch(&arguments, &error);
	return (int)(error ? report(error, argv) : status);
}

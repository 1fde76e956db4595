// SPDX-License-Identifier: GPL-2.0-or-later
/* The command line of dmemfsctl. */
#include "dmemfsctl/usage.h"

#include <string.h>

#include "base/arguments.h"

static const char statuses[] = "Exit status: 0 success; 1 failure; 2 the command line is wrong; 3 success, and the\n"
			       "command found a problem; 4 the daemon runs although it must be stopped, or does\n"
			       "not run although it must.\n";

char *usage_of_program(void)
{
	GString *text = g_string_new("Usage:\n  dmemfsctl COMMAND [OPTION...] [OPERAND...]\n\n"
	                             "Plans, checks and shows dmemfs, memory that virtual machines map as files.\n\n"
	                             "Commands:\n");

	for (const struct command *const *command = commands; *command; command++)
		g_string_append_printf(text, "  %-15s %s\n", (*command)->name, (*command)->summary);
	g_string_append(text, "\nOptions:\n"
	                      "  -h, --help      Print this help, or after COMMAND its help, then exit\n"
	                      "  --version       Print the version, then exit\n"
	                      "  --json          After COMMAND: print one JSON object, also on errors\n\n");
	g_string_append(text, statuses);
	return g_string_free(text, FALSE);
}

/* @common: the options of every command. */
static GOptionContext *new_context(const struct command *command, const GOptionEntry *common)
{
	g_autofree char *summary = g_strdup_printf("%s.%s%s", command->summary, command->details ? "\n\n" : "",
	                                           command->details ? command->details : "");
	g_autofree char *name = g_strdup_printf("dmemfsctl %s", command->name);
	GOptionContext *context = g_option_context_new(command->operands);

	g_set_prgname(name);
	/* GOption's own --help would call exit() in the parser. */
	g_option_context_set_help_enabled(context, FALSE);
	g_option_context_set_summary(context, summary);
	g_option_context_set_description(context, statuses);
	if (command->options)
		g_option_context_add_main_entries(context, command->options, NULL);
	g_option_context_add_main_entries(context, common, NULL);
	return context;
}

static bool check_operands(const struct command *command, char **operands, GError **error)
{
	guint count = g_strv_length(operands);

	if (count < command->operands_min) {
		command_fail(error, STATUS_USAGE, "%s is missing: see dmemfsctl %s --help", command->operands,
		             command->name);
		return false;
	}
	if (count > command->operands_max) {
		command_fail(error, STATUS_USAGE, "surplus argument \"%s\": see dmemfsctl %s --help",
		             operands[command->operands_max], command->name);
		return false;
	}
	return true;
}

/* Removes the "--" that GOption leaves before an operand that looks like an option. @operands owns its strings. */
static void drop_separator(char **operands)
{
	for (; *operands; operands++) {
		if (g_str_equal(*operands, "--")) {
			g_free(*operands);
			memmove(operands, operands + 1, (g_strv_length(operands + 1) + 1) * sizeof(*operands));
			return;
		}
	}
}

static bool parse(const struct command *command, GOptionContext *context, const GOptionEntry *common, char ***arguments,
                  GError **error)
{
	const GOptionEntry *const tables[] = { common, command->options, NULL };
	char **split = arguments_split(*arguments, tables);
	g_autoptr(GError) wrong = NULL;
	g_autofree char *message = NULL;

	g_strfreev(*arguments);
	*arguments = split;
	if (g_option_context_parse_strv(context, arguments, &wrong))
		return true;
	message = arguments_explain(wrong, tables);
	command_fail(error, STATUS_USAGE, "%s: see dmemfsctl %s --help", message, command->name);
	return false;
}

bool usage_parse(const struct command *command, char ***arguments, bool *json, char **help, GError **error)
{
	gboolean wants_json = FALSE, wants_help = FALSE;
	const GOptionEntry common[] = {
		{ "json", 0, 0, G_OPTION_ARG_NONE, &wants_json, "Print one JSON object, also on errors", NULL },
		{ "help", 'h', 0, G_OPTION_ARG_NONE, &wants_help, "Print this help, then exit", NULL },
		G_OPTION_ENTRY_NULL
	};
	g_autoptr(GOptionContext) context = new_context(command, common);

	if (!parse(command, context, common, arguments, error))
		return false;
	if (wants_help) {
		*help = g_option_context_get_help(context, FALSE, NULL);
		return false;
	}
	*json = wants_json;
	drop_separator(*arguments + 1);
	return check_operands(command, *arguments + 1, error);
}

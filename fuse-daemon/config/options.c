// SPDX-License-Identifier: GPL-2.0-or-later
/* The command line of dmemfsd. */
#include "config/options.h"

#include <glib.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arguments.h"
#include "base/log.h"
#include "config/config.h"

#define SEE_HELP "see dmemfsd --help"

/* Filled in by GOption. Lists, because a second value of a plain option would silently replace the first. */
struct arguments {
	char **config_files;
	char **log_levels;
	gboolean version;
	gboolean help;
};

static GOptionContext *new_context(const GOptionEntry *entries)
{
	GOptionContext *context = g_option_context_new(NULL);

	/* GOption's own --help calls exit() inside the parser. */
	g_option_context_set_help_enabled(context, FALSE);
	g_option_context_set_summary(context, "Serves a range of memory as files, for virtual machines to map.");
	g_option_context_set_description(
		context, "Exit status: 0 when mounted and cleanly unmounted (in the background: when mounted),\n"
			 "1 for a bad configuration or a machine that lacks something, 2 for a bad command line.\n"
			 "Stop: fusermount3 -u MOUNTPOINT, or SIGTERM. SIGHUP: go on with the program and the\n"
			 "configuration that are installed now; users of the mount see a short pause.\n");
	g_option_context_add_main_entries(context, entries, NULL);
	return context;
}

static bool print(const char *text, int *status)
{
	bool done = fputs(text, stdout) >= 0 && fflush(stdout) == 0;

	if (!done)
		log_error("stdout: cannot write");
	*status = done ? EXIT_SUCCESS : EXIT_FAILURE;
	return false;
}

static bool usage_error(int *status, const char *what, const char *remedy)
{
	log_error("%s: %s", what, remedy);
	*status = EXIT_USAGE;
	return false;
}

static bool take_log_level(const struct arguments *args, struct options *options, int *status)
{
	options->log_level = LOG_LEVEL_INFO;
	if (!args->log_levels)
		return true;
	if (args->log_levels[1])
		return usage_error(status, "--log-level is given twice", "name one level");
	if (!log_level_parse(args->log_levels[0], &options->log_level)) {
		g_autofree char *what = g_strdup_printf("--log-level %s: unknown level", args->log_levels[0]);

		return usage_error(status, what, "use error, warning, info or debug");
	}
	return true;
}

static bool take_config_file(const struct arguments *args, struct options *options, int *status)
{
	if (args->config_files && args->config_files[1])
		return usage_error(status, "--config is given twice", "name one file");
	options->config_file = g_strdup(args->config_files ? args->config_files[0] : CONFIG_DEFAULT_FILE);
	return true;
}

static bool take(const struct arguments *args, struct options *options, int *status)
{
	if (options->check_config && options->dump_config)
		return usage_error(status, "--check-config and --dump-config are both given", "choose one");
	return take_log_level(args, options, status) && take_config_file(args, options, status);
}

static bool finish(GOptionContext *context, const struct arguments *args, char **rest, struct options *options,
                   int *status)
{
	if (args->help) {
		g_autofree char *help = g_option_context_get_help(context, FALSE, NULL);

		return print(help, status);
	}
	if (args->version)
		return print("dmemfsd " DMEMFS_VERSION "\n", status);
	if (rest && *rest && rest[1]) {
		g_autofree char *what = g_strdup_printf("surplus argument \"%s\"", rest[1]);

		return usage_error(status, what, SEE_HELP);
	}
	return take(args, options, status);
}

static bool parse(char **argv, struct arguments *args, struct options *options, int *status)
{
	const GOptionEntry entries[] = {
		{ "config", 'c', 0, G_OPTION_ARG_FILENAME_ARRAY, &args->config_files,
		  "Read the configuration from FILE, not " CONFIG_DEFAULT_FILE, "FILE" },
		{ "foreground", 'f', 0, G_OPTION_ARG_NONE, &options->foreground,
		  "Stay in the foreground, log to stderr (for service managers)", NULL },
		{ "supervise", 0, 0, G_OPTION_ARG_NONE, &options->supervise,
		  "Start the daemon again when it dies, as a service manager would", NULL },
		{ "check-config", 0, 0, G_OPTION_ARG_NONE, &options->check_config,
		  "Check FILE and the directories it names, then exit; silent when all is well", NULL },
		{ "dump-config", 0, 0, G_OPTION_ARG_NONE, &options->dump_config,
		  "Print the effective configuration, defaults filled in, then exit", NULL },
		{ "log-level", 0, 0, G_OPTION_ARG_STRING_ARRAY, &args->log_levels,
		  "How much to log: error, warning, info (default) or debug", "LEVEL" },
		{ "version", 0, 0, G_OPTION_ARG_NONE, &args->version, "Print the version, then exit", NULL },
		{ "help", 'h', 0, G_OPTION_ARG_NONE, &args->help, "Print this help, then exit", NULL },
		G_OPTION_ENTRY_NULL
	};
	const GOptionEntry *const tables[] = { entries, NULL };
	g_autoptr(GOptionContext) context = new_context(entries);
	g_auto(GStrv) split = arguments_split(argv, tables);
	g_autoptr(GError) error = NULL;
	g_autofree char *message = NULL;

	if (g_option_context_parse_strv(context, &split, &error))
		return finish(context, args, split, options, status);
	message = arguments_explain(error, tables);
	return usage_error(status, message, SEE_HELP);
}

bool options_parse(char **argv, struct options *options, int *status)
{
	struct arguments args = { 0 };
	bool go_on;

	g_set_prgname("dmemfsd");
	*options = (struct options){ 0 };
	go_on = parse(argv, &args, options, status);
	if (!go_on)
		options_clear(options);
	g_strfreev(args.config_files);
	g_strfreev(args.log_levels);
	return go_on;
}

void options_clear(struct options *options)
{
	g_clear_pointer(&options->config_file, g_free);
}

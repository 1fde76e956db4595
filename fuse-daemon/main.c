// SPDX-License-Identifier: GPL-2.0-or-later
/* dmemfsd: what the command line asks for, done once. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "daemon.h"
#include "daemonize.h"
#include "log.h"
#include "options.h"

static int run(const struct options *options, GError **error)
{
	g_autoptr(config_t) config = config_load(options->config_file, error);

	if (!config)
		return EXIT_FAILURE;
	if (options->dump_config) {
		g_autofree char *text = config_dump(config);

		if (fputs(text, stdout) < 0 || fflush(stdout) != 0) {
			g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(errno), "stdout: %s", strerror(errno));
			return EXIT_FAILURE;
		}
		return EXIT_SUCCESS;
	}
	if (!config_check_host(config, error))
		return EXIT_FAILURE;
	if (options->check_config)
		return EXIT_SUCCESS;
	if (!options->foreground && !daemonize()) {
		g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(errno), "cannot go into the background: %s",
		            strerror(errno));
		return EXIT_FAILURE;
	}
	return daemon_run(config, error) ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
	g_autoptr(GError) error = NULL;
	struct options options;
	int status;

	log_init();
	log_init();
	if (!options_parse(argc, argv, &options, &status))
		return status;
	log_set_level(options.log_level);
	status = run(&options, &error);
	if (error)
		log_error("%s", error->message);
	options_clear(&options);
	return status;
}

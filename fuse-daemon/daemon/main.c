// SPDX-License-Identifier: GPL-2.0-or-later
/* dmemfsd: reads the command line and the configuration, then checks, dumps, supervises or serves. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "backend/pfn_regions.h"
#include "base/log.h"
#include "config/config.h"
#include "config/options.h"
#include "connection/fd_store.h"
#include "daemon/daemon.h"
#include "daemon/daemonize.h"
#include "daemon/reload.h"
#include "daemon/supervise.h"
#include "quota/quota_check.h"

/* @connection: the connection of an earlier daemon; -1: none. */
static int run(const struct options *options, char **argv, int connection, GError **error)
{
	g_autoptr(config_t) config = options->dump_config ? config_load(options->config_file, error)
	                                                  : config_load_for_host(options->config_file, error);

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
	if (options->check_config) {
		quota_check(config);
		return config->backend != BACKEND_PFN || pfn_check_regions(config, error) ? EXIT_SUCCESS : EXIT_FAILURE;
	}
	if (!options->foreground && !daemonize()) {
		g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(errno), "cannot go into the background: %s",
		            strerror(errno));
		return EXIT_FAILURE;
	}
	if (options->supervise)
		return supervise(argv);
	if (!daemon_run(config, &connection, error))
		return EXIT_FAILURE;
	if (connection < 0)
		return EXIT_SUCCESS;
	reload_exec(connection);
	return EXIT_FAILURE;
}

int main(int argc G_GNUC_UNUSED, char **argv)
{
	g_autoptr(GError) error = NULL;
	struct options options;
	int status, connection;

	/*
	 * Files that SQLite and GLib make must be private, too. This does not affect files on the mount: the kernel
	 * sends modes.
	 */
	umask(0077);
	connection = fd_store_take();
	log_init();
	reload_init(argv);
	if (!options_parse(argv, &options, &status))
		return status;
	log_set_level(options.log_level);
	status = run(&options, argv, connection, &error);
	if (error)
		config_log_error(error);
	options_clear(&options);
	return status;
}

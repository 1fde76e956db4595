/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line of dmemfsd. */
#ifndef DMEMFS_OPTIONS_H
#define DMEMFS_OPTIONS_H

#include <glib.h>
#include <stdbool.h>

#include "base/log.h"

/*
 * Exit statuses of dmemfsd: 0: done, or mounted and cleanly unmounted (without --foreground: mounted). EXIT_FAILURE (1): a
 * bad configuration, a machine that lacks something, or a failure later on. EXIT_USAGE (2): a bad command line.
 */
#define EXIT_USAGE 2

struct options {
	char *config_file; /* CONFIG_DEFAULT_FILE without --config */
	gboolean foreground;
	gboolean supervise;
	gboolean check_config; /* at most one of check_config and dump_config is set */
	gboolean dump_config;
	enum log_level log_level;
};

/*
 * Parses the command line into @options, which the caller frees with options_clear(). False when the program has to exit
 * with *@status: it has printed the help or the version, or the command line is wrong, which was logged.
 */
bool options_parse(char **argv, struct options *options, int *status);
void options_clear(struct options *options);

#endif

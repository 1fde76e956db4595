/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line of dmemfsd. */
#ifndef DMEMFS_OPTIONS_H
#define DMEMFS_OPTIONS_H

#include <glib.h>
#include <stdbool.h>

#include "base/log.h"

/*
 * Exit statuses of dmemfsd: 0 done, or mounted and cleanly unmounted (without --foreground: mounted); EXIT_FAILURE (1)
 * for a bad configuration, a machine that lacks something, or a fault; EXIT_USAGE (2) for a bad command line.
 */
#define EXIT_USAGE 2

struct options {
	char *config_file; /* never NULL */
	gboolean foreground;
	gboolean supervise;
	gboolean check_config; /* at most one of these two */
	gboolean dump_config;
	enum log_level log_level;
};

/*
 * Parses the command line into @options, to be freed by options_clear(). False when there is nothing left to do: --help
 * or --version was answered on stdout, or the command line is wrong, which was logged; *@status is what to exit with.
 */
bool options_parse(char **argv, struct options *options, int *status);
void options_clear(struct options *options);

#endif

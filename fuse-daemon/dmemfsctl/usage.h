/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line of dmemfsctl. */
#ifndef DMEMFSCTL_USAGE_H
#define DMEMFSCTL_USAGE_H

#include "dmemfsctl/command.h"

/* The text of dmemfsctl --help; g_malloc'ed. */
char *usage_of_program(void);

/*
 * Parses the options of @command. *@arguments: its name and all that follows, NULL-terminated; options are removed
 * from it. False with @error when the command line is wrong. False without @error when --help was given; *@help then
 * is its text, g_malloc'ed.
 */
bool usage_parse(const struct command *command, char ***arguments, bool *json, char **help, GError **error);

#endif

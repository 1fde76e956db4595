/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line of dmemfsctl. */
#ifndef DMEMFSCTL_USAGE_H
#define DMEMFSCTL_USAGE_H

#include "dmemfsctl/command.h"

/* The text of dmemfsctl --help; g_malloc'ed. */
char *usage_of_program(void);

/*
 * Parses what follows the command's name. @arguments: the name and the rest, NULL ends them; taken apart. False with
 * @error; or without one when the help was asked for, which is then in *@help.
 */
bool usage_parse(const struct command *command, char ***arguments, bool *json, char **help, GError **error);

#endif

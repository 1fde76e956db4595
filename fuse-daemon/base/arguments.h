/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What GOption lacks: values that are attached to short options, and errors that name the option that was probably meant.
 * @tables: an array, which NULL ends, of the tables of all options that the command line may have.
 */
#ifndef DMEMFS_ARGUMENTS_H
#define DMEMFS_ARGUMENTS_H

#include <glib.h>

/* A copy of @arguments with "-n1" as "-n" and "1" where -n takes a value. The first argument stays, and all after "--". */
char **arguments_split(char *const *arguments, const GOptionEntry *const *tables);
/* The message of @error, of GOption, with the option that was probably meant; the caller frees it. */
char *arguments_explain(const GError *error, const GOptionEntry *const *tables);

#endif

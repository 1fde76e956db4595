/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guesses which of some words was meant, for the errors about unknown ones. */
#ifndef DMEMFS_CLOSEST_H
#define DMEMFS_CLOSEST_H

#include <glib.h>

/*
 * The word of @known, an array that NULL ends, that @given is the beginning of, or else the one that differs from it least, by one
 * letter in three at most. NULL: none, or more than one begins with @given.
 */
const char *closest_word(const char *given, const char *const *known);
/* ", did you mean "WORD"?", or "" without such a word; the caller frees it. */
char *closest_remark(const char *given, const char *const *known);

#endif

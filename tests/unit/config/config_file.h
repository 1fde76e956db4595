/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For tests: a configuration file in a directory of its own; config_file_cleanup() removes both. */
#ifndef DMEMFS_TEST_CONFIG_FILE_H
#define DMEMFS_TEST_CONFIG_FILE_H

#include <glib.h>

#include "config/config.h"

extern char *config_file_directory;
extern char *config_file_path;

/* To be called after g_test_init(). */
void config_file_setup(void);
void config_file_cleanup(void);

/* config_load() of a file with this text; @length may be -1. */
struct config *config_file_load(const char *text, gssize length, GError **error);

/* Fails the test, with both texts, when @fragment is not in @message. */
void assert_contains(const char *message, const char *fragment);

#endif

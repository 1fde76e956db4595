// SPDX-License-Identifier: GPL-2.0-or-later
/* A configuration file for a test to fill, in a directory that is removed with it. */
#include "unit/config/config_file.h"

#include <glib/gstdio.h>
#include <string.h>

char *config_file_directory;
char *config_file_path;

void config_file_setup(void)
{
	config_file_directory = g_dir_make_tmp("dmemfs-config-XXXXXX", NULL);
	g_assert_nonnull(config_file_directory);
	config_file_path = g_build_filename(config_file_directory, "dmemfsd.conf", NULL);
}

void config_file_cleanup(void)
{
	g_unlink(config_file_path);
	g_rmdir(config_file_directory);
	g_free(config_file_path);
	g_free(config_file_directory);
}

struct config *config_file_load(const char *text, gssize length, GError **error)
{
	g_autoptr(GError) failed = NULL;

	/* To replace a file safely costs an fsync. */
	g_unlink(config_file_path);
	g_file_set_contents(config_file_path, text, length, &failed);
	g_assert_no_error(failed);
	return config_load(config_file_path, error);
}

void assert_contains(const char *message, const char *fragment)
{
	if (!strstr(message, fragment))
		g_error("\"%s\" is not in \"%s\"", fragment, message);
}

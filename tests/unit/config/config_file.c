// SPDX-License-Identifier: GPL-2.0-or-later
/* For tests: a configuration file in a directory of its own; config_file_cleanup() removes both. */
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

	/* g_file_set_contents() calls fsync() when it replaces a file, which is slow. */
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

// SPDX-License-Identifier: GPL-2.0-or-later
/* The configuration file: refused with a message, or read; what was read is written and read back as the same. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "config/config.h"
#include "fuzz.h"

/* @data as a file that has a name. */
static int make_file(const void *data, size_t size, char *path, size_t path_size)
{
	int fd = memfd_create("config", MFD_CLOEXEC);

	g_assert_cmpint(fd, >=, 0);
	g_assert_cmpint(write(fd, data, size), ==, size);
	snprintf(path, path_size, "/proc/self/fd/%d", fd);
	return fd;
}

static struct config *load(const void *data, size_t size)
{
	g_autoptr(GError) error = NULL;
	char path[64];
	int fd = make_file(data, size, path, sizeof(path));
	struct config *config = config_load(path, &error);

	close(fd);
	if (config) {
		g_assert_no_error(error);
	} else {
		/* It names the file, and is text: the log escapes what a terminal would obey. */
		g_assert_nonnull(error);
		g_assert_true(g_str_has_prefix(error->message, path));
		g_assert_true(g_utf8_validate(error->message, -1, NULL));
	}
	return config;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autoptr(config_t) config = load(data, size);

	if (!config)
		return 0;

	g_autofree char *text = config_dump(config);
	g_autoptr(config_t) again = load(text, strlen(text));

	g_assert_nonnull(again);

	g_autofree char *same = config_dump(again);

	g_assert_cmpstr(same, ==, text);
	return 0;
}

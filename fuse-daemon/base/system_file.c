// SPDX-License-Identifier: GPL-2.0-or-later
/* Files of /proc and /sys. */
#include "base/system_file.h"

#include <glib.h>
#include <string.h>

char *system_file_path(const char *path)
{
#ifndef NDEBUG
	const char *proc = g_getenv("DMEMFS_PROC"), *sys = g_getenv("DMEMFS_SYS");

	if (proc && g_str_has_prefix(path, "/proc/"))
		return g_strconcat(proc, path + strlen("/proc"), NULL);
	if (sys && g_str_has_prefix(path, "/sys/"))
		return g_strconcat(sys, path + strlen("/sys"), NULL);
#endif
	return g_strdup(path);
}

char *system_file_read(const char *path)
{
	g_autofree char *there = system_file_path(path);
	char *text = NULL;

	return g_file_get_contents(there, &text, NULL, NULL) ? g_strstrip(text) : NULL;
}

uint64_t system_meminfo(const char *name)
{
	g_autofree char *text = system_file_read("/proc/meminfo");
	g_auto(GStrv) lines = g_strsplit(text ?: "", "\n", -1);
	size_t length = strlen(name);

	for (char **line = lines; *line; line++) {
		if (g_str_has_prefix(*line, name) && (*line)[length] == ':')
			return g_ascii_strtoull(*line + length + 1, NULL, 10) << 10;
	}
	return UINT64_MAX;
}

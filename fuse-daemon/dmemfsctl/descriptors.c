// SPDX-License-Identifier: GPL-2.0-or-later
/* What another process has open. */
#include "dmemfsctl/descriptors.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The flags of an open file are octal, in the second line of fdinfo (proc(5)). There may be very many lines. */
static bool is_direct(pid_t pid, const char *number)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/fdinfo/%s", (int)pid, number);
	FILE *info = fopen(path, "re");
	bool direct = false;
	char line[64];

	while (info && fgets(line, sizeof(line), info)) {
		if (!g_str_has_prefix(line, "flags:"))
			continue;
		direct = strtoul(line + strlen("flags:"), NULL, 8) & O_DIRECT;
		break;
	}
	if (info)
		fclose(info);
	return direct;
}

static bool is_vfio(const char *target)
{
	return g_str_has_prefix(target, "/dev/vfio/") || strcmp(target, "/dev/iommu") == 0;
}

GPtrArray *descriptors_find(pid_t pid, enum descriptor_kind kind)
{
	g_autofree char *directory = g_strdup_printf("/proc/%d/fd", (int)pid);
	g_autoptr(GDir) descriptors = g_dir_open(directory, 0, NULL);
	GPtrArray *found = g_ptr_array_new_with_free_func(g_free);
	const char *number;

	while (descriptors && found->len < DESCRIPTORS_MAX && (number = g_dir_read_name(descriptors))) {
		g_autofree char *path = g_build_filename(directory, number, NULL);
		g_autofree char *target = g_file_read_link(path, NULL);

		/* Only what is no file has no path: pipes, sockets, and others, whose fdinfo may be large. */
		if (!target || *target != '/' || g_ptr_array_find_with_equal_func(found, target, g_str_equal, NULL))
			continue;
		if (kind == DESCRIPTOR_VFIO ? is_vfio(target) : is_direct(pid, number))
			g_ptr_array_add(found, g_steal_pointer(&target));
	}
	return found;
}

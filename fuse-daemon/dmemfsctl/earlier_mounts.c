// SPDX-License-Identifier: GPL-2.0-or-later
/* Mounts that a dmemfs had before the one that it has now. */
#include "dmemfsctl/earlier_mounts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>

#include "base/mountinfo.h"

/* Has a directory for each FUSE file system, mounted or only in use, by the number of its device (kernel: fs/fuse/control.c). */
#define FUSECTL       "/sys/fs/fuse/connections"
#define FUSECTL_MAGIC 0x65735543

/* What a process sees mounted with a device. */
enum seen {
	SEEN_NOTHING,
	SEEN_DMEMFS,
	SEEN_OTHER,
	SEEN_UNKNOWN, /* its mounts cannot be read */
};

/* @process: "self", or a pid. Reads line by line: a process in a container chooses how many there are. */
static enum seen look(const char *process, dev_t device)
{
	g_autofree char *path = g_strdup_printf("/proc/%s/mountinfo", process);
	FILE *mounts = fopen(path, "re");
	enum seen seen = mounts ? SEEN_NOTHING : SEEN_UNKNOWN;
	char *line = NULL;
	size_t room = 0;

	while (mounts && seen == SEEN_NOTHING && getline(&line, &room, mounts) > 0) {
		unsigned major_number, minor_number;

		if (sscanf(line, "%*d %*d %u:%u ", &major_number, &minor_number) == 2 &&
		    makedev(major_number, minor_number) == device)
			seen = strstr(line, " - " MOUNTINFO_TYPE " ") ? SEEN_DMEMFS : SEEN_OTHER;
	}
	free(line);
	if (mounts)
		fclose(mounts);
	return seen;
}

/* Does the kernel still have a FUSE file system of this device? True when that cannot be found out. */
static bool is_in_use(dev_t device)
{
	g_autofree char *path = g_strdup_printf(FUSECTL "/%u", minor(device));
	struct statfs fs;

	return statfs(FUSECTL, &fs) < 0 || fs.f_type != FUSECTL_MAGIC || g_file_test(path, G_FILE_TEST_EXISTS);
}

GArray *earlier_mounts_parse(const char *text, dev_t current)
{
	GArray *devices = g_array_new(FALSE, FALSE, sizeof(dev_t));
	g_auto(GStrv) words = g_strsplit(text ? text : "", " ", -1);

	for (char **word = words; *word; word++) {
		unsigned major_number, minor_number;
		dev_t device;

		if (sscanf(*word, "%u:%u", &major_number, &minor_number) != 2)
			continue;
		device = makedev(major_number, minor_number);
		if (device != current && is_in_use(device) && look("self", device) == SEEN_NOTHING)
			g_array_append_val(devices, device);
	}
	return devices;
}

GArray *earlier_mounts_of(const GArray *devices, pid_t pid)
{
	g_autofree char *process = g_strdup_printf("%d", (int)pid);
	GArray *own = g_array_new(FALSE, FALSE, sizeof(dev_t));

	for (guint i = 0; i < devices->len; i++) {
		dev_t device = g_array_index(devices, dev_t, i);
		enum seen seen = look(process, device);

		/* A container can have kept a copy of the earlier mount. What is here is a mount that got the number meanwhile. */
		if ((seen == SEEN_NOTHING || seen == SEEN_DMEMFS) && look("self", device) == SEEN_NOTHING)
			g_array_append_val(own, device);
	}
	return own;
}

bool earlier_mounts_have(const GArray *devices, dev_t device)
{
	for (guint i = 0; i < devices->len; i++) {
		if (g_array_index(devices, dev_t, i) == device)
			return true;
	}
	return false;
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include "base/boot_id.h"

#include <glib.h>

char *boot_id(void)
{
	char *id = NULL;

	return g_file_get_contents("/proc/sys/kernel/random/boot_id", &id, NULL, NULL) ? g_strchomp(id) : NULL;
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* dmemfsctl plan --remove: takes back what --write wrote for the boot loaders. */
#include <stdio.h>

#include "backend/memmap_cmdline.h"
#include "dmemfsctl/command.h"
#include "dmemfsctl/plan.h"
#include "dmemfsctl/text.h"

/* The memory that the running kernel keeps reserved until the reboot. */
static uint64_t reserved_now(const char *root)
{
	g_autofree char *path = g_strconcat(root, "/proc/cmdline", NULL);
	g_autofree char *cmdline = NULL;

	if (!g_file_get_contents(path, &cmdline, NULL, NULL))
		return 0;

	g_autoptr(GArray) ranges = memmap_cmdline_parse(cmdline);

	return extents_bytes(ranges);
}

static void print_undone(const char *root, const GPtrArray *undone)
{
	uint64_t bytes = reserved_now(root);
	g_autofree char *size = text_size(bytes);

	for (guint i = 0; i < undone->len; i++) {
		const struct plan_loader *loader = g_ptr_array_index(undone, i);

		printf("Taken back: %s%s\nNext: %s, then reboot.\n", root, loader->file, loader->next);
	}
	if (undone->len == 0)
		printf("Nothing to take back: %s" PLAN_GRUB_DROP_IN " does not exist, and %s" PLAN_KERNEL_CMDLINE
		       " has no argument of a plan.\n",
		       root, root);
	if (bytes > 0 && undone->len > 0)
		printf("Until the reboot %s stay reserved.\n", size);
	else if (bytes > 0)
		printf("The kernel was booted with %s reserved: if memmap= is still in your boot loader's configuration, "
		       "remove it there.\n",
		       size);
}

static void describe(struct json *json, const char *root, const GPtrArray *undone)
{
	json_begin_array(json, "taken_back");
	for (guint i = 0; i < undone->len; i++) {
		const struct plan_loader *loader = g_ptr_array_index(undone, i);
		g_autofree char *path = g_strconcat(root, loader->file, NULL);

		json_begin_object(json, NULL);
		json_string(json, "file", path);
		json_string(json, "next", loader->next);
		json_end(json);
	}
	json_end(json);
	json_unsigned(json, "reserved_bytes", reserved_now(root));
}

enum status plan_remove(const char *root, const char *boot_loader, struct json *json, GError **error)
{
	g_autoptr(GPtrArray) undone = g_ptr_array_new();

	if (!plan_undo(root, boot_loader, undone, error))
		return STATUS_FAILED;
	if (json)
		describe(json, root, undone);
	else
		print_undone(root, undone);
	return STATUS_DONE;
}

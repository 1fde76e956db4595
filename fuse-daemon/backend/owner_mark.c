// SPDX-License-Identifier: GPL-2.0-or-later
/* The mark of the database whose files the reserved memory holds. */
#include "backend/owner_mark.h"

#include <errno.h>
#include <glib.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "backend/pfn_device.h"
#include "base/boot_id.h"
#include "base/log.h"
#include "base/private.h"

static const struct store_mark nobody;

/* The text of the file: "BOOT-ID MARK\n", the mark in hexadecimal. The boot id is for a /run that is not on tmpfs. */
static char *describe(const struct store_mark *mark)
{
	g_autofree char *boot = boot_id();
	GString *text;

	if (!boot)
		return NULL;
	text = g_string_new(boot);
	g_string_append_c(text, ' ');
	for (size_t i = 0; i < sizeof(mark->bytes); i++)
		g_string_append_printf(text, "%02x", mark->bytes[i]);
	g_string_append_c(text, '\n');
	return g_string_free(text, FALSE);
}

static bool is_private(bool make, GError **error)
{
	g_autofree char *path = g_path_get_dirname(OWNER_MARK_FILE);
	int directory = private_directory(path, make, error);

	return directory >= 0 && close(directory) == 0;
}

/* Reads the copy. The daemon alone writes it: a text that differs from describe() of its mark is not valid. */
static struct store_mark read_copy(void)
{
	g_autofree char *text = NULL;
	g_autofree char *same = NULL;
	struct store_mark mark = nobody;
	const char *hexadecimal;

	if (!g_file_get_contents(OWNER_MARK_FILE, &text, NULL, NULL))
		return nobody;
	hexadecimal = strchr(text, ' ');
	for (size_t i = 0; hexadecimal && i < sizeof(mark.bytes); i++) {
		if (sscanf(hexadecimal + 1 + 2 * i, "%2hhx", &mark.bytes[i]) != 1)
			return nobody;
	}
	same = describe(&mark);
	return g_strcmp0(text, same) == 0 ? mark : nobody;
}

static void write_copy(const struct store_mark *mark)
{
	g_autofree char *text = describe(mark);
	g_autoptr(GError) error = NULL;

	if (!text || !is_private(true, &error) || !g_file_set_contents(OWNER_MARK_FILE, text, -1, &error))
		log_warning("%s: cannot be written: files lose their contents when the module is unloaded: %s",
		            OWNER_MARK_FILE, error ? error->message : "no boot id");
}

int owner_mark_get(int device, struct store_mark *mark)
{
	struct dmemfs_mark request = { 0 };
	g_autoptr(GError) error = NULL;
	int err = pfn_call(device, DMEMFS_IOC_MARK_GET, &request);

	memcpy(mark->bytes, request.bytes, sizeof(mark->bytes));
	if (err || memcmp(mark, &nobody, sizeof(*mark)) != 0)
		return err;
	if (is_private(false, &error)) {
		*mark = read_copy();
	} else if (!g_error_matches(error, G_FILE_ERROR, G_FILE_ERROR_NOENT)) {
		log_error("%s", error->message);
		return -EPERM;
	}
	return 0;
}

int owner_mark_set(int device, const struct store_mark *mark)
{
	struct dmemfs_mark request = { 0 };
	int err;

	memcpy(request.bytes, mark->bytes, sizeof(request.bytes));
	err = pfn_call(device, DMEMFS_IOC_MARK_SET, &request);
	if (!err)
		write_copy(mark);
	return err;
}

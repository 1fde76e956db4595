// SPDX-License-Identifier: GPL-2.0-or-later
/* dmemfsctl prepare-kexec: prepares the record, so that the contents of files survive a kexec. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "backend/pfn_device.h"
#include "backend/pfn_lending.h"
#include "config/config.h"
#include "dmemfsctl/command.h"
#include "dmemfsctl/state_dir.h"
#include "recovery/kexec.h"
#include "store/store.h"

static struct {
	char *config;
} arguments;

static const GOptionEntry options[] = {
	{ "config", 'c', 0, G_OPTION_ARG_FILENAME, &arguments.config,
	  "Prepare the state-dir of this configuration, instead of " CONFIG_DEFAULT_FILE, "FILE" },
	G_OPTION_ENTRY_NULL
};

/* How long a unit of lent memory may take to come back, in ms. */
#define TAKE_TIMEOUT 30000

static const struct extent everything = { 0, INT64_MAX };

/* Fails when a device holds memory that no file has: under the next kernel the device would write into other files. */
static bool check_pins(int device, GError **error)
{
	g_autoptr(GArray) pins = extents_new();
	int err = pfn_list_pinned(device, everything, pins);
	const struct extent *first;
	uint64_t bytes;

	if (err && err != -ENOTTY) {
		command_fail(error, STATUS_FAILED, "cannot find out whether devices hold memory: %s", g_strerror(-err));
		return false;
	}
	bytes = extents_bytes(pins);
	if (!bytes)
		return true;
	first = &g_array_index(pins, struct extent, 0);
	command_fail(error, STATUS_FAILED,
	             "a device still holds %" G_GUINT64_FORMAT
	             " MiB that no file has any more, at 0x%" G_GINT64_MODIFIER
	             "x: end the process that uses the device, then try again",
	             bytes >> 20, first->start);
	return false;
}

/* Takes back what is lent to the host: the next kernel finds the memory reserved, with whatever this kernel left in it. */
static bool take_lent(int device, GError **error)
{
	g_autoptr(GArray) kept = extents_new();
	g_autoptr(GString) units = g_string_new(NULL);
	int err = pfn_take_all(device, everything, TAKE_TIMEOUT, NULL, kept);

	if (!err)
		return true;
	for (guint i = 0; i < kept->len; i++) {
		const struct extent *unit = &g_array_index(kept, struct extent, i);

		g_string_append_printf(units, "%s0x%" G_GINT64_MODIFIER "x+0x%" G_GINT64_MODIFIER "x", i ? ", " : "",
		                       unit->start, unit->length);
	}
	command_fail(error, STATUS_FAILED, "memory stays lent to the host: %s: %s; then try again", units->str,
	             lending_reason(err));
	return false;
}

/* Does nothing but files use the module's memory? The caller has the store open, so no daemon of this record runs. */
static bool check_module(GError **error)
{
	g_autoptr(GError) reason = NULL;
	bool good;
	int device;

	/* The module cannot be unloaded while memory is pinned or lent. */
	if (access(DMEMFS_DEVICE, F_OK) < 0)
		return true;
	device = pfn_device_open(&reason);
	if (device < 0) {
		command_fail(error, STATUS_FAILED, "cannot find out whether memory is pinned or lent: %s",
		             reason->message);
		return false;
	}
	good = check_pins(device, error) && take_lent(device, error);
	close(device);
	return good;
}

/* Fails when the memory of the files is ordinary RAM: the next kernel would use it, and the daemon would take the contents for kept. */
static bool check_backend(const char *state_dir, struct store *store, GError **error)
{
	g_autofree char *backend = NULL;

	if (!kexec_get_backend(store, &backend, error))
		return false;
	if (!backend || strcmp(backend, "memory") != 0)
		return true;
	command_fail(
		error, STATUS_FAILED,
		"%s: its files have ordinary memory (backend=memory), which no kexec keeps: copy what must stay to a "
		"disk, or use backend=pfn",
		state_dir);
	return false;
}

static enum status prepare(const char *state_dir, struct json *json, GError **error)
{
	g_autofree char *argument = NULL;
	struct store *store = store_open(state_dir, getuid(), getgid(), error);
	bool done = store && check_backend(state_dir, store, error) && check_module(error) &&
	            kexec_prepare(store, &argument, error);

	store_close(store);
	if (!done)
		return STATUS_FAILED;
	if (json)
		json_string(json, "kernel_argument", argument);
	else
		printf("%s\n", argument);
	return STATUS_DONE;
}

static enum status run(const struct invocation *invocation, GError **error)
{
	return state_dir_work(invocation, arguments.config, prepare, error);
}

const struct command command_prepare_kexec = {
	.name = "prepare-kexec",
	.operands = "[STATE_DIR]",
	.summary = "Keep the contents of all files through a kexec, while the daemon is stopped",
	.details =
		"Prints an argument for the command line of the next kernel, which must reserve the same memory:\n"
		"  kexec -s -l KERNEL --initrd=INITRD --append=\"$(cat /proc/cmdline) $(dmemfsctl prepare-kexec)\"\n"
		"A preparation is good for one boot by kexec, and void once the daemon was started again. It is refused\n"
		"while a device holds memory of a removed file, because the device would write into the next kernel's files,\n"
		"while memory that is lent to the host does not come back, and with backend=memory, which keeps no contents.",
	.options = options,
	.operands_max = 1,
	.run = run,
};

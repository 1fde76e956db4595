// SPDX-License-Identifier: GPL-2.0-or-later
/* dmemfsctl prepare-kexec: prepares the record, so that the contents of files survive a kexec. */
#include <stdio.h>
#include <unistd.h>

#include "dmemfsctl/command.h"
#include "dmemfsctl/state_dir.h"
#include "recovery/kexec.h"
#include "store/store.h"

static struct {
	char *config;
} arguments;

static const GOptionEntry options[] = { { "config", 'c', 0, G_OPTION_ARG_FILENAME, &arguments.config,
	                                  "Prepare the state-dir of this configuration, instead of " STATE_DIR_CONFIG,
	                                  "FILE" },
	                                G_OPTION_ENTRY_NULL };

static enum status prepare(const char *state_dir, struct json *json, GError **error)
{
	g_autofree char *argument = NULL;
	struct store *store = store_open(state_dir, getuid(), getgid(), error);
	bool done = store && kexec_prepare(store, &argument, error);

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
	.details = "Prints an argument for the command line of the next kernel, which must reserve the same memory:\n"
		   "  kexec -s -l KERNEL --initrd=INITRD --append=\"$(cat /proc/cmdline) $(dmemfsctl prepare-kexec)\"\n"
		   "A preparation is good for one boot by kexec, and void once the daemon was started again.",
	.options = options,
	.operands_max = 1,
	.run = run,
};

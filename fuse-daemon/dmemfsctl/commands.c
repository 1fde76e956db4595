// SPDX-License-Identifier: GPL-2.0-or-later
/* The table of subcommands, in the order of --help. */
#include <string.h>

#include "dmemfsctl/command.h"

const struct command *const commands[] = {
	&command_plan, &command_doctor, &command_status,        &command_ls,    &command_extents,
	&command_map,  &command_top,    &command_wait_clean,    &command_quota, &command_guest_args,
	&command_fsck, &command_reload, &command_prepare_kexec, NULL,
};

const struct command *command_find(const char *name)
{
	for (const struct command *const *command = commands; *command; command++) {
		if (strcmp((*command)->name, name) == 0)
			return *command;
	}
	return NULL;
}

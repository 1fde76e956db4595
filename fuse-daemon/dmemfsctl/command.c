// SPDX-License-Identifier: GPL-2.0-or-later
/* Errors of subcommands. */
#include "dmemfsctl/command.h"

#include <errno.h>
#include <unistd.h>

G_DEFINE_QUARK(dmemfsctl - error - quark, command_error)

enum status command_fail(GError **error, enum status status, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	if (error)
		*error = g_error_new_valist(COMMAND_ERROR, (gint)status, format, args);
	va_end(args);
	return status;
}

enum status command_exit_status(const GError *error)
{
	return error->domain == COMMAND_ERROR ? (enum status)error->code : STATUS_FAILED;
}

const char *command_as_root(int err)
{
	return geteuid() != 0 && (err == EACCES || err == EPERM) ? ": run as root" : "";
}

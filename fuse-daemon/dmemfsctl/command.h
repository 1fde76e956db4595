/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The subcommands of dmemfsctl. Each has its own file, and a line in the table of commands.c.
 *
 * A subcommand prints text by default. With --json it fills in one JSON object instead, which main() prints; an error
 * is an object, too: {"error": TEXT, "exit_status": NUMBER}. In JSON sizes are in bytes, and their names end in _bytes.
 */
#ifndef DMEMFSCTL_COMMAND_H
#define DMEMFSCTL_COMMAND_H

#include <glib.h>
#include <stdbool.h>

#include "dmemfsctl/json.h"

/* Exit statuses; scripts rely on them. */
enum status {
	STATUS_DONE = 0,
	STATUS_FAILED = 1, /* the command failed */
	STATUS_USAGE = 2,  /* the command line is wrong */
	STATUS_FOUND = 3,  /* the command succeeded and found a problem */
	STATUS_DAEMON = 4, /* the daemon runs although it must be stopped, or does not run although it must */
};

struct invocation {
	char **operands;   /* NULL-terminated */
	struct json *json; /* NULL: print text */
};

struct command {
	const char *name;
	const char *operands;        /* as in the usage: "FILE"; "": none */
	const char *summary;         /* one line, no full stop */
	const char *details;         /* further lines of --help; NULL: none */
	const GOptionEntry *options; /* options other than --json and --help; NULL: none */
	guint operands_min;
	guint operands_max;
	/* Returns the exit status. When it sets @error, the error's code is the exit status instead. */
	enum status (*run)(const struct invocation *invocation, GError **error);
};

/* NULL-terminated. */
extern const struct command *const commands[];
/* NULL: there is no such subcommand. */
const struct command *command_find(const char *name);

extern const struct command command_doctor;
extern const struct command command_extents;
extern const struct command command_fsck;
extern const struct command command_guest_args;
extern const struct command command_ls;
extern const struct command command_map;
extern const struct command command_plan;
extern const struct command command_prepare_kexec;
extern const struct command command_quota;
extern const struct command command_reload;
extern const struct command command_status;
extern const struct command command_top;
extern const struct command command_wait_clean;

/* The codes are of enum status. Errors of other domains are STATUS_FAILED. */
#define COMMAND_ERROR command_error_quark()
GQuark command_error_quark(void);

/* Sets @error, whose text names the object and the remedy. Returns @status. */
enum status command_fail(GError **error, enum status status, const char *format, ...) G_GNUC_PRINTF(3, 4);
/* The exit status for @error. */
enum status command_exit_status(const GError *error);
/* What to append to a message about @err, an errno: ": run as root" if this user lacks a permission that root has, else "". */
const char *command_as_root(int err);

#endif

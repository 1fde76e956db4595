/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The state directory that a subcommand works on, and the daemon that uses it. */
#ifndef DMEMFSCTL_STATE_DIR_H
#define DMEMFSCTL_STATE_DIR_H

#include <glib.h>
#include <sys/types.h>

#include "dmemfsctl/command.h"

/*
 * Returns @operand if it is not NULL, else the state-dir of the configuration @config, else of CONFIG_DEFAULT_FILE;
 * g_malloc'ed. NULL and @error when the directory does not exist or has no record.
 */
char *state_dir_find(const char *operand, const char *config, GError **error);
/*
 * Calls @work with the directory that the operand or @config names, and keeps daemons from using the directory
 * meanwhile. Returns the status of @work; STATUS_DAEMON and @error when a daemon uses the directory.
 */
enum status state_dir_work(const struct invocation *invocation, const char *config,
                           enum status (*work)(const char *state_dir, struct json *json, GError **error),
                           GError **error);
/* The pid of the daemon that uses the directory; -1 and an @error with code STATUS_DAEMON when none does. */
pid_t state_dir_daemon(const char *state_dir, GError **error);
/* The configuration that this daemon reads, also after a reload, g_malloc'ed; NULL: an older daemon, which does not say. */
char *state_dir_config(const char *state_dir);

#endif

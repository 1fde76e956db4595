/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The state directory that a subcommand works on, and the daemon that uses it. */
#ifndef DMEMFSCTL_STATE_DIR_H
#define DMEMFSCTL_STATE_DIR_H

#include <glib.h>
#include <sys/types.h>

#include "dmemfsctl/command.h"

#define STATE_DIR_CONFIG "/etc/dmemfs/dmemfsd.conf"

/* @operand if there is one, else the state-dir of @config, else of STATE_DIR_CONFIG; exists and has a record. */
char *state_dir_find(const char *operand, const char *config, GError **error);
/* Has @work done on the directory that the operand or @config names, while no daemon starts on it; STATUS_DAEMON when one runs. */
enum status state_dir_work(const struct invocation *invocation, const char *config,
                           enum status (*work)(const char *state_dir, struct json *json, GError **error),
                           GError **error);
/* The daemon that holds it; -1 and STATUS_DAEMON when none does. */
pid_t state_dir_daemon(const char *state_dir, GError **error);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reload: the daemon replaces itself by the installed program with execv(3), and passes the FUSE connection on as an
 * fd store does (fd_store.h). For an upgrade or a changed configuration; clients see a short pause.
 */
#ifndef DMEMFS_RELOAD_H
#define DMEMFS_RELOAD_H

#include <stdbool.h>

/* Notes the program's path before an upgrade unlinks the file. Keeps @argv. Call it first in main(). */
void reload_init(char **argv);

/* @path, which may be relative to the working directory at the start, as an absolute one; g_malloc'ed. */
char *reload_absolute(const char *path);

/*
 * Checks before a reload whether the installed program accepts the configuration, by running it with --check-config.
 * A thread waits for the program, because the main loop must not wait: it handles the backend's events. All three
 * functions must be called on the main loop's thread. Copies @config_file.
 */
struct reload_check *reload_check_new(const char *config_file, void (*is_safe)(void *data), void *data);
/*
 * Starts a check. If the program accepts the configuration, calls @is_safe in the main loop; else logs what the
 * program says. When a check runs already, starts another one after it, so that the result is never older than the
 * request.
 */
void reload_check_ask(struct reload_check *check);
/* Waits for a running check and drops its result. NULL is fine. */
void reload_check_free(struct reload_check *check);

/*
 * Blocks and unblocks SIGHUP, SIGINT and SIGTERM. They are blocked from the end of this run until the new program has
 * its handlers, because their default action would end the process and with it the connection.
 */
void reload_block_signals(void);
void reload_unblock_signals(void);
/* Executes the installed program with the connection @fd. Returns only on failure, which it logs. */
void reload_exec(int fd);

#endif

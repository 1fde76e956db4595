/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The daemon replaces itself by the program that is installed now, and hands it the FUSE connection as an fd store would
 * (fd_store.h): an upgrade, or a changed configuration, that clients see as a short pause.
 */
#ifndef DMEMFS_RELOAD_H
#define DMEMFS_RELOAD_H

#include <stdbool.h>

/* First thing in main(): notes where the program is, before an upgrade unlinks it. @argv must stay. */
void reload_init(char **argv);

/*
 * Does the program that is installed now accept the configuration, as it is now? A thread of its own asks it, as that takes
 * a moment and the main loop has other things to do: what files gave back is waited for. Belongs to the main loop.
 */
struct reload_check *reload_check_new(const char *config_file, void (*is_safe)(void *data), void *data);
/* Calls @is_safe in the main loop if so, else logs what the program says. Whatever changes meanwhile is looked at as well. */
void reload_check_ask(struct reload_check *check);
/* Waits for a look that is being taken, whose result is nobody's. */
void reload_check_free(struct reload_check *check);

/*
 * SIGHUP, SIGINT and SIGTERM, from when this process has no more use for them to when the new program can handle them: their
 * default would end it, and the connection with it.
 */
void reload_block_signals(void);
void reload_unblock_signals(void);
/* With @fd, the connection: returns only on failure, which was logged. */
void reload_exec(int fd);

#endif

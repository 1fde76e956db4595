/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The daemon replaces itself by the program that is installed now, and hands it the FUSE connection as a keeper would
 * (keeper.h): an upgrade, or a changed configuration, that clients see as a short pause.
 */
#ifndef DMEMFS_RELOAD_H
#define DMEMFS_RELOAD_H

#include <stdbool.h>

/* First thing in main(): notes where the program is, before an upgrade unlinks it. @argv must stay. */
void reload_init(char **argv);
/*
 * Does the program that is installed now accept the configuration, as it is now? Logs what it says if not. Takes a
 * moment, while the daemon serves.
 */
bool reload_is_safe(const char *config_file);
/*
 * SIGHUP, SIGINT and SIGTERM, from when this process has no more use for them to when the new program can handle them: their
 * default would end it, and the connection with it.
 */
void reload_block_signals(void);
void reload_unblock_signals(void);
/* With @fd, the connection: returns only on failure, which was logged. */
void reload_exec(int fd);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The service manager's watchdog (WatchdogSec= of systemd.service(5), sd_watchdog_enabled(3)): as long as the main loop runs
 * and requests are served, the manager hears so. Else it ends this daemon and starts another, which goes on with the
 * connection (takeover.h): whoever uses the mount sees a pause.
 */
#ifndef DMEMFS_WATCHDOG_H
#define DMEMFS_WATCHDOG_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* Has anything gone on within the last @limit us? Asked several times in that time, by the main loop. */
typedef bool (*watchdog_question)(void *data, int64_t limit);

/* A source of the main loop that asks @is_alive and tells the manager; 0 when the manager does not want to know. */
guint watchdog_start(watchdog_question is_alive, void *data);

#endif

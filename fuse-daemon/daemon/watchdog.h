/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The service manager's watchdog (WatchdogSec= of systemd.service(5), sd_watchdog_enabled(3)). While the main loop
 * runs and requests make progress, the daemon tells the manager so. Otherwise the manager ends this daemon and starts
 * another, which takes the connection over (takeover.h): processes that use the mount see a pause.
 */
#ifndef DMEMFS_WATCHDOG_H
#define DMEMFS_WATCHDOG_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* Did requests make progress within the last @limit us? The main loop calls it several times in that time. */
typedef bool (*watchdog_question)(void *data, int64_t limit);

/*
 * Adds a source to the main loop that asks @is_alive and tells the manager. Returns its id, or 0 when the manager has
 * no watchdog for this process.
 */
guint watchdog_start(watchdog_question is_alive, void *data);

#endif

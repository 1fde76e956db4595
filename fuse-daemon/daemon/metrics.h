/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Metrics for Prometheus, as a text file that node_exporter's textfile collector reads: names and units by Prometheus'
 * conventions, replaced as a whole by rename(2), so that nobody reads half of it. What each means is in the file itself.
 *
 * A thread of its own writes it: a disk that stalls holds up neither requests nor the main loop.
 */
#ifndef DMEMFS_METRICS_H
#define DMEMFS_METRICS_H

#include <stdbool.h>

#include "requests/mount.h"

struct metrics;

/* While @mount serves. NULL: the configuration wants none. */
struct metrics *metrics_start(struct server *server, struct mount *mount);
/* Before the mount is taken down. NULL is fine. With @remove the file goes: what it says is true no more. */
void metrics_stop(struct metrics *metrics, bool remove);

#endif

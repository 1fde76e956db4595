/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Metrics for Prometheus, as a text file for node_exporter's textfile collector. Names and units follow Prometheus'
 * conventions; the file itself describes each metric. rename(2) replaces the whole file, so that no reader sees half
 * of it.
 *
 * A separate thread writes the file, so that a stalled disk delays neither requests nor the main loop.
 */
#ifndef DMEMFS_METRICS_H
#define DMEMFS_METRICS_H

#include <stdbool.h>

#include "requests/mount.h"

struct metrics;

/*
 * Starts the thread. @server and @mount must live until metrics_stop(). NULL when the configuration names no metrics
 * file.
 */
struct metrics *metrics_start(struct server *server, struct mount *mount);
/* Stops the thread and frees @metrics. Call it before mount_finish(). @remove: deletes the file. NULL is fine. */
void metrics_stop(struct metrics *metrics, bool remove);

#endif

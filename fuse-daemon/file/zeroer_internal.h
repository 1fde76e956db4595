/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared by zero_background.c, zero_in_request.c and zero_stats.c, and internal to them. */
#ifndef DMEMFS_ZEROER_INTERNAL_H
#define DMEMFS_ZEROER_INTERNAL_H

#include "file/zeroer.h"

struct zeroer {
	const struct storage *storage;
	GThreadPool *helpers; /* help requests: struct job of zero_in_request.c */
	GPtrArray *workers; /* struct worker of zero_background.c; used only by the thread that starts and stops them */
	uint64_t max_rate;  /* bytes per second for each worker; 0: no limit */
	GMutex lock;        /* guards all below */
	GCond stopping;
	bool stop;
	unsigned running;      /* how many workers run */
	uint64_t zeroed;       /* bytes since the start */
	uint64_t rate;         /* bytes per second in the last whole period; 0: there was none */
	gint64 period_start;   /* monotonic time, us */
	uint64_t period_bytes; /* bytes zeroed since then */
	gint64 last_zeroed;    /* monotonic time, us */
};

/* Counts @bytes that were zeroed since @start (monotonic time, us). */
void zeroer_count(struct zeroer *zeroer, uint64_t bytes, gint64 start);
/* The function of the helper threads. */
void zeroer_help(gpointer job, gpointer zeroer);
unsigned zeroer_helper_count(void);

#endif

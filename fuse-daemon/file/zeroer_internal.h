/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What zero_background.c, in advance, and zero_in_request.c, in need, share. Internal to them. */
#ifndef DMEMFS_ZEROER_INTERNAL_H
#define DMEMFS_ZEROER_INTERNAL_H

#include "file/zeroer.h"

struct zeroer {
	const struct storage *storage;
	GThreadPool *helpers; /* of requests: struct job of zero_in_request.c */
	GPtrArray *workers;   /* struct worker of zero_background.c; of the thread that starts and stops them */
	uint64_t max_rate;    /* bytes per second and worker; 0: no limit */
	GMutex lock;          /* guards all below */
	GCond stopping;
	bool stop;
	unsigned running;      /* workers */
	uint64_t zeroed;       /* bytes */
	uint64_t rate;         /* bytes per second, of the last whole period; 0: there was none */
	gint64 period_start;   /* monotonic time, us */
	uint64_t period_bytes; /* zeroed since then */
	gint64 last_zeroed;    /* monotonic time, us */
};

/* @bytes were zeroed since @start, monotonic time in us. */
void zeroer_count(struct zeroer *zeroer, uint64_t bytes, gint64 start);
/* The thread pool's function. */
void zeroer_help(gpointer job, gpointer zeroer);
unsigned zeroer_helper_count(void);

#endif

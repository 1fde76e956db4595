// SPDX-License-Identifier: GPL-2.0-or-later
/* Statistics: how much was zeroed, and how fast. */
#include "file/zeroer_internal.h"

#define RATE_PERIOD G_TIME_SPAN_SECOND

void zeroer_count(struct zeroer *zeroer, uint64_t bytes, gint64 start)
{
	gint64 now = g_get_monotonic_time();

	g_mutex_lock(&zeroer->lock);
	if (now - zeroer->last_zeroed > RATE_PERIOD) {
		/* A time without work does not count for the rate: a new period begins. */
		zeroer->period_start = start;
		zeroer->period_bytes = zeroer->rate = 0;
	}
	zeroer->zeroed += bytes;
	zeroer->period_bytes += bytes;
	zeroer->last_zeroed = now;
	if (now - zeroer->period_start >= RATE_PERIOD) {
		zeroer->rate = zeroer->period_bytes * G_TIME_SPAN_SECOND / (uint64_t)(now - zeroer->period_start);
		zeroer->period_start = now;
		zeroer->period_bytes = 0;
	}
	g_mutex_unlock(&zeroer->lock);
}

void zeroer_get_stats(struct zeroer *zeroer, struct zeroer_stats *stats)
{
	gint64 now = g_get_monotonic_time();

	g_mutex_lock(&zeroer->lock);
	*stats = (struct zeroer_stats){ .zeroed = zeroer->zeroed, .workers = zeroer->running };
	if (zeroer->zeroed && now - zeroer->last_zeroed <= RATE_PERIOD)
		stats->rate = zeroer->rate
		                      ?: zeroer->period_bytes * G_TIME_SPAN_SECOND /
		                                 (uint64_t)MAX(now - zeroer->period_start, 1);
	g_mutex_unlock(&zeroer->lock);
}

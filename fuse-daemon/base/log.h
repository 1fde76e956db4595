/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The log: one line per event; one per request only at the level debug (connection/request_trace.h).
 *
 * Lines go to stderr until log_use_syslog(). Their form is "dmemfsd: error: ...". When stderr is the journal
 * (systemd.exec(5), JOURNAL_STREAM), they begin with the kernel's priority prefix <N> (sd-daemon(3)) instead. Control
 * characters in a message are escaped, so that a file name cannot forge a line. All functions that write lines are
 * thread-safe, write a line with one write(2), and keep errno.
 */
#ifndef DMEMFS_LOG_H
#define DMEMFS_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/*
 * To be called first in main(), before any thread starts. Opens /dev/null on those of the descriptors 0, 1 and 2 that are
 * closed: otherwise a file of the daemon could get stderr's number, and the log would be written to it. Ignores SIGPIPE:
 * otherwise the daemon would die when the reader of its stderr does. Finds out whether stderr is the journal.
 */
void log_init(void);
/* The program's name in each line, instead of dmemfsd. To be called before any thread starts; @name is not copied. */
void log_set_name(const char *name);
/* Lines above this level are dropped. The default is LOG_LEVEL_INFO. */
void log_set_level(enum log_level level);
/* Are lines of this level written? To be asked before a line is composed at some cost. */
bool log_wants(enum log_level level);
/* @text: "error", "warning", "info" or "debug". False, and @level is unchanged, when it is none of them. */
bool log_level_parse(const char *text, enum log_level *level);
/* From now on lines go to syslog(3), facility LOG_DAEMON. For a daemon that is about to leave its terminal. */
void log_use_syslog(void);

void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * A rate limit for lines that a client can cause as often as it likes: at most @burst lines in @interval_us microseconds.
 * Each call site has its own: static struct log_limit limit = LOG_LIMIT_INIT;
 */
struct log_limit {
	unsigned burst;
	int64_t interval_us;
	/* Private to log.c, under its lock. */
	int64_t began; /* g_get_monotonic_time() of the first line of this interval */
	unsigned lines;
	unsigned suppressed;
};

/* As the kernel's printk_ratelimit (include/linux/ratelimit_types.h): 10 lines in 5 seconds. */
#define LOG_LIMIT_INIT                              \
	{                                           \
		.burst = 10, .interval_us = 5000000 \
	}

/*
 * May a line of @level be written now? Counts it, and before the first line of a new interval writes how many were suppressed. For
 * a line that is composed at some cost: after true, write it with log_info() or its like.
 */
bool log_passes(struct log_limit *limit, enum log_level level);
/* Writes the line if log_passes(). */
void log_limited(struct log_limit *limit, enum log_level level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif

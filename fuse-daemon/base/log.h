/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One line per event; one per request only at the level debug (connection/request_trace.h).
 *
 * Lines go to stderr until log_use_syslog(). On a terminal or in a file they read "dmemfsd: error: ..."; when stderr is
 * the journal's (systemd.exec(5), JOURNAL_STREAM) they carry the kernel's <N> priority prefix (sd-daemon(3)) instead.
 * Control characters in a message are escaped: a file name cannot forge a line. Thread-safe; a line is one write(2);
 * errno is kept.
 */
#ifndef DMEMFS_LOG_H
#define DMEMFS_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/*
 * First thing in main(), before any thread. Opens /dev/null on those of the descriptors 0, 1 and 2 that the caller had
 * closed, so that no file of the daemon gets stderr's number and the log's lines. Ignores SIGPIPE, so that whoever
 * closes the other end of stderr does not end the daemon. Finds out whether the journal listens.
 */
void log_init(void);
/* Whose lines they are, instead of dmemfsd's. Before any thread; @name must stay. */
void log_set_name(const char *name);
/* Lines of a higher level than this are dropped; LOG_LEVEL_INFO at first. */
void log_set_level(enum log_level level);
/* Are lines of this level written? For lines that cost something to make. */
bool log_wants(enum log_level level);
/* "error", "warning", "info", "debug". */
bool log_level_parse(const char *text, enum log_level *level);
/* From here on lines go to syslog(3), facility LOG_DAEMON: for a daemon that is about to leave its terminal. */
void log_use_syslog(void);

void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * At most @burst lines per @interval_us from one place: for what a client may cause as often as it likes. One per call
 * site: static struct log_limit limit = LOG_LIMIT_INIT;
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

/* The first line after a pause also says how many were suppressed before it. */
void log_limited(struct log_limit *limit, enum log_level level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif

// SPDX-License-Identifier: GPL-2.0-or-later
/* One line per event, on stderr or to syslog. */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

static const struct {
	const char *name;
	int priority; /* syslog(3) */
} levels[] = {
	[LOG_LEVEL_ERROR] = { "error", LOG_ERR },
	[LOG_LEVEL_WARNING] = { "warning", LOG_WARNING },
	[LOG_LEVEL_INFO] = { "info", LOG_INFO },
	[LOG_LEVEL_DEBUG] = { "debug", LOG_DEBUG },
};

/* Read by every thread; changed rarely. */
static gint threshold = LOG_LEVEL_INFO;
static gint to_syslog;
static gint to_journal;
static const char *program = "dmemfsd"; /* changed before any thread */

static GMutex limit_lock; /* guards every struct log_limit */

/* All descendants of a service inherit $JOURNAL_STREAM; it names their stderr only if that was not redirected. */
static bool stderr_is_journal(void)
{
	const char *stream = g_getenv("JOURNAL_STREAM");
	struct stat st;

	if (!stream || fstat(STDERR_FILENO, &st) < 0)
		return false;

	g_autofree char *own = g_strdup_printf("%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);

	return g_str_equal(stream, own);
}

void log_init(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
	signal(SIGPIPE, SIG_IGN);
	g_atomic_int_set(&to_journal, stderr_is_journal());
}

void log_set_name(const char *name)
{
	program = name;
}

void log_set_level(enum log_level level)
{
	g_atomic_int_set(&threshold, (gint)level);
}

bool log_level_parse(const char *text, enum log_level *level)
{
	for (size_t i = 0; i < G_N_ELEMENTS(levels); i++) {
		if (g_str_equal(text, levels[i].name)) {
			*level = (enum log_level)i;
			return true;
		}
	}
	return false;
}

void log_use_syslog(void)
{
	openlog(program, LOG_PID, LOG_DAEMON);
	g_atomic_int_set(&to_syslog, true);
}

static void append_escaped(GString *line, const char *message)
{
	for (const char *at = message; *at; at++) {
		if (*at == '\n')
			g_string_append(line, "\\n");
		else if (g_ascii_iscntrl(*at))
			g_string_append_printf(line, "\\x%02x", (unsigned char)*at);
		else
			g_string_append_c(line, *at);
	}
}

/* An error of write() is ignored: there is no other place to report it. */
static void write_line(const GString *line)
{
	ssize_t done;

	do {
		done = write(STDERR_FILENO, line->str, line->len);
	} while (done < 0 && errno == EINTR);
}

static void emit(enum log_level level, const char *message)
{
	GString *line = g_string_new(NULL);

	if (g_atomic_int_get(&to_syslog)) {
		append_escaped(line, message);
		syslog(levels[level].priority, "%s", line->str);
	} else {
		if (g_atomic_int_get(&to_journal))
			g_string_append_printf(line, "<%d>", levels[level].priority);
		else
			g_string_append_printf(line, "%s: %s: ", program, levels[level].name);
		append_escaped(line, message);
		g_string_append_c(line, '\n');
		write_line(line);
	}
	g_string_free(line, TRUE);
}

bool log_wants(enum log_level level)
{
	return (gint)level <= g_atomic_int_get(&threshold);
}

static void emit_format(enum log_level level, const char *format, va_list args) G_GNUC_PRINTF(2, 0);
static void emit_format(enum log_level level, const char *format, va_list args)
{
	if (log_wants(level)) {
		g_autofree char *message = g_strdup_vprintf(format, args);

		emit(level, message);
	}
}

#define DEFINE_LOG_FUNCTION(name, level)          \
	void name(const char *format, ...)        \
	{                                         \
		int saved = errno;                \
		va_list args;                     \
                                                  \
		va_start(args, format);           \
		emit_format(level, format, args); \
		va_end(args);                     \
		errno = saved;                    \
	}

DEFINE_LOG_FUNCTION(log_error, LOG_LEVEL_ERROR)
DEFINE_LOG_FUNCTION(log_warning, LOG_LEVEL_WARNING)
DEFINE_LOG_FUNCTION(log_info, LOG_LEVEL_INFO)
DEFINE_LOG_FUNCTION(log_debug, LOG_LEVEL_DEBUG)

/* May one more line be written? @suppressed: how many lines were suppressed and not yet reported. */
static bool limit_passes(struct log_limit *limit, unsigned *suppressed)
{
	int64_t now = g_get_monotonic_time();

	g_mutex_lock(&limit_lock);
	if (limit->lines == 0 || now - limit->began >= limit->interval_us) {
		limit->began = now;
		limit->lines = 0;
		*suppressed = limit->suppressed;
		limit->suppressed = 0;
	}

	bool passes = limit->lines < limit->burst;

	if (passes)
		limit->lines++;
	else
		limit->suppressed++;
	g_mutex_unlock(&limit_lock);
	return passes;
}

bool log_passes(struct log_limit *limit, enum log_level level)
{
	unsigned suppressed = 0;
	int saved = errno;

	if (!log_wants(level) || !limit_passes(limit, &suppressed))
		return false;
	if (suppressed) {
		g_autofree char *note = g_strdup_printf("suppressed %u lines like the next one", suppressed);

		emit(level, note);
	}
	errno = saved;
	return true;
}

void log_limited(struct log_limit *limit, enum log_level level, const char *format, ...)
{
	g_autofree char *message = NULL;
	int saved = errno;
	va_list args;

	if (!log_passes(limit, level))
		return;
	va_start(args, format);
	message = g_strdup_vprintf(format, args);
	va_end(args);
	emit(level, message);
	errno = saved;
}

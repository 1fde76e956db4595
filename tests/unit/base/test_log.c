// SPDX-License-Identifier: GPL-2.0-or-later
/* The log: the form of its lines, its levels, lines of many threads, and a stderr that fails. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"

static int kept_stderr;
static int captured; /* an unlinked file that is stderr while a test runs */

static void capture(void)
{
	g_autofree char *path = NULL;

	captured = g_file_open_tmp("dmemfs-log-XXXXXX", &path, NULL);
	g_assert_cmpint(captured, >=, 0);
	g_unlink(path);
	g_assert_cmpint(fcntl(captured, F_SETFL, O_APPEND), ==, 0);
	kept_stderr = dup(STDERR_FILENO);
	g_assert_cmpint(dup2(captured, STDERR_FILENO), ==, STDERR_FILENO);
}

/* Ends the capture, and returns what was written since capture(). */
static char *release(void)
{
	off_t length = lseek(captured, 0, SEEK_END);
	char *text = g_malloc0((gsize)length + 1);

	g_assert_cmpint(pread(captured, text, (size_t)length, 0), ==, length);
	g_assert_cmpint(dup2(kept_stderr, STDERR_FILENO), ==, STDERR_FILENO);
	close(kept_stderr);
	close(captured);
	return text;
}

static void released(const char *expected)
{
	g_autofree char *text = release();

	g_assert_cmpstr(text, ==, expected);
}

static void log_one_of_each(void)
{
	log_error("%s %d", "e", 1);
	log_warning("w");
	log_info("i");
	log_debug("d");
}

static void a_line_names_program_and_level(void)
{
	capture();
	log_one_of_each();
	released("dmemfsd: error: e 1\ndmemfsd: warning: w\ndmemfsd: info: i\n");
}

static void levels_drop_what_is_above(void)
{
	static const struct {
		const char *name;
		const char *lines;
	} levels[] = {
		{ "error", "dmemfsd: error: e 1\n" },
		{ "warning", "dmemfsd: error: e 1\ndmemfsd: warning: w\n" },
		{ "info", "dmemfsd: error: e 1\ndmemfsd: warning: w\ndmemfsd: info: i\n" },
		{ "debug", "dmemfsd: error: e 1\ndmemfsd: warning: w\ndmemfsd: info: i\ndmemfsd: debug: d\n" },
	};

	for (size_t i = 0; i < G_N_ELEMENTS(levels); i++) {
		enum log_level level;

		g_assert_true(log_level_parse(levels[i].name, &level));
		log_set_level(level);
		capture();
		log_one_of_each();
		log_set_level(LOG_LEVEL_INFO);
		released(levels[i].lines);
	}
}

static void unknown_levels_are_refused(void)
{
	static const char *const unknown[] = { "", "Error", "err", "errors", " info", "7" };
	enum log_level level = LOG_LEVEL_DEBUG;

	for (size_t i = 0; i < G_N_ELEMENTS(unknown); i++)
		g_assert_false(log_level_parse(unknown[i], &level));
	g_assert_cmpint(level, ==, LOG_LEVEL_DEBUG);
}

/* A file name that a client chose can neither forge a line nor send control codes to a terminal. */
static void control_characters_are_escaped(void)
{
	capture();
	log_info("a\ndmemfsd: error: b\r\t\033[31m\177");
	log_info("\xc3\xa4 %s", "100%s");
	released("dmemfsd: info: a\\ndmemfsd: error: b\\x0d\\x09\\x1b[31m\\x7f\ndmemfsd: info: \xc3\xa4 100%s\n");
}

static void long_lines_stay_whole(void)
{
	g_autofree char *message = g_strnfill(100000, 'x');
	g_autofree char *expected = g_strconcat("dmemfsd: info: ", message, "\n", NULL);

	capture();
	log_info("%s", message);
	released(expected);
}

static void errno_is_kept(void)
{
	struct log_limit limit = LOG_LIMIT_INIT;

	capture();
	errno = EXDEV;
	log_error("x");
	g_assert_cmpint(errno, ==, EXDEV);
	log_limited(&limit, LOG_LEVEL_ERROR, "x");
	g_assert_cmpint(errno, ==, EXDEV);
	log_debug("dropped");
	g_assert_cmpint(errno, ==, EXDEV);
	g_free(release());
}

/* Lines have the prefix only when stderr is the journal: JOURNAL_STREAM alone may be inherited. */
static void the_journal_gets_priorities(void)
{
	g_autofree char *stream = NULL;
	struct stat st;

	capture();
	g_assert_cmpint(fstat(STDERR_FILENO, &st), ==, 0);
	stream = g_strdup_printf("%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	g_setenv("JOURNAL_STREAM", stream, TRUE);
	log_init();
	log_set_level(LOG_LEVEL_DEBUG);
	log_one_of_each();
	log_error("a\nb");
	g_setenv("JOURNAL_STREAM", "1:2", TRUE);
	log_init();
	log_error("elsewhere");
	g_unsetenv("JOURNAL_STREAM");
	log_init();
	log_error("nowhere");
	log_set_level(LOG_LEVEL_INFO);
	released("<3>e 1\n<4>w\n<6>i\n<7>d\n<3>a\\nb\ndmemfsd: error: elsewhere\ndmemfsd: error: nowhere\n");
}

#define THREADS 8
#define LINES   500

static gpointer log_many(gpointer letter)
{
	g_autofree char *message = g_strnfill(200, (char)GPOINTER_TO_INT(letter));

	for (unsigned i = 0; i < LINES; i++)
		log_info("%s", message);
	return NULL;
}

static void lines_of_threads_do_not_mix(void)
{
	GThread *threads[THREADS];
	g_autofree char *text = NULL;
	const char *at;

	capture();
	for (int i = 0; i < THREADS; i++)
		threads[i] = g_thread_new("log", log_many, GINT_TO_POINTER('a' + i));
	for (unsigned i = 0; i < THREADS; i++)
		g_thread_join(threads[i]);
	text = release();
	at = text;
	for (unsigned i = 0; i < THREADS * LINES; i++) {
		g_assert_true(g_str_has_prefix(at, "dmemfsd: info: "));
		at += strlen("dmemfsd: info: ");
		for (unsigned j = 0; j < 200; j++)
			g_assert_cmpint(at[j], ==, at[0]);
		g_assert_cmpint(at[200], ==, '\n');
		at += 201;
	}
	g_assert_cmpint(*at, ==, '\0');
}

/* The daemon goes on when the reader of its stderr has closed it, and when the disk is full. */
static void a_broken_stderr_is_survived(void)
{
	int fds[2];
	int full = open("/dev/full", O_WRONLY | O_CLOEXEC);

	g_assert_cmpint(pipe(fds), ==, 0);
	close(fds[0]);
	capture();
	log_init();
	dup2(fds[1], STDERR_FILENO);
	log_error("nobody reads this");
	if (full >= 0)
		dup2(full, STDERR_FILENO);
	log_error("no room for this");
	close(fds[1]);
	close(full);
	released("");
}

static void closed_descriptors_are_not_reused(void)
{
	g_autofree char *text = NULL;
	int fd;

	capture();
	close(STDERR_FILENO);
	log_init();
	fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	log_error("to nobody");
	text = release();
	g_assert_cmpint(fd, >, STDERR_FILENO);
	g_assert_cmpstr(text, ==, "");
	close(fd);
}

static void a_burst_is_limited(void)
{
	struct log_limit limit = LOG_LIMIT_INIT;

	limit.burst = 3;
	limit.interval_us = 60 * G_USEC_PER_SEC;
	capture();
	for (unsigned i = 0; i < 100; i++)
		log_limited(&limit, LOG_LEVEL_WARNING, "%u", i);
	released("dmemfsd: warning: 0\ndmemfsd: warning: 1\ndmemfsd: warning: 2\n");
	g_assert_cmpuint(limit.suppressed, ==, 97);

	/* The pause is over. */
	limit.began -= limit.interval_us;
	capture();
	log_limited(&limit, LOG_LEVEL_WARNING, "again");
	log_limited(&limit, LOG_LEVEL_WARNING, "and again");
	released("dmemfsd: warning: suppressed 97 lines like the next one\n"
	         "dmemfsd: warning: again\ndmemfsd: warning: and again\n");
}

static void dropped_levels_do_not_count(void)
{
	struct log_limit limit = LOG_LIMIT_INIT;

	capture();
	for (unsigned i = 0; i < 100; i++)
		log_limited(&limit, LOG_LEVEL_DEBUG, "%u", i);
	released("");
	g_assert_cmpuint(limit.lines, ==, 0);
	g_assert_cmpuint(limit.suppressed, ==, 0);
}

static gpointer log_limited_many(gpointer limit)
{
	for (unsigned i = 0; i < 1000; i++)
		log_limited(limit, LOG_LEVEL_INFO, "x");
	return NULL;
}

static void threads_share_a_limit(void)
{
	struct log_limit limit = { .burst = 10, .interval_us = 60 * G_USEC_PER_SEC };
	GThread *threads[THREADS];
	g_autofree char *text = NULL;
	g_auto(GStrv) lines = NULL;

	capture();
	for (unsigned i = 0; i < THREADS; i++)
		threads[i] = g_thread_new("log", log_limited_many, &limit);
	for (unsigned i = 0; i < THREADS; i++)
		g_thread_join(threads[i]);
	text = release();
	lines = g_strsplit(text, "\n", -1);
	g_assert_cmpuint(g_strv_length(lines), ==, 10 + 1);
	g_assert_cmpuint(limit.suppressed, ==, THREADS * 1000 - 10);
}

/* Listens on /dev/log in a mount namespace of this process. -1: not possible here. */
static int listen_as_syslog(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "/dev/log" };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	g_assert_cmpint(fd, >=, 0);
	if (unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	    mount("tmpfs", "/dev", "tmpfs", 0, NULL) == 0 &&
	    bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	close(fd);
	return -1;
}

static void syslog_gets_lines(void)
{
	char text[256] = "";
	int fd;

	if (!g_test_subprocess()) {
		g_test_trap_subprocess(NULL, 0, G_TEST_SUBPROCESS_INHERIT_STDOUT);
		g_test_trap_assert_passed();
		g_test_trap_assert_stderr("dmemfsd: info: before\n");
		return;
	}
	log_info("before");
	fd = listen_as_syslog();
	log_use_syslog();
	log_warning("line %d\nmore", 1);
	if (fd < 0)
		return;
	g_assert_cmpint(recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT), >, 0);
	/* 3 * 8 is LOG_DAEMON, 4 is LOG_WARNING. */
	g_assert_true(g_str_has_prefix(text, "<28>"));
	g_assert_nonnull(strstr(text, "dmemfsd["));
	g_assert_true(g_str_has_suffix(text, "]: line 1\\nmore"));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/log/form", a_line_names_program_and_level);
	g_test_add_func("/log/level", levels_drop_what_is_above);
	g_test_add_func("/log/level/unknown", unknown_levels_are_refused);
	g_test_add_func("/log/escape", control_characters_are_escaped);
	g_test_add_func("/log/long", long_lines_stay_whole);
	g_test_add_func("/log/errno", errno_is_kept);
	g_test_add_func("/log/journal", the_journal_gets_priorities);
	g_test_add_func("/log/threads", lines_of_threads_do_not_mix);
	g_test_add_func("/log/broken", a_broken_stderr_is_survived);
	g_test_add_func("/log/closed", closed_descriptors_are_not_reused);
	g_test_add_func("/log/limit", a_burst_is_limited);
	g_test_add_func("/log/limit/level", dropped_levels_do_not_count);
	g_test_add_func("/log/limit/threads", threads_share_a_limit);
	g_test_add_func("/log/syslog", syslog_gets_lines);
	return g_test_run();
}

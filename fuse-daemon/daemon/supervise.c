// SPDX-License-Identifier: GPL-2.0-or-later
/* The parent process of --supervise. It has one thread and no main loop. */
#include "daemon/supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mountinfo.h"
#include "base/notify.h"
#include "connection/fd_store.h"
#include "connection/takeover.h"
#include "daemon/daemonize.h"

struct supervisor {
	char **argv; /* the child's command line */
	char *program;
	int directory; /* the working directory at the start, for relative paths of the command line */
	sigset_t old_mask;
	int notify;       /* socket on which the child's messages come */
	int childs_end;   /* the child's end of that socket pair */
	int signals;      /* signalfd */
	int connection;   /* the connection that the child stored; -1: none */
	char *mountpoint; /* the path of its mount */
	dev_t device;     /* the device number of its mount */
	pid_t child;      /* 0: none */
	bool ready;       /* this child sent READY=1 */
	bool was_ready;   /* some child sent READY=1 */
	bool stopping;
	unsigned failures; /* children in a row that were never ready */
};

/* A socket pair, so that only the child, which inherits one end, can send messages. */
static bool open_notify(struct supervisor *supervisor)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return false;
	supervisor->notify = ends[0];
	/* Above FD_STORE_FIRST_FD, where the child gets the connection. */
	supervisor->childs_end = fcntl(ends[1], F_DUPFD_CLOEXEC, FD_STORE_FIRST_FD + 1);
	close(ends[1]);
	return supervisor->childs_end >= 0;
}

static bool open_signals(struct supervisor *supervisor)
{
	sigset_t mask;

	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGINT);
	sigaddset(&mask, SIGHUP);
	sigaddset(&mask, SIGQUIT);
	supervisor->signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	return supervisor->signals >= 0 && sigprocmask(SIG_BLOCK, &mask, &supervisor->old_mask) == 0;
}

/* The command line without --supervise, in the foreground. */
static char **child_arguments(char **argv)
{
	GPtrArray *arguments = g_ptr_array_new();

	for (char **argument = argv; *argument; argument++) {
		if (strcmp(*argument, "--supervise") != 0)
			g_ptr_array_add(arguments, *argument);
		if (argument == argv)
			g_ptr_array_add(arguments, (char *)"--foreground");
	}
	g_ptr_array_add(arguments, NULL);
	return (char **)g_ptr_array_free(arguments, FALSE);
}

static _Noreturn void become_child(const struct supervisor *supervisor)
{
	char address[16];

	sigprocmask(SIG_SETMASK, &supervisor->old_mask, NULL);
	snprintf(address, sizeof(address), NOTIFY_INHERITED "%d", supervisor->childs_end);
	setenv("NOTIFY_SOCKET", address, true);
	fcntl(supervisor->childs_end, F_SETFD, 0);
	if (fchdir(supervisor->directory) < 0)
		log_warning(
			"cannot return to the working directory of the start: %s: relative paths of the command line "
			"may be wrong",
			strerror(errno));
	setenv("FDSTORE", "1", true);
	if (supervisor->connection >= 0)
		fd_store_pass(supervisor->connection);
	execv(supervisor->program, supervisor->argv);
	log_error("%s: %s", supervisor->program, strerror(errno));
	_exit(EXIT_FAILURE);
}

static void start_child(struct supervisor *supervisor)
{
	pid_t child = fork();

	if (child == 0)
		become_child(supervisor);
	if (child < 0) {
		log_error("cannot start the daemon: %s", strerror(errno));
		return;
	}
	supervisor->child = child;
	supervisor->ready = false;
}

/* Replaces the stored connection by @fd, which it owns; -1: none. */
static void keep(struct supervisor *supervisor, int fd, const char *mountpoint)
{
	if (supervisor->connection >= 0)
		close(supervisor->connection);
	g_free(supervisor->mountpoint);
	supervisor->connection = fd;
	supervisor->mountpoint = g_strdup(mountpoint);
	supervisor->device = 0;
	if (mountpoint)
		mountinfo_find(mountpoint, &supervisor->device);
}

/* Ends the connection and unmounts, because no daemon will follow: processes that use the mount would hang forever. */
static void take_down(struct supervisor *supervisor)
{
	g_autofree char *mountpoint = g_strdup(supervisor->mountpoint);
	dev_t device = supervisor->device;
	bool mounted = supervisor->connection >= 0 && takeover_is_alive(supervisor->connection);

	keep(supervisor, -1, NULL); /* ends the connection */
	if (!mounted || !mountpoint)
		return;
	log_info("%s: unmounted, because no daemon will serve it", mountpoint);
	mountinfo_unmount(mountpoint, device);
}

static void on_ready(struct supervisor *supervisor)
{
	supervisor->ready = supervisor->was_ready = true;
	supervisor->failures = 0;
	daemonize_ready();
}

static const char *find_value(const char *const *lines, const char *key)
{
	while (*lines && !g_str_has_prefix(*lines, key))
		lines++;
	return *lines ? *lines + strlen(key) : NULL;
}

/* Handles a message of the child. Owns @fd; -1: none. */
static void take_message(struct supervisor *supervisor, const char *text, int fd)
{
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
	const char *const *all = (const char *const *)lines;

	if (g_strv_contains(all, "FDNAME=" FD_STORE_FDNAME)) {
		if (g_strv_contains(all, "FDSTORE=1") && fd >= 0) {
			keep(supervisor, fd, find_value(all, FD_STORE_MOUNTPOINT));
			fd = -1;
		} else if (g_strv_contains(all, "FDSTOREREMOVE=1")) {
			keep(supervisor, -1, NULL);
		}
	} else {
		if (g_strv_contains(all, "READY=1"))
			on_ready(supervisor);
		notify_send(text);
	}
	if (fd >= 0)
		close(fd);
}

/* Receives one message; false when there is none. */
static bool receive(struct supervisor *supervisor)
{
	/* Room for one descriptor only: the kernel closes further ones. */
	_Alignas(struct cmsghdr) char control[CMSG_LEN(sizeof(int))];
	char text[4096];
	struct iovec data = { .iov_base = text, .iov_len = sizeof(text) - 1 };
	struct msghdr message = {
		.msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
	};
	ssize_t got = recvmsg(supervisor->notify, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	int fd = -1;

	if (got < 0)
		return false;
	text[got] = '\0';
	if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS)
		memcpy(&fd, CMSG_DATA(header), sizeof(fd));
	take_message(supervisor, text, fd);
	return true;
}

static void take_signals(struct supervisor *supervisor)
{
	struct signalfd_siginfo info;

	while (read(supervisor->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			continue;
		/* SIGINT, because the child has an fd store and would take SIGTERM for a restart. */
		int number = info.ssi_signo == SIGHUP ? SIGHUP : SIGINT;

		supervisor->stopping = supervisor->stopping || number == SIGINT;
		if (supervisor->child)
			kill(supervisor->child, number);
	}
}

/* Handles messages and signals. Returns after some came, or after @timeout ms (-1: no time limit). */
static void wait_for_news(struct supervisor *supervisor, int timeout)
{
	struct pollfd sources[] = {
		{ .fd = supervisor->notify, .events = POLLIN },
		{ .fd = supervisor->signals, .events = POLLIN },
	};

	poll(sources, G_N_ELEMENTS(sources), timeout);
	while (receive(supervisor))
		;
	take_signals(supervisor);
}

/* Waits for the end of the child. Returns its wait status. */
static int watch_child(struct supervisor *supervisor)
{
	int status = 0;

	while (waitpid(supervisor->child, &status, WNOHANG) == 0)
		wait_for_news(supervisor, -1);
	/* The child's last messages. */
	while (receive(supervisor))
		;
	supervisor->child = 0;
	return status;
}

static void pause_before_next(struct supervisor *supervisor)
{
	int64_t pause = SUPERVISE_PAUSE_MS;
	int64_t end;

	if (supervisor->ready)
		return;
	for (unsigned i = 0; i < supervisor->failures && pause < SUPERVISE_PAUSE_MAX_MS; i++)
		pause *= 2;
	supervisor->failures++;
	end = g_get_monotonic_time() / 1000 + MIN(pause, SUPERVISE_PAUSE_MAX_MS);
	while (!supervisor->stopping && g_get_monotonic_time() / 1000 < end)
		wait_for_news(supervisor, (int)(end - g_get_monotonic_time() / 1000));
}

static void log_end(const struct supervisor *supervisor, int status)
{
	const char *next = supervisor->ready ? "starting another" : "starting another after a pause";

	if (WIFSIGNALED(status))
		log_warning("the daemon was ended by signal %d: %s", WTERMSIG(status), next);
	else
		log_warning("the daemon ended with status %d: %s", WEXITSTATUS(status), next);
}

static int run(struct supervisor *supervisor)
{
	int status = 0;

	while (!supervisor->stopping) {
		start_child(supervisor);
		if (supervisor->child) {
			status = watch_child(supervisor);
			if (supervisor->stopping || (WIFEXITED(status) && WEXITSTATUS(status) == 0) ||
			    !supervisor->was_ready)
				break;
			log_end(supervisor, status);
			status = 0; /* log_end() reported it: it is not the status of the supervisor */
		}
		pause_before_next(supervisor);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE;
}

int supervise(char **argv)
{
	struct supervisor supervisor = { .connection = -1,
		                         .argv = child_arguments(argv),
		                         .program = g_file_read_link("/proc/self/exe", NULL),
		                         .directory = open(".", O_PATH | O_CLOEXEC) };
	int status = EXIT_FAILURE;

	if (!supervisor.program || !open_signals(&supervisor) || !open_notify(&supervisor))
		log_error("cannot supervise: %s", strerror(errno));
	else
		status = run(&supervisor);
	take_down(&supervisor);
	g_free(supervisor.program);
	g_free(supervisor.argv);
	return status;
}

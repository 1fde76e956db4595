// SPDX-License-Identifier: GPL-2.0-or-later
/* Runs the daemon in the background. */
#include "daemon/daemonize.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"

static int ready_pipe = -1;

static _Noreturn void wait_for_child(pid_t child, int fd)
{
	char byte;
	int status;

	ssize_t got;

	do {
		got = read(fd, &byte, 1);
	} while (got < 0 && errno == EINTR);
	if (got == 1)
		_exit(EXIT_SUCCESS);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	_exit(WIFEXITED(status) && WEXITSTATUS(status) ? WEXITSTATUS(status) : EXIT_FAILURE);
}

bool daemonize(void)
{
	int fds[2];

	if (getenv(DAEMONIZE_BACKGROUND))
		return true;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return false;

	pid_t child = fork();

	if (child < 0)
		return false;
	if (child > 0) {
		close(fds[1]);
		wait_for_child(child, fds[0]);
	}
	close(fds[0]);
	ready_pipe = fds[1];
	setenv(DAEMONIZE_BACKGROUND, "1", true);
	return setsid() >= 0;
}

void daemonize_ready(void)
{
	if (!getenv(DAEMONIZE_BACKGROUND))
		return;

	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (chdir("/") < 0 || null < 0 || (ready_pipe >= 0 && write(ready_pipe, "", 1) != 1))
		log_warning("cannot leave the terminal");
	log_use_syslog();
	for (int fd = STDIN_FILENO; null >= 0 && fd <= STDERR_FILENO; fd++)
		dup2(null, fd);
	if (null > STDERR_FILENO)
		close(null);
	if (ready_pipe >= 0)
		close(ready_pipe);
	ready_pipe = -1;
}

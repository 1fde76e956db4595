// SPDX-License-Identifier: GPL-2.0-or-later
/* The fd store keeps the descriptor of the FUSE connection while no daemon runs. */
#include "connection/fd_store.h"

#include <fcntl.h>
#include <glib.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/notify.h"

/* The number of descriptors that were passed to this process. */
static int passed(void)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
	guint64 number, count;

	if (!pid || !fds || !g_ascii_string_to_unsigned(pid, 10, 0, G_MAXINT, &number, NULL) ||
	    number != (guint64)getpid() || !g_ascii_string_to_unsigned(fds, 10, 0, 1024, &count, NULL))
		return 0;
	return (int)count;
}

int fd_store_take(void)
{
	int count = passed(), taken = -1;
	g_auto(GStrv) names = g_strsplit(getenv("LISTEN_FDNAMES") ?: "", ":", -1);
	guint named = g_strv_length(names);

	for (int i = 0; i < count; i++) {
		int fd = FD_STORE_FIRST_FD + i;
		bool ours = (guint)i < named && strcmp(names[i], FD_STORE_FDNAME) == 0;

		if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
			continue;
		if (ours && taken < 0)
			taken = fd;
		else
			close(fd);
	}
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	return taken;
}

bool fd_store_exists(void)
{
	const char *room = getenv("FDSTORE"), *socket = getenv("NOTIFY_SOCKET");
	struct pollfd supervisor = { .fd = notify_inherited() };

	return socket && *socket && room && atoi(room) > 0 && poll(&supervisor, 1, 0) == 0;
}

void fd_store_add(int fd, const char *mountpoint)
{
	g_autofree char *state =
		g_strconcat("FDSTORE=1\nFDNAME=" FD_STORE_FDNAME "\n" FD_STORE_MOUNTPOINT, mountpoint, NULL);

	notify_send_fd(state, fd);
}

void fd_store_remove(void)
{
	notify_send("FDSTOREREMOVE=1\nFDNAME=" FD_STORE_FDNAME);
}

bool fd_store_pass(int fd)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	setenv("LISTEN_PID", pid, true);
	setenv("LISTEN_FDS", "1", true);
	setenv("LISTEN_FDNAMES", FD_STORE_FDNAME, true);
	return fd == FD_STORE_FIRST_FD ? fcntl(fd, F_SETFD, 0) == 0 : dup2(fd, FD_STORE_FIRST_FD) >= 0;
}

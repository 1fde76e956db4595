// SPDX-License-Identifier: GPL-2.0-or-later
/* Sends the daemon's state to the service manager. */
#include "base/notify.h"

#include <errno.h>
#include <glib.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"

int notify_inherited(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	guint64 fd;

	if (!path || !g_str_has_prefix(path, NOTIFY_INHERITED) ||
	    !g_ascii_string_to_unsigned(path + strlen(NOTIFY_INHERITED), 10, 0, G_MAXINT, &fd, NULL))
		return -1;
	return (int)fd;
}

/* The address in NOTIFY_SOCKET. Returns its length; 0 when there is none, or it is too long. */
static socklen_t get_address(struct sockaddr_un *address)
{
	const char *path = getenv("NOTIFY_SOCKET");

	if (!path || !*path)
		return 0;
	if (strlen(path) >= sizeof(address->sun_path)) {
		log_warning("NOTIFY_SOCKET: %s: too long for a socket: the service manager is not notified", path);
		return 0;
	}
	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(address->sun_path, path, strlen(path));
	if (path[0] == '@')
		address->sun_path[0] = '\0'; /* abstract name space (unix(7)) */
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
}

static void attach_fd(struct msghdr *message, void *control, size_t size, int fd)
{
	message->msg_control = control;
	message->msg_controllen = size;

	struct cmsghdr *header = CMSG_FIRSTHDR(message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(header), &fd, sizeof(fd));
}

void notify_send_fd(const char *state, int fd)
{
	/* A manager that does not read its socket must not block the daemon for ever. */
	static const struct timeval patience = { .tv_sec = 5 };
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(fd))] = "";
	struct sockaddr_un address;
	struct iovec text = { .iov_base = (void *)state, .iov_len = strlen(state) };
	struct msghdr message = { .msg_name = &address, .msg_iov = &text, .msg_iovlen = 1 };

	int out = notify_inherited();

	if (out >= 0)
		message.msg_name = NULL;
	else if ((message.msg_namelen = get_address(&address)) == 0)
		return;
	else
		out = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0)
		attach_fd(&message, control, sizeof(control), fd);

	if (out < 0 || setsockopt(out, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) < 0 ||
	    sendmsg(out, &message, MSG_NOSIGNAL) < 0)
		log_warning("NOTIFY_SOCKET: %s: %s: the service manager was not notified", getenv("NOTIFY_SOCKET"),
		            strerror(errno));
	if (out >= 0 && message.msg_name)
		close(out);
}

void notify_send(const char *state)
{
	notify_send_fd(state, -1);
}

void notify_reloading(void)
{
	g_autofree char *state =
		g_strdup_printf("RELOADING=1\nMONOTONIC_USEC=%" G_GINT64_FORMAT, g_get_monotonic_time());

	notify_send(state);
}

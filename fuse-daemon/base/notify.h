/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sends the daemon's state to the service manager: the protocol of sd_notify(3), one datagram per message. */
#ifndef DMEMFS_NOTIFY_H
#define DMEMFS_NOTIFY_H

/* dmemfsd --supervise sets NOTIFY_SOCKET to this prefix and the number of an inherited descriptor, a connected socket. */
#define NOTIFY_INHERITED "fd:"

/* The inherited descriptor; -1 when NOTIFY_SOCKET names none. */
int notify_inherited(void);
/*
 * Sends @state ("READY=1", "STOPPING=1", "STATUS=..."). Does nothing without NOTIFY_SOCKET in the environment. Logs
 * failures; blocks for 5 seconds at most.
 */
void notify_send(const char *state);
/* As notify_send(), and passes descriptor @fd along, which stays open here. @fd -1: none. */
void notify_send_fd(const char *state, int fd);
/* Says that a reload begins; READY=1 ends it (systemd.service(5), Type=notify-reload). */
void notify_reloading(void);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tells the service manager how the daemon is: sd_notify(3)'s protocol, which is one datagram. */
#ifndef DMEMFS_NOTIFY_H
#define DMEMFS_NOTIFY_H

/* A value of NOTIFY_SOCKET that only dmemfsd --supervise sets: a connected socket, by its descriptor's number. */
#define NOTIFY_INHERITED "fd:"

/* That descriptor, -1: there is none. */
int notify_inherited(void);
/* Sends @state ("READY=1", "STOPPING=1", "STATUS=..."). Does nothing without NOTIFY_SOCKET in the environment. */
void notify_send(const char *state);
/* The same, with a descriptor. */
void notify_send_fd(const char *state, int fd);
/* A reload begins; READY=1 ends it (systemd.service(5), Type=notify-reload). */
void notify_reloading(void);

#endif

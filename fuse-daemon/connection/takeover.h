/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A FUSE connection that outlives the daemon which began it.
 *
 * On record (store.h) are the INIT request of the connection and the device number of its mount. The next daemon, which got
 * the connection's descriptor from its fd store (fd_store.h), tells by them that the mount is still that one, lets
 * libfuse answer INIT once more, so that both sides agree on the terms of the first time, and asks the kernel to send
 * again what was taken and not answered.
 *
 * Node ids are inode numbers and files keep their registrations (backing ids), so nothing else has to be agreed on.
 */
#ifndef DMEMFS_TAKEOVER_H
#define DMEMFS_TAKEOVER_H

#include <glib.h>
#include <stdbool.h>

#include "store/store.h"

struct takeover {
	int fd;       /* of the connection; -1: none to take over */
	GBytes *init; /* its INIT request */
	dev_t device; /* of the last mount at the mountpoint, 0: none */
};

/* What became of the mount of an earlier run. */
enum takeover_state {
	TAKEOVER_NONE,       /* dmemfs is not mounted there */
	TAKEOVER_READY,      /* it is, and @takeover was filled in */
	TAKEOVER_DEAD,       /* it is, from an earlier run with this record, but nobody can serve it */
	TAKEOVER_FOREIGN,    /* it is, of another record */
	TAKEOVER_UNREADABLE, /* @error says why the record cannot be read */
};

/* @takeover is empty. Takes ownership of @fd, -1 or what fd_store_take() returned, and closes it unless TAKEOVER_READY. */
enum takeover_state takeover_find(const char *mountpoint, struct store *store, int fd, struct takeover *takeover,
                                  GError **error);
/* Closes the descriptor, if it is still there. */
void takeover_clear(struct takeover *takeover);

/* A new connection: puts it on record. 0 or a negative errno. */
int takeover_remember(const char *mountpoint, struct store *store, const void *init, size_t size);
/* Is the connection of @fd in use by a mount? */
bool takeover_is_alive(int fd);
/* Before any request is read: the kernel queues again, first, what the earlier daemon had taken. */
bool takeover_ask_resend(int fd, GError **error);
/*
 * Before any request is answered: ends registrations that were made, but died before they were on record. @known: set of
 * those on record, by GINT_TO_POINTER().
 */
void takeover_sweep(int fd, GHashTable *known);

#endif

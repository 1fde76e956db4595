/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Takeover: a new daemon goes on with the FUSE connection of an earlier one.
 *
 * The record (store.h) has the INIT request of the connection and the device number of its mount. The next daemon
 * gets the connection's descriptor from its fd store (fd_store.h). It checks by the device number that the mount is
 * still the same, lets libfuse process INIT again, so that libfuse uses the terms that the kernel has, and asks the
 * kernel to send all requests again that were read and not answered. namespace_record.h says which of these were
 * applied already.
 *
 * Node ids are inode numbers, and files keep their passthrough registrations (backing ids); so no other state is
 * shared with the kernel.
 */
#ifndef DMEMFS_TAKEOVER_H
#define DMEMFS_TAKEOVER_H

#include <glib.h>
#include <stdbool.h>

#include "store/store.h"

struct takeover {
	int fd;       /* the connection, owned; -1: there is none to take over */
	GBytes *init; /* the INIT request of the connection, owned */
	dev_t device; /* the last mount at the mountpoint; 0: none */
};

/* The state of the mount of an earlier daemon. */
enum takeover_state {
	TAKEOVER_NONE,       /* no dmemfs is mounted at the mountpoint */
	TAKEOVER_READY,      /* the mount can be taken over; @takeover is filled in */
	TAKEOVER_DEAD,       /* the mount is of this record, but its connection is lost: it cannot be served */
	TAKEOVER_FOREIGN,    /* the mount is of another record */
	TAKEOVER_UNREADABLE, /* the record cannot be read; @error says why */
};

/*
 * @takeover must be empty. Owns @fd (-1, or what fd_store_take() returned) and closes it unless it returns
 * TAKEOVER_READY.
 */
enum takeover_state takeover_find(const char *mountpoint, struct store *store, int fd, struct takeover *takeover,
                                  GError **error);
/* Closes the descriptor, if it is open, and frees the INIT request. */
void takeover_clear(struct takeover *takeover);

/*
 * The devices of the mounts of this record before the one of @current (0: the next one), since the boot, the latest last: "0:39 0:41".
 * Processes may still map files by them. The caller frees it.
 */
char *takeover_earlier(struct store *store, dev_t current);
/* Puts a new connection on record, and the mounts before it (takeover_earlier()). 0 or a negative errno. */
int takeover_remember(const char *mountpoint, struct store *store, const char *earlier, const void *init, size_t size);
/* Is @fd a FUSE connection that a mount uses? */
bool takeover_is_alive(int fd);
/*
 * Asks the kernel to queue all requests again that the earlier daemon read and did not answer, before all others.
 * Call it before a request is read.
 */
bool takeover_ask_resend(int fd, GError **error);
/*
 * Ends the passthrough registrations that the earlier daemon made and did not put on record before it died. @known:
 * set of GINT_TO_POINTER(backing id) on record. Call it before a request is answered. Logs errors.
 */
void takeover_sweep(int fd, GHashTable *known);

#endif

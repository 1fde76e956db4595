/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory that left its file while a device still holds it: pinned, and nobody's until the device lets go. Nothing tells of that:
 * who asks the backend is file/pins.c.
 */
#ifndef DMEMFS_POOL_PINS_H
#define DMEMFS_POOL_PINS_H

#include <glib.h>
#include <stdint.h>

#include "base/extent.h"

struct pool;

/* Whose memory it was, as far as that is known. */
struct pool_user {
	uint64_t ino;  /* 0: not known */
	int pid;       /* the process that opened the file last; 0: not known */
	char name[64]; /* the last that the file had, when it was removed; "": not known */
};

struct pool_pin {
	struct extent extent;
	int64_t since; /* g_get_real_time() */
	struct pool_user last;
};

/* @run, which was a file's, is pinned from now on. */
void pool_pin_used(struct pool *pool, struct extent run, const struct pool_user *last);
/* Before the first allocation: what of @run is free is pinned, by whom nobody knows. */
void pool_pin_free(struct pool *pool, struct extent run);
/* Nobody holds @run any more: what of it is pinned goes back to the free runs, dirty. */
void pool_unpin(struct pool *pool, struct extent run);
/* GArray of struct pool_pin, the oldest first. */
GArray *pool_get_pins(struct pool *pool);

/* The memory of the removed file @id, which is pending or will be, was that of @last. Forgotten with pool_idle(). */
void pool_set_last_user(struct pool *pool, uint64_t id, const struct pool_user *last);
/* Appends what is pending of @id. *@last: whose it was, all 0 when that is not known. */
void pool_list_pending(struct pool *pool, uint64_t id, GArray *runs, struct pool_user *last);
/* @run, which is pending of @id, is pinned from now on. */
void pool_pin_pending(struct pool *pool, uint64_t id, struct extent run);

#endif

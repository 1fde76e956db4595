/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which FUSE request this thread works on. Set by the request loop, read where a change must leave a record of the
 * request that asked for it (store.h).
 */
#ifndef DMEMFS_CURRENT_REQUEST_H
#define DMEMFS_CURRENT_REQUEST_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct current_request {
	uint64_t unique;   /* the kernel's number for it; 0: none, this thread serves no requests */
	bool resent;       /* an earlier daemon had taken it, and may have applied it */
	pid_t caller;      /* the thread that asks; 0: not known, as from another pid namespace */
	bool kills_set_id; /* a write by who may not keep set-user-id bits: has no CAP_FSETID */
	unsigned slot;     /* of the thread, a small number that no other thread has at the same time */
};

/* The request at hand, all 0 when there is none. */
const struct current_request *current_request(void);
void current_request_set(const struct current_request *request);
/* What it was answered with: 0 or a negative errno. 0 at first. */
void current_request_set_result(int err);
int current_request_result(void);
/*
 * What this thread does from here on takes back what the request asked for: it is done also when the request came again, and
 * an earlier daemon's record says that it was applied.
 */
void current_request_undo(void);

/*
 * From now to its end the request at hand may be given up, all of it undone, with -EINTR when @is_interrupted says that its
 * caller got a signal. Asked by what takes long: zeroing, and waiting for memory.
 */
void current_request_allow_interrupt(bool (*is_interrupted)(void *data), void *data);
bool current_request_is_interrupted(void);
/*
 * How long to wait for memory at a time, g_get_monotonic_time(): to @until, or until it is to be asked again. Callers may hold
 * locks that are leaves.
 */
int64_t current_request_look_again(int64_t until);
/* From now to its end the request at hand says so, once, when it begins to wait: by @waits, which takes no locks. */
void current_request_tell_wait(void (*waits)(void *data), void *data);

/* May what is asked for take the place of what is there, by @flags of setxattr(2)? 0, -EEXIST, or -ENODATA: also if neither is. */
int current_request_may_set(bool there, bool asked, int flags);

#endif

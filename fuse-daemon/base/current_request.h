/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The FUSE request that this thread works on. session.c sets it. A change that must not be applied twice reads it, to
 * record the request together with the change (store.h). All state is thread-local: no locks.
 */
#ifndef DMEMFS_CURRENT_REQUEST_H
#define DMEMFS_CURRENT_REQUEST_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct current_request {
	uint64_t unique;   /* the kernel's number of the request; 0: this thread works on no request */
	bool resent;       /* the kernel sent it again: an earlier daemon had received it, and may have applied it */
	pid_t caller;      /* the thread that made the system call; 0: not known, as from another pid namespace */
	bool kills_set_id; /* a write that must clear set-user-id bits: its caller has no CAP_FSETID */
	unsigned slot;     /* a small number of this thread; no other thread has it at the same time */
};

/* The current request; all fields are 0 when there is none. Valid until the next current_request_set() of this thread. */
const struct current_request *current_request(void);
/* Makes a copy of @request current. Resets the result to 0, and removes both callbacks. */
void current_request_set(const struct current_request *request);
/* The result that the request was answered with: 0 or a negative errno. */
void current_request_set_result(int err);
int current_request_result(void);
/*
 * From now on this thread undoes what the request asked for. Clears resent: otherwise a change would be skipped when an
 * earlier daemon's record says that the request was applied.
 */
void current_request_undo(void);

/*
 * Allows the current request to end early with -EINTR, everything undone. @is_interrupted(@data) says whether the caller
 * got a signal. Operations that take long ask it: zeroing, and waiting for memory. It may take milliseconds.
 */
void current_request_allow_interrupt(bool (*is_interrupted)(void *data), void *data);
/* Asks, unless the answer was yes before; returns the answer. Hold no lock but that of the file. */
bool current_request_check_interrupt(void);
/* The answer of the last check, which stays yes; false when nobody has asked. */
bool current_request_is_interrupted(void);
/*
 * Called before each wait for memory; returns when to wake up, in the units of g_get_monotonic_time(). That is @until, or
 * earlier when the request can be interrupted: the caller then calls current_request_check_interrupt() and waits again. The
 * first call runs the callback of current_request_tell_wait(). The caller may hold a lock that is a leaf.
 */
int64_t current_request_look_again(int64_t until);
/* Has @count raised whenever the current request waits for memory: it does that only for a limited time, and does not hang. */
void current_request_count_waits(_Atomic unsigned *count);
/* Has @waits(@data) called once, when the current request begins to wait for memory. @waits must take no locks. */
void current_request_tell_wait(void (*waits)(void *data), void *data);

/*
 * Checks @flags of setxattr(2). @there: the attribute has a value; @asked: the request sets one, else it removes it. 0;
 * -EEXIST: XATTR_CREATE, but it has one; -ENODATA: it has none, and the request removes it or has XATTR_REPLACE.
 */
int current_request_may_set(bool there, bool asked, int flags);

#endif

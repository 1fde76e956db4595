// SPDX-License-Identifier: GPL-2.0-or-later
/* The FUSE request that a thread works on: thread-local variables. */
#include "base/current_request.h"

#include <errno.h>
#include <glib.h>
#include <stdatomic.h>
#include <sys/xattr.h>

#define LOOK_AGAIN_AFTER (50 * G_TIME_SPAN_MILLISECOND)

static _Thread_local struct current_request current;
static _Thread_local bool (*ask)(void *data); /* NULL: the request cannot be interrupted */
static _Thread_local void *ask_data;
static _Thread_local bool interrupted;
static _Thread_local int result;
static _Thread_local void (*tell)(void *data); /* NULL: no callback, or it was called */
static _Thread_local void *tell_data;
static _Thread_local _Atomic unsigned *wait_count; /* NULL: nobody counts */

const struct current_request *current_request(void)
{
	return &current;
}

void current_request_set(const struct current_request *request)
{
	current = *request;
	ask = NULL;
	interrupted = false;
	tell = NULL;
	wait_count = NULL;
	result = 0;
}

void current_request_set_result(int err)
{
	result = err;
}

int current_request_result(void)
{
	return result;
}

void current_request_allow_interrupt(bool (*is_interrupted)(void *data), void *data)
{
	ask = is_interrupted;
	ask_data = data;
}

bool current_request_check_interrupt(void)
{
	interrupted = interrupted || (ask && ask(ask_data));
	return interrupted;
}

bool current_request_is_interrupted(void)
{
	return interrupted;
}

int64_t current_request_look_again(int64_t until)
{
	void (*waits)(void *data) = tell;

	tell = NULL;
	if (waits)
		waits(tell_data);
	if (wait_count)
		atomic_fetch_add(wait_count, 1);
	return ask ? MIN(until, g_get_monotonic_time() + LOOK_AGAIN_AFTER) : until;
}

void current_request_count_waits(_Atomic unsigned *count)
{
	wait_count = count;
}

void current_request_tell_wait(void (*waits)(void *data), void *data)
{
	tell = waits;
	tell_data = data;
}

void current_request_undo(void)
{
	current.resent = false;
}

int current_request_may_set(bool there, bool asked, int flags)
{
	if (there && (flags & XATTR_CREATE))
		return -EEXIST;
	return !there && (!asked || (flags & XATTR_REPLACE)) ? -ENODATA : 0;
}

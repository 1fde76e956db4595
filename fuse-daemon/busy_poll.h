/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Looking for the next request instead of sleeping until it comes. A client that makes one request after the other sends
 * the next some microseconds after its answer: sooner than a thread falls asleep and is woken on another CPU, and in a VM
 * each of these costs a trap more.
 *
 * It costs CPU time, and where all CPUs are busy it keeps the client from running. So it has a budget: each request that
 * comes soon earns a part of what a look in vain costs. What is wasted is at most limit / BUSY_POLL_PRICE a request, and
 * nothing while the daemon is idle.
 *
 * One thread's; times are those of g_get_monotonic_time().
 */
#ifndef DMEMFS_BUSY_POLL_H
#define DMEMFS_BUSY_POLL_H

#include <stdbool.h>
#include <stdint.h>

/* Requests that come soon, for one look in vain. Where it pays, one of a hundred is; with CPUs that are all busy, one of three. */
#define BUSY_POLL_PRICE 16

struct busy_poll {
	int64_t limit; /* microseconds; 0: never */
	int64_t since; /* when the last request was answered; 0: it was not, or others read as well */
	int credit;    /* requests */
	bool looked;   /* since the last answer */
};

/* Until a request can be read from @fd, or the limit has passed. How often it has looked. */
unsigned busy_poll_wait(struct busy_poll *poll, int fd);
/* One was read. */
void busy_poll_came(struct busy_poll *poll, int64_t now);
/* It was answered, and nobody else reads. */
void busy_poll_answered(struct busy_poll *poll, int64_t now);

#endif

// SPDX-License-Identifier: GPL-2.0-or-later
/* Looking for the next request. */
#include "busy_poll.h"

#include <glib.h>
#include <poll.h>

/* What is saved for later: looks in vain happen where it pays as well. */
#define CREDIT_MAX (2 * BUSY_POLL_PRICE)
/* A thread that slept reads a request so many times later than one that looked, about. */
#define SLEEP_FACTOR 4

unsigned busy_poll_wait(struct busy_poll *self, int fd)
{
	struct pollfd connection = { .fd = fd, .events = POLLIN };
	unsigned looks = 0;

	self->looked = self->limit > 0 && self->since != 0 && self->credit >= BUSY_POLL_PRICE;
	if (!self->looked)
		return 0;
	do {
		looks++;
		if (poll(&connection, 1, 0) != 0) /* a request, a signal or the end: read(2) tells */
			break;
	} while (g_get_monotonic_time() < self->since + self->limit);
	return looks;
}

void busy_poll_came(struct busy_poll *self, int64_t now)
{
	int64_t soon = self->looked ? self->limit : SLEEP_FACTOR * self->limit;

	if (self->since != 0 && now < self->since + soon)
		self->credit = MIN(self->credit + 1, CREDIT_MAX);
	else if (self->looked)
		self->credit -= BUSY_POLL_PRICE;
	self->looked = false;
	self->since = 0;
}

void busy_poll_answered(struct busy_poll *self, int64_t now)
{
	self->since = now;
}

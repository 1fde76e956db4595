// SPDX-License-Identifier: GPL-2.0-or-later
/* The request at hand. */
#include "request.h"

static _Thread_local struct request current;

const struct request *request_current(void)
{
	return &current;
}

void request_set_current(const struct request *request)
{
	current = *request;
}

void request_undo(void)
{
	current.resent = false;
}

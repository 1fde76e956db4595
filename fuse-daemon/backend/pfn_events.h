/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The events of dmemfs.ko (shared/dmemfs_ioctl.h). They are read from the control device and passed on by the callbacks of
 * struct backend_ops; what only the operator can mend is logged.
 */
#ifndef DMEMFS_PFN_EVENTS_H
#define DMEMFS_PFN_EVENTS_H

#include "backend/backend.h"

struct pfn_listeners {
	backend_idle_fn idle;
	void *idle_data;
	const struct backend_demand_fns *demand;
	void *demand_data;
	void (*poisoned)(void *data);
	void *poisoned_data;
};

/* Reads the pending events of @device, and reports each. @listeners must be complete. */
void pfn_events_dispatch(int device, const struct pfn_listeners *listeners);

#endif

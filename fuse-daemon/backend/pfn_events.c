// SPDX-License-Identifier: GPL-2.0-or-later
/* Events of the module: which of the daemon's parts is told of what. */
#include "backend/pfn_events.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "backend/pfn_device.h"
#include "base/log.h"

static void on_idle(int device, const struct pfn_listeners *listeners, uint64_t id)
{
	struct dmemfs_object_op op = { .id = id };
	int err = pfn_call(device, DMEMFS_IOC_OBJECT_REAP, &op);

	/* ENOENT: the object was idle when it was dropped, and was deleted then. */
	if (err == -ENOENT)
		return;
	if (err)
		log_error("object %" G_GUINT64_FORMAT ": reap: %s", id, g_strerror(-err));
	else
		listeners->idle(id, listeners->idle_data);
}

static struct numa_policy *mapping_policy(const struct dmemfs_event *event)
{
	g_autoptr(GString) text = g_string_new(event->policy == DMEMFS_POLICY_PREFER ? "prefer:" : "");
	const char *separator = "";

	if (event->policy == DMEMFS_POLICY_NONE)
		return NULL;
	for (int node = 0; node < 64; node++) {
		if (!(event->nodes >> node & 1))
			continue;
		g_string_append_printf(text, "%s%d", separator, node);
		separator = ",";
		if (event->policy == DMEMFS_POLICY_PREFER)
			break;
	}
	return numa_policy_parse(text->str, text->len);
}

static void on_fault(const struct pfn_listeners *listeners, const struct dmemfs_event *event)
{
	struct backend_fault fault = {
		.id = event->id,
		.offset = event->offset,
		.length = event->length,
		.pid = event->pid,
		.node = event->node,
		.policy = mapping_policy(event),
	};

	memcpy(fault.comm, event->comm, sizeof(event->comm));
	listeners->demand->fault(&fault, listeners->demand_data);
}

static struct backend_mapping mapping_of(const struct dmemfs_event *event)
{
	struct backend_mapping mapping = {
		.id = event->id,
		.length = event->length,
		.pid = event->pid,
		.page_size = event->page_size,
	};

	memcpy(mapping.comm, event->comm, sizeof(event->comm));
	return mapping;
}

static void on_event(int device, const struct pfn_listeners *listeners, const struct dmemfs_event *event)
{
	const struct backend_mapping mapping = mapping_of(event);

	switch (event->kind) {
	case DMEMFS_EVENT_IDLE:
		on_idle(device, listeners, event->id);
		break;
	case DMEMFS_EVENT_FAULT:
		on_fault(listeners, event);
		break;
	case DMEMFS_EVENT_PUNCHED:
		listeners->demand->punched(event->id, event->offset, event->length, listeners->demand_data);
		break;
	case DMEMFS_EVENT_POISON:
		listeners->poisoned(listeners->poisoned_data);
		break;
	case DMEMFS_EVENT_UNALIGNED:
		listeners->demand->unaligned(&mapping, listeners->demand_data);
		break;
	case DMEMFS_EVENT_PRIVATE:
		listeners->demand->refused(&mapping, listeners->demand_data);
		break;
	default:
		break; /* a newer module (shared/dmemfs_ioctl.h: unknown kinds must be ignored) */
	}
}

void pfn_events_dispatch(int device, const struct pfn_listeners *listeners)
{
	struct dmemfs_event events[64];
	ssize_t length;

	while ((length = read(device, events, sizeof(events))) > 0) {
		for (size_t i = 0; i < (size_t)length / sizeof(events[0]); i++)
			on_event(device, listeners, &events[i]);
	}
}

// SPDX-License-Identifier: GPL-2.0-only
/*
 * The queue of events for the daemon, which reads them from the device. Each kind is pending at most once per object,
 * FAULT once per requested unit, POISON once, so the length of the queue is bounded. xa_lock(&dmemfs_objects) protects
 * the queue.
 */
#include "dmemfs.h"

#include <linux/sched.h>
#include <linux/uaccess.h>
#include <linux/wait.h>

static LIST_HEAD(pending);
static DECLARE_WAIT_QUEUE_HEAD(readers);

/* POISON is the only kind that does not belong to an object. */
static struct dmemfs_queued_event poison_event = {
	.link = LIST_HEAD_INIT(poison_event.link),
	.event = { .kind = DMEMFS_EVENT_POISON },
};

void dmemfs_events_init(struct dmemfs_object *obj)
{
	int i;

	BUILD_BUG_ON(ARRAY_SIZE(obj->events) <= DMEMFS_EVENT_LAST);
	for (i = 0; i < ARRAY_SIZE(obj->events); i++) {
		obj->events[i].event.kind = i;
		obj->events[i].event.id = obj->id;
		INIT_LIST_HEAD(&obj->events[i].link);
	}
}

void dmemfs_event_queue(struct dmemfs_queued_event *queued)
{
	if (list_empty(&queued->link))
		list_add_tail(&queued->link, &pending);
	wake_up_interruptible(&readers);
}

void dmemfs_event_raise(struct dmemfs_object *obj, enum dmemfs_event_kind kind)
{
	dmemfs_event_queue(&obj->events[kind]);
}

void dmemfs_event_mapping(struct dmemfs_object *obj, struct dmemfs_event event)
{
	event.id = obj->id;
	event.pid = task_tgid_nr(current);
	get_task_comm(event.comm, current->group_leader);
	xa_lock(&dmemfs_objects);
	obj->events[event.kind].event = event;
	dmemfs_event_raise(obj, event.kind);
	xa_unlock(&dmemfs_objects);
}

void dmemfs_event_range(struct dmemfs_object *obj, struct dmemfs_event event)
{
	struct dmemfs_queued_event *queued = &obj->events[event.kind];
	u64 end = event.offset + event.length;

	event.id = obj->id;
	xa_lock(&dmemfs_objects);
	if (!list_empty(&queued->link)) {
		end = max(end, queued->event.offset + queued->event.length);
		event.offset = min(event.offset, queued->event.offset);
		event.length = end - event.offset;
	}
	queued->event = event;
	dmemfs_event_queue(queued);
	xa_unlock(&dmemfs_objects);
}

void dmemfs_event_poison(void)
{
	xa_lock(&dmemfs_objects);
	dmemfs_event_queue(&poison_event);
	xa_unlock(&dmemfs_objects);
}

void dmemfs_events_cancel(struct dmemfs_object *obj)
{
	int i;

	xa_lock(&dmemfs_objects);
	for (i = 0; i < ARRAY_SIZE(obj->events); i++)
		list_del_init(&obj->events[i].link);
	xa_unlock(&dmemfs_objects);
}

/* The daemon that had the device before may have read these events and died before it acted on them. */
void dmemfs_events_rearm(void)
{
	struct dmemfs_object *obj;
	unsigned long index;

	xa_lock(&dmemfs_objects);
	xa_for_each_marked(&dmemfs_objects, index, obj, DMEMFS_OBJECT_IS_IDLE)
		dmemfs_event_raise(obj, DMEMFS_EVENT_IDLE);
	xa_for_each_marked(&dmemfs_objects, index, obj, DMEMFS_OBJECT_IS_WAITED_FOR)
		dmemfs_demand_rearm(obj);
	if (dmemfs_poison_exists())
		dmemfs_event_queue(&poison_event);
	xa_unlock(&dmemfs_objects);
}

static bool has_pending(void)
{
	bool has;

	xa_lock(&dmemfs_objects);
	has = !list_empty(&pending);
	xa_unlock(&dmemfs_objects);
	return has;
}

static bool pop(struct dmemfs_event *event)
{
	struct dmemfs_queued_event *queued;

	xa_lock(&dmemfs_objects);
	queued = list_first_entry_or_null(&pending, struct dmemfs_queued_event, link);
	if (queued) {
		*event = queued->event;
		list_del_init(&queued->link);
	}
	xa_unlock(&dmemfs_objects);
	return queued;
}

ssize_t dmemfs_events_read(struct file *file, char __user *buffer, size_t length, loff_t *pos)
{
	struct dmemfs_event event;
	size_t done = 0;

	if (!file->private_data)
		return -EPROTO;
	if (length < sizeof(event))
		return -EINVAL;
	while (length - done >= sizeof(event)) {
		if (!pop(&event)) {
			if (done)
				break;
			if (file->f_flags & O_NONBLOCK)
				return -EAGAIN;
			if (wait_event_interruptible(readers, has_pending()))
				return -ERESTARTSYS;
			continue;
		}
		if (copy_to_user(buffer + done, &event, sizeof(event)))
			return -EFAULT;
		done += sizeof(event);
	}
	return done;
}

__poll_t dmemfs_events_poll(struct file *file, struct poll_table_struct *wait)
{
	poll_wait(file, &readers, wait);
	return has_pending() ? EPOLLIN | EPOLLRDNORM : 0;
}

// SPDX-License-Identifier: GPL-2.0-only
/*
 * Demand allocation: faults in holes wait until the daemon adds memory, and punching holes gives memory back.
 *
 * A struct dmemfs_pending_fault is a unit of an object that faults wait for. The fault handler creates it under
 * obj->lock, right after it found a hole in the extents. A function that adds extents holds that lock exclusively, and
 * answers the faults that wait for them before it drops the lock. So no fault misses the memory that it waits for.
 *
 * xa_lock(&dmemfs_objects) protects all pending faults. A pending fault is on its object's list while the unit is
 * requested, and for a second after it was refused. Each task that waits counts in ->waiters. The last one to leave
 * frees the pending fault, unless it is a refused one on the list. A task that waits also holds the mapping's file, and
 * with it the inode, the object and the module.
 */
#include "dmemfs.h"
#include "compat.h"

#include <linux/file.h>
#include <linux/jiffies.h>
#include <linux/log2.h>
#include <linux/mempolicy.h>
#include <linux/moduleparam.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/topology.h>
#include <linux/wait.h>

/* How long a unit stays refused. The faults that waited are retried and find the refusal in this time. */
#define REFUSAL HZ

static unsigned int kernel_wait_seconds = 30;
module_param(kernel_wait_seconds, uint, 0644);
MODULE_PARM_DESC(kernel_wait_seconds, "seconds that the kernel's own accesses wait for memory on demand (default: 30)");

struct dmemfs_pending_fault {
	struct list_head link;		   /* on obj->pending_faults, the oldest first */
	struct dmemfs_queued_event queued; /* on the queue until a daemon reads it */
	wait_queue_head_t wait;
	bool answered;
	unsigned int waiters;
	bool refused;
	unsigned long until; /* jiffies: when the refusal ends */
};

static unsigned long unit_pages(const struct dmemfs_object *obj)
{
	return obj->unit >> PAGE_SHIFT;
}

/* Takes the pending fault off its list. It is freed now if no task waits for it, else by the last one that leaves. */
static void pending_fault_unlink(struct dmemfs_object *obj, struct dmemfs_pending_fault *fault)
{
	list_del_init(&fault->link);
	list_del_init(&fault->queued.link);
	obj->nr_pending_faults--;
	if (!obj->nr_pending_faults)
		__xa_clear_mark(&dmemfs_objects, obj->id, DMEMFS_OBJECT_IS_WAITED_FOR);
	if (!fault->waiters)
		kfree(fault);
}

/* The pending fault for the unit at @offset, or NULL. Removes refusals that have ended. */
static struct dmemfs_pending_fault *pending_fault_find(struct dmemfs_object *obj, u64 offset)
{
	struct dmemfs_pending_fault *fault, *next, *found = NULL;

	list_for_each_entry_safe(fault, next, &obj->pending_faults, link) {
		if (fault->refused && time_after(jiffies, fault->until))
			pending_fault_unlink(obj, fault);
		else if (fault->queued.event.offset == offset)
			found = fault;
	}
	return found;
}

/*
 * DMEMFS_FAULTS_MAX units are pending. Removes a refused one and returns NULL, or returns the pending fault that the
 * new fault waits for before it is retried. That is the one with the fewest waiters, so that later faults spread over
 * all of them and one answer does not wake all tasks.
 */
static struct dmemfs_pending_fault *pending_fault_make_room(struct dmemfs_object *obj)
{
	struct dmemfs_pending_fault *fault, *best = NULL;

	list_for_each_entry(fault, &obj->pending_faults, link) {
		if (fault->refused) {
			pending_fault_unlink(obj, fault);
			return NULL;
		}
		if (!best || fault->waiters < best->waiters)
			best = fault;
	}
	return best;
}

static void pending_fault_add(struct dmemfs_object *obj, struct dmemfs_pending_fault *fault)
{
	list_add_tail(&fault->link, &obj->pending_faults);
	obj->nr_pending_faults++;
	__xa_set_mark(&dmemfs_objects, obj->id, DMEMFS_OBJECT_IS_WAITED_FOR);
	dmemfs_event_queue(&fault->queued);
}

#ifdef CONFIG_NUMA
static void note_policy(const struct vm_area_struct *vma, struct dmemfs_event *event)
{
	const struct mempolicy *policy = vma->vm_policy;

	if (!policy)
		return;
	switch (policy->mode) {
	case MPOL_BIND:
		event->policy = DMEMFS_POLICY_ONLY;
		break;
	case MPOL_PREFERRED:
	case MPOL_PREFERRED_MANY:
		event->policy = DMEMFS_POLICY_PREFER;
		break;
	case MPOL_INTERLEAVE:
	case MPOL_WEIGHTED_INTERLEAVE:
		event->policy = DMEMFS_POLICY_SPREAD;
		break;
	default:
		return;
	}
	event->nodes = *nodes_addr(policy->nodes);
	if (!event->nodes)
		event->policy = DMEMFS_POLICY_NONE;
}
#else
static void note_policy(const struct vm_area_struct *vma, struct dmemfs_event *event)
{
}
#endif

static struct dmemfs_pending_fault *pending_fault_new(struct dmemfs_object *obj, const struct vm_fault *vmf)
{
	struct dmemfs_pending_fault *fault = kzalloc(sizeof(*fault), GFP_KERNEL_ACCOUNT);
	struct dmemfs_event *event;

	if (!fault)
		return NULL;
	INIT_LIST_HEAD(&fault->link);
	INIT_LIST_HEAD(&fault->queued.link);
	init_waitqueue_head(&fault->wait);
	event = &fault->queued.event;
	event->kind = DMEMFS_EVENT_FAULT;
	event->id = obj->id;
	event->pid = task_tgid_nr(current);
	get_task_comm(event->comm, current->group_leader);
	event->address = vmf->address;
	event->offset = (u64)round_down(vmf->pgoff, unit_pages(obj)) << PAGE_SHIFT;
	event->length = obj->unit;
	event->node = numa_node_id();
	note_policy(vmf->vma, event);
	return fault;
}

struct dmemfs_pending_fault *dmemfs_demand_ask(struct dmemfs_object *obj, const struct vm_fault *vmf)
{
	struct dmemfs_pending_fault *fresh = pending_fault_new(obj, vmf);
	struct dmemfs_pending_fault *fault;

	if (!fresh)
		return ERR_PTR(-ENOMEM);
	xa_lock(&dmemfs_objects);
	fault = pending_fault_find(obj, fresh->queued.event.offset);
	if (!fault && obj->nr_pending_faults == DMEMFS_FAULTS_MAX)
		fault = pending_fault_make_room(obj);
	if (!fault) {
		fault = fresh;
		fresh = NULL;
		pending_fault_add(obj, fault);
	}
	if (fault->refused)
		fault = ERR_PTR(-EIO);
	else
		fault->waiters++;
	xa_unlock(&dmemfs_objects);
	kfree(fresh);
	return fault;
}

static void pending_fault_leave(struct dmemfs_object *obj, struct dmemfs_pending_fault *fault)
{
	xa_lock(&dmemfs_objects);
	fault->waiters--;
	if (list_empty(&fault->link)) {
		if (!fault->waiters)
			kfree(fault);
	} else if (!fault->waiters && !fault->refused) {
		pending_fault_unlink(obj, fault);
	}
	xa_unlock(&dmemfs_objects);
}

/* Only an access by user space is repeated after a signal handler. Other accesses wait for fatal signals only. */
static unsigned int wait_state(const struct vm_fault *vmf)
{
	const unsigned int interruptible = FAULT_FLAG_USER | FAULT_FLAG_INTERRUPTIBLE;

	return (vmf->flags & interruptible) == interruptible ? TASK_INTERRUPTIBLE : TASK_KILLABLE;
}

/*
 * How long a fault waits, in jiffies. User space and vCPUs hold no lock that others need: they wait until a daemon
 * answers. The kernel may hold any lock while it copies from or to a process (getdents64(2) holds that of a directory):
 * it waits kernel_wait_seconds, by default less than the limit of a hung task, and then the system call fails with
 * EFAULT.
 */
static long patience(const struct vm_fault *vmf)
{
	if ((vmf->flags & FAULT_FLAG_USER) || dmemfs_is_vcpu())
		return MAX_SCHEDULE_TIMEOUT;
	return (long)READ_ONCE(kernel_wait_seconds) * HZ;
}

/*
 * Drops the lock of the fault while it waits, if the caller allows that, so that other threads can map and unmap
 * meanwhile. Afterwards the access is repeated and finds the memory, the refusal or a new size. If no answer came in
 * time, the access fails. The task is freezable while it waits, so suspend does not wait for it.
 */
vm_fault_t dmemfs_demand_wait(struct dmemfs_object *obj, struct vm_fault *vmf, struct dmemfs_pending_fault *fault)
{
	bool unlock = vmf->flags & FAULT_FLAG_ALLOW_RETRY;
	struct mm_struct *mm = vmf->vma->vm_mm;
	unsigned int state = wait_state(vmf) | TASK_FREEZABLE_UNSAFE;
	long left = patience(vmf);
	struct file *file;

	if (vmf->flags & FAULT_FLAG_RETRY_NOWAIT) {
		pending_fault_leave(obj, fault);
		return VM_FAULT_RETRY;
	}
	file = get_file(vmf->vma->vm_file);
	if (unlock)
		release_fault_lock(vmf);
	left = ___wait_event(fault->wait, ___wait_cond_timeout(READ_ONCE(fault->answered)), state, 0, left,
			     __ret = schedule_timeout(__ret));
	pending_fault_leave(obj, fault);
	fput(file);
	if (unlock && left)
		return VM_FAULT_RETRY;
	/*
	 * No answer in time. For a result other than VM_FAULT_RETRY the caller expects to hold its lock again. That is
	 * the mmap_lock: a fault under a VMA lock is one of user space, which waits without a limit.
	 */
	if (unlock)
		mmap_read_lock(mm);
	return left > 0 ? VM_FAULT_NOPAGE : VM_FAULT_SIGBUS;
}

void dmemfs_demand_answer(struct dmemfs_object *obj, struct dmemfs_range range, int error)
{
	struct dmemfs_pending_fault *fault, *next;

	xa_lock(&dmemfs_objects);
	list_for_each_entry_safe(fault, next, &obj->pending_faults, link) {
		const struct dmemfs_event *event = &fault->queued.event;
		unsigned long first = event->offset >> PAGE_SHIFT;

		if (first > range.last || first + (event->length >> PAGE_SHIFT) - 1 < range.first)
			continue;
		WRITE_ONCE(fault->answered, true);
		wake_up_all(&fault->wait);
		if (error) {
			list_del_init(&fault->queued.link);
			fault->refused = true;
			fault->until = jiffies + REFUSAL;
		} else {
			pending_fault_unlink(obj, fault);
		}
	}
	xa_unlock(&dmemfs_objects);
}

int dmemfs_demand_answer_request(struct dmemfs_object *obj, const struct dmemfs_fault_answer *arg)
{
	struct dmemfs_range range;
	int ret = dmemfs_file_range(arg->offset, arg->length, &range);

	if (ret)
		return ret;
	if (arg->error > MAX_ERRNO)
		return -EINVAL;
	dmemfs_demand_answer(obj, range, arg->error);
	return 0;
}

void dmemfs_demand_rearm(struct dmemfs_object *obj)
{
	struct dmemfs_pending_fault *fault;

	list_for_each_entry(fault, &obj->pending_faults, link) {
		if (!fault->refused)
			dmemfs_event_queue(&fault->queued);
	}
}

/* The object is being freed: no task waits, so only refusals are on the list. */
void dmemfs_demand_exit(struct dmemfs_object *obj)
{
	struct dmemfs_pending_fault *fault, *next;

	list_for_each_entry_safe(fault, next, &obj->pending_faults, link)
		kfree(fault);
}

int dmemfs_object_set_mode(struct dmemfs_object *obj, const struct dmemfs_object_mode *arg)
{
	int ret = 0;

	if (arg->mode & ~(DMEMFS_MODE_DEMAND | DMEMFS_MODE_DISCARD))
		return -EINVAL;
	if (arg->order && arg->order != PMD_ORDER && arg->order != PUD_ORDER)
		return -EINVAL;
	if (!is_power_of_2(arg->unit) || arg->unit < PAGE_SIZE << arg->order || arg->unit > SZ_1G)
		return -EINVAL;
	down_write(&obj->lock);
	if (arg->order != obj->order && (obj->nr_pages || dmemfs_object_is_open(obj))) {
		ret = -EBUSY;
	} else {
		WRITE_ONCE(obj->mode, arg->mode);
		obj->order = arg->order;
		obj->unit = arg->unit;
		dmemfs_demand_answer(obj, (struct dmemfs_range){ 0, ULONG_MAX }, 0);
	}
	up_write(&obj->lock);
	return ret;
}

/* Punches [start, end), which consists of whole units, and tells the daemon. */
static int punch_units(struct dmemfs_object *obj, struct inode *inode, u64 start, u64 end)
{
	struct dmemfs_event event = { .kind = DMEMFS_EVENT_PUNCHED, .offset = start, .length = end - start };
	struct dmemfs_range range = { start >> PAGE_SHIFT, (end >> PAGE_SHIFT) - 1 };
	unsigned long before = obj->nr_punched;
	int ret;

	dmemfs_zap(inode, start, end);
	ret = dmemfs_extents_punch(obj, range);
	if (obj->nr_punched != before)
		dmemfs_event_range(obj, event);
	return ret;
}

/* Punches the whole units in the range and zeroes the rest in place. The last unit of the file ends at its size. */
int dmemfs_demand_punch(struct dmemfs_object *obj, struct inode *inode, u64 start, u64 end)
{
	u64 first, last;
	int ret = 0;

	down_write(&obj->lock);
	end = min(end, obj->size);
	first = round_up(start, obj->unit);
	last = end == obj->size ? round_up(end, obj->unit) : round_down(end, obj->unit);
	if (start < end && first < last)
		ret = punch_units(obj, inode, first, last);
	up_write(&obj->lock);
	if (ret || start >= end)
		return ret;
	if (first >= last)
		return dmemfs_object_zero(obj, start, end);
	ret = dmemfs_object_zero(obj, start, first);
	return ret ?: dmemfs_object_zero(obj, last, end);
}

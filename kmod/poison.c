// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory that went bad: uncorrected errors that the machine reports in our regions.
 *
 * A page that is poisoned stays so until the module goes. Looking for one takes no lock. A page is poisoned first, then
 * its owner's lock is taken exclusively to unmap it: who looked before is done by then, who looks later finds it. So
 * nobody maps, reads, writes or zeroes it any more.
 *
 * dmemfs_region_lock is held to add pages. Those which are marked are still to be unmapped, by the work below.
 */
#include "dmemfs.h"

#include <linux/cleanup.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/signal.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#ifdef CONFIG_X86_MCE
#include <asm/mce.h>
#endif

#define IS_MAPPED XA_MARK_0

/* By page frame number; the entries say nothing. */
static DEFINE_XARRAY(poisoned);
static unsigned int nr_poisoned;

/* A task that asked to be told early of errors in its memory. */
struct listener {
	struct list_head link;
	struct task_struct *task;
};

bool dmemfs_poison_find(struct dmemfs_range pfns, unsigned long *pfn)
{
	*pfn = pfns.first;
	return xa_find(&poisoned, pfn, pfns.last, XA_PRESENT);
}

bool dmemfs_poison_exists(void)
{
	return !xa_empty(&poisoned);
}

/* prctl(2), PR_MCE_KILL_EARLY; QEMU does this. Flags of other tasks, as mm/memory-failure.c reads them. */
static void add_listeners(struct list_head *listeners)
{
	struct task_struct *process, *task;
	struct listener *listener;

	guard(rcu)();
	for_each_process_thread(process, task) {
		if ((READ_ONCE(task->flags) & (PF_MCE_PROCESS | PF_MCE_EARLY)) != (PF_MCE_PROCESS | PF_MCE_EARLY))
			continue;
		listener = kmalloc(sizeof(*listener), GFP_ATOMIC);
		if (!listener)
			return;
		listener->task = get_task_struct(task);
		list_add_tail(&listener->link, listeners);
	}
}

/* Where the task sees page @index of the object; 0: nowhere. */
static unsigned long find_address(struct task_struct *task, struct dmemfs_object *obj, unsigned long index)
{
	struct mm_struct *mm = get_task_mm(task);
	struct vm_area_struct *vma;
	unsigned long address = 0;

	if (!mm)
		return 0;
	mmap_read_lock(mm);
	VMA_ITERATOR(vmi, mm, 0);
	for_each_vma(vmi, vma) {
		if (dmemfs_vma_shows(vma, obj, index)) {
			address = vma->vm_start + ((index - vma->vm_pgoff) << PAGE_SHIFT);
			break;
		}
	}
	mmap_read_unlock(mm);
	mmput(mm);
	return address;
}

/*
 * Who wants to know before it touches the page is told now: a guest can do without a page that it knows to be lost.
 * One task of each process.
 */
static void tell_listeners(struct dmemfs_object *obj, unsigned long index)
{
	struct listener *listener, *next;
	struct mm_struct *told = NULL;
	unsigned long address;
	LIST_HEAD(listeners);

	add_listeners(&listeners);
	list_for_each_entry_safe(listener, next, &listeners, link) {
		address = READ_ONCE(listener->task->mm) == told ? 0 : find_address(listener->task, obj, index);
		if (address) {
			told = READ_ONCE(listener->task->mm);
			send_sig_mceerr(BUS_MCEERR_AO, (void __user *)address, PAGE_SHIFT, listener->task);
		}
		put_task_struct(listener->task);
		kfree(listener);
	}
}

static void unmap_page(unsigned long pfn)
{
	struct dmemfs_object *obj = dmemfs_owner_get(pfn);
	unsigned long index;

	if (!obj)
		return;
	if (dmemfs_extent_unmap(obj, pfn, &index))
		tell_listeners(obj, index);
	dmemfs_object_put(obj);
}

static void unmap_poisoned(struct work_struct *work)
{
	unsigned long pfn;
	void *entry;

	xa_for_each_marked(&poisoned, pfn, entry, IS_MAPPED) {
		xa_clear_mark(&poisoned, pfn, IS_MAPPED);
		unmap_page(pfn);
		cond_resched();
	}
	dmemfs_notice_poison();
}

static DECLARE_WORK(unmap_work, unmap_poisoned);

/* One page of a region. The caller holds dmemfs_region_lock. */
static int poison_page(unsigned long pfn)
{
	int ret;

	if (xa_load(&poisoned, pfn))
		return 0;
	if (nr_poisoned == DMEMFS_POISON_MAX)
		return -ENOSPC;
	ret = xa_err(xa_store(&poisoned, pfn, xa_mk_value(0), GFP_KERNEL));
	if (ret)
		return ret;
	nr_poisoned++;
	xa_set_mark(&poisoned, pfn, IS_MAPPED);
	return 0;
}

static int poison_pages(struct dmemfs_range pfns)
{
	unsigned long pfn;
	int ret = 0;

	mutex_lock(&dmemfs_region_lock);
	if (!dmemfs_in_region(pfns))
		ret = -ENXIO;
	for (pfn = pfns.first; !ret && pfn <= pfns.last; pfn++)
		ret = poison_page(pfn);
	mutex_unlock(&dmemfs_region_lock);
	if (ret != -ENXIO)
		schedule_work(&unmap_work);
	return ret;
}

int dmemfs_poison_add(const struct dmemfs_poison *arg)
{
	u64 end;
	int ret;

	if (!arg->length || !IS_ALIGNED(arg->start | arg->length, DMEMFS_ALIGNMENT) ||
	    check_add_overflow(arg->start, arg->length, &end))
		return -EINVAL;
	ret = poison_pages((struct dmemfs_range){ PHYS_PFN(arg->start), PHYS_PFN(end - 1) });
	flush_work(&unmap_work);
	return ret;
}

int dmemfs_poison_next(struct dmemfs_poison *arg)
{
	unsigned long first = PHYS_PFN(arg->start) + !!offset_in_page(arg->start);
	unsigned long last;

	if (!dmemfs_poison_find((struct dmemfs_range){ first, ULONG_MAX }, &first))
		return -ENOENT;
	last = first;
	while (xa_load(&poisoned, last + 1))
		last++;
	arg->start = PFN_PHYS(first);
	arg->length = PFN_PHYS(last - first + 1);
	return 0;
}

#ifdef CONFIG_X86_MCE
/*
 * Called from the kernel's work that goes through the machine checks: it may sleep, but others wait for it. What of it
 * is a lost page is decided as by uc_decode_notifier() in arch/x86/kernel/cpu/mce/core.c.
 */
static int on_machine_check(struct notifier_block *block, unsigned long value, void *data)
{
	struct mce *mce = data;
	unsigned long pfn;
	int ret;

	if (!mce || mce_is_correctable(mce) || !mce_usable_address(mce))
		return NOTIFY_DONE;
	pfn = PHYS_PFN(mce->addr & MCI_ADDR_PHYSADDR);
	ret = poison_pages((struct dmemfs_range){ pfn, pfn });
	if (ret && ret != -ENXIO)
		pr_err("memory error at 0x%llx: cannot be kept in mind: %d\n", PFN_PHYS(pfn), ret);
	else if (!ret)
		pr_err("memory error at 0x%llx: the page is unmapped\n", PFN_PHYS(pfn));
	return NOTIFY_DONE;
}

static struct notifier_block machine_checks = {
	.notifier_call = on_machine_check,
	.priority = MCE_PRIO_NFIT,
};

void __init dmemfs_poison_init(void)
{
	mce_register_decode_chain(&machine_checks);
}

static void stop_listening(void)
{
	mce_unregister_decode_chain(&machine_checks);
}
#else
void __init dmemfs_poison_init(void)
{
}

static void stop_listening(void)
{
}
#endif

void dmemfs_poison_exit(void)
{
	stop_listening();
	cancel_work_sync(&unmap_work);
	xa_destroy(&poisoned);
}

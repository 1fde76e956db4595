// SPDX-License-Identifier: GPL-2.0-only
/*
 * Poisoned pages: uncorrected memory errors that the machine reports in claimed regions.
 *
 * A poisoned page stays poisoned until the module is unloaded. A lookup takes no lock. The module first records the
 * page as poisoned, then takes object->lock of its owner exclusively and unmaps the page. A fault, read or write that
 * looked the page up before has finished by then; one that looks later finds it poisoned. So the page is not mapped,
 * read, written or zeroed any more.
 *
 * The handling of all machine checks waits for the notifier in this file, so the notifier never sleeps. Each error gets
 * its own work item, which may wait for the owner's lock: the lock of one object does not delay errors in others. Only
 * memory_failure(), which the kernel calls for memory with struct pages, waits until the page is unmapped.
 *
 * The kernel handles errors of lent memory as those of any memory of its own. The module only records them.
 */
#include "dmemfs.h"

#include <linux/cleanup.h>
#include <linux/delay.h>
#include <linux/page_ref.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/signal.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#ifdef CONFIG_X86_MCE
#include <asm/mce.h>
#endif

/* By page frame number; the values have no meaning. Its lock also protects nr_poisoned. */
static DEFINE_XARRAY(poisoned);
static unsigned int nr_poisoned;

bool dmemfs_poison_find(struct dmemfs_range pfns, unsigned long *pfn)
{
	*pfn = pfns.first;
	return xa_find(&poisoned, pfn, pfns.last, XA_PRESENT);
}

size_t dmemfs_poison_free(u64 start, size_t length)
{
	unsigned long bad;

	if (!dmemfs_poison_find((struct dmemfs_range){ PHYS_PFN(start), PHYS_PFN(start + length - 1) }, &bad))
		return length;
	return bad == PHYS_PFN(start) ? 0 : PFN_PHYS(bad) - start;
}

bool dmemfs_poison_exists(void)
{
	return !xa_empty(&poisoned);
}

/* Records @pfn, a page of a region, as poisoned. Returns 1 if it was before. Errors: -ENOSPC, -ENOMEM. */
static int poison_page(unsigned long pfn, gfp_t gfp)
{
	int ret = -ENOSPC;

	xa_lock(&poisoned);
	if (xa_load(&poisoned, pfn))
		ret = 1;
	else if (nr_poisoned < DMEMFS_POISON_MAX)
		ret = __xa_insert(&poisoned, pfn, xa_mk_value(0), gfp);
	if (!ret)
		nr_poisoned++;
	xa_unlock(&poisoned);
	return ret == -EBUSY ? 1 : ret;
}

/*
 * Unmaps @pfn from all processes. Returns its owner, with a reference, and the page of the file in @index; NULL if no
 * process can have it mapped.
 */
static struct dmemfs_object *unmap_page(unsigned long pfn, unsigned long *index)
{
	struct dmemfs_object *obj = dmemfs_owner_get(pfn);

	if (!obj || dmemfs_extent_unmap(obj, pfn, index))
		return obj;
	dmemfs_object_put(obj);
	return NULL;
}

int dmemfs_poison_add(const struct dmemfs_poison *arg)
{
	struct dmemfs_object *obj;
	struct dmemfs_range pfns;
	unsigned long pfn, index;
	int ret = dmemfs_pages(arg->start, arg->length, &pfns);

	if (ret)
		return ret;
	if (!dmemfs_in_region(pfns))
		return -ENXIO;
	for (pfn = pfns.first; ret >= 0 && pfn <= pfns.last; pfn++) {
		ret = poison_page(pfn, GFP_KERNEL);
		obj = ret ? NULL : unmap_page(pfn, &index);
		if (obj)
			dmemfs_object_put(obj);
		cond_resched();
	}
	dmemfs_event_poison();
	return min(ret, 0);
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

/*
 * memory_failure() keeps one reference of a page that it took out of use; a free page that it could not get at has none. A
 * page with a type, of zsmalloc for example, has one, too: that of its owner, who does not know.
 */
bool dmemfs_poison_is_lost(struct page *page)
{
	return PageHWPoison(page) && page_ref_count(page) <= 1 && (!page_has_type(page) || PageBuddy(page)) &&
	       !PageLRU(page) && !PageCompound(page) && !folio_mapped(page_folio(page)) &&
	       !folio_mapping(page_folio(page));
}

bool dmemfs_poison_is_kept(struct dmemfs_range pfns)
{
	for (unsigned long pfn = pfns.first; pfn <= pfns.last; pfn++) {
		struct page *page = pfn_to_page(pfn);

		if (PageHWPoison(page) && !PageOffline(page) && !dmemfs_poison_is_lost(page))
			return true;
	}
	return false;
}

static void record_lent(unsigned long pfn)
{
	int ret = poison_page(pfn, GFP_KERNEL);

	if (ret < 0)
		pr_err("memory error at 0x%llx: cannot record it: %d\n", PFN_PHYS(pfn), ret);
	if (!ret)
		dmemfs_event_poison();
}

void dmemfs_poison_lent(struct dmemfs_range pfns)
{
	for (unsigned long pfn = pfns.first; pfn <= pfns.last; pfn++) {
		if (PageHWPoison(pfn_to_page(pfn)))
			record_lent(pfn);
	}
}

#define TELL_ROUNDS   50
#define TELL_PAUSE_MS 20

/* A process that asked to be told early of errors in its memory, by the task that asked. */
struct listener {
	struct list_head link;
	struct task_struct *task;
};

struct error {
	struct work_struct work;
	unsigned long pfn;
};

static struct workqueue_struct *errors;

/*
 * Lists the processes that called prctl(2) with PR_MCE_KILL_EARLY, as QEMU does. Reads flags of other tasks as
 * mm/memory-failure.c does. The list ends early if there is no memory.
 */
static void add_listeners(struct list_head *listeners)
{
	const unsigned int early = PF_MCE_PROCESS | PF_MCE_EARLY;
	struct task_struct *process, *task;
	struct listener *listener;

	guard(rcu)();
	for_each_process(process) {
		for_each_thread(process, task) {
			if ((READ_ONCE(task->flags) & early) != early)
				continue;
			listener = kmalloc(sizeof(*listener), GFP_ATOMIC);
			if (!listener)
				return;
			listener->task = get_task_struct(task);
			list_add_tail(&listener->link, listeners);
			break;
		}
	}
}

/*
 * Sends the task a signal with the address at which its process maps page @index of the object, if it does. False: the
 * mmap_lock is taken, try again.
 */
static bool tell(struct task_struct *task, struct dmemfs_object *obj, unsigned long index)
{
	struct mm_struct *mm = get_task_mm(task);
	struct vm_area_struct *vma;
	unsigned long address = 0;
	bool seen;

	if (!mm)
		return true;
	seen = mmap_read_trylock(mm);
	if (seen) {
		VMA_ITERATOR(vmi, mm, 0);
		for_each_vma(vmi, vma) {
			if (dmemfs_vma_shows(vma, obj, index)) {
				address = vma->vm_start + ((index - vma->vm_pgoff) << PAGE_SHIFT);
				break;
			}
		}
		mmap_read_unlock(mm);
	}
	mmput_async(mm);
	if (address)
		send_sig_mceerr(BUS_MCEERR_AO, (void __user *)address, PAGE_SHIFT, task);
	return seen;
}

/*
 * Signals the processes that asked to be told early: a guest can avoid a page that it knows to be lost. A process whose
 * mmap_lock cannot be taken within a second gets its signal when it touches the page.
 */
static void tell_listeners(struct dmemfs_object *obj, unsigned long index)
{
	struct listener *listener, *next;
	LIST_HEAD(listeners);

	add_listeners(&listeners);
	for (int round = 1; !list_empty(&listeners); round++) {
		list_for_each_entry_safe(listener, next, &listeners, link) {
			if (!tell(listener->task, obj, index) && round < TELL_ROUNDS)
				continue;
			list_del(&listener->link);
			put_task_struct(listener->task);
			kfree(listener);
		}
		if (!list_empty(&listeners))
			msleep(TELL_PAUSE_MS);
	}
}

static void handle_error(struct work_struct *work)
{
	struct error *error = container_of(work, struct error, work);
	unsigned long index;
	struct dmemfs_object *obj = unmap_page(error->pfn, &index);

	if (dmemfs_is_lent(error->pfn))
		pr_err("memory error at 0x%llx: the page is lent, the kernel handles it\n", PFN_PHYS(error->pfn));
	else
		pr_err("memory error at 0x%llx: the page is unmapped\n", PFN_PHYS(error->pfn));
	if (obj) {
		tell_listeners(obj, index);
		dmemfs_object_put(obj);
	}
	dmemfs_event_poison();
	kfree(error);
}

/* One page of a region is lost, and its work queued. 1: it was poisoned before. */
static int take_error(unsigned long pfn, gfp_t gfp)
{
	struct error *error = kmalloc(sizeof(*error), gfp);
	int ret = error ? poison_page(pfn, gfp) : -ENOMEM;

	if (ret) {
		kfree(error);
		return ret;
	}
	INIT_WORK(&error->work, handle_error);
	error->pfn = pfn;
	queue_work(errors, &error->work);
	return 0;
}

int dmemfs_poison_failed(unsigned long pfn)
{
	unsigned long index;
	int ret = take_error(pfn, GFP_KERNEL);
	struct dmemfs_object *obj = unmap_page(pfn, &index);

	if (obj)
		dmemfs_object_put(obj);
	/* The kernel will remove the page from its own page tables, by which memory without an owner is zeroed. */
	dmemfs_clear_barrier();
	return min(ret, 0);
}

#ifdef CONFIG_X86_MCE
/*
 * Called from the kernel's work item that processes machine checks. Which of them mean a lost page is decided as in
 * uc_decode_notifier() in arch/x86/kernel/cpu/mce/core.c.
 *
 * The kernel also calls memory_failure(). If the memory has struct pages, that calls dmemfs_poison_failed(). It does
 * not know raw memory, and kills the process whose CPU consumed the error. Since 6.19 the module could register raw
 * memory with it (register_pfn_address_space()). But then memory_failure() would treat the error as handled, while the
 * page may still be mapped.
 */
static int on_machine_check(struct notifier_block *block, unsigned long value, void *data)
{
	struct mce *mce = data;
	unsigned long pfn;
	int ret;

	if (!mce || mce_is_correctable(mce) || !mce_usable_address(mce))
		return NOTIFY_DONE;
	pfn = PHYS_PFN(mce->addr & MCI_ADDR_PHYSADDR);
	if (!dmemfs_in_region((struct dmemfs_range){ pfn, pfn }))
		return NOTIFY_DONE;
	ret = take_error(pfn, GFP_ATOMIC);
	if (ret < 0)
		pr_err("memory error at 0x%llx: cannot record it: %d; the page stays mapped\n", PFN_PHYS(pfn), ret);
	return NOTIFY_DONE;
}

static struct notifier_block machine_checks = {
	.notifier_call = on_machine_check,
	.priority = MCE_PRIO_NFIT,
};

static void listen(void)
{
	mce_register_decode_chain(&machine_checks);
}

static void stop_listening(void)
{
	mce_unregister_decode_chain(&machine_checks);
}
#else
static void listen(void)
{
}

static void stop_listening(void)
{
}
#endif

int __init dmemfs_poison_init(void)
{
	errors = alloc_workqueue(KBUILD_MODNAME, WQ_UNBOUND, 0);
	if (!errors)
		return -ENOMEM;
	listen();
	return 0;
}

void dmemfs_poison_exit(void)
{
	stop_listening();
	destroy_workqueue(errors);
	xa_destroy(&poisoned);
}

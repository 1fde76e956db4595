// SPDX-License-Identifier: GPL-2.0-only
/*
 * Units of regions that are lent to the kernel: memory that is added to it and removed again, as that of virtio-mem.
 * Nothing of this runs while nothing is lent.
 *
 * Memory can be removed only when nothing is in it. Offlining alone would try that for ever: it does not end while
 * somebody has a page pinned, or while there is no other place for what is in it. So a take first empties the unit by
 * dmemfs_alloc_range(), which gives up. Then all pages belong to this file, are marked PageOffline(), which tells others
 * to leave them alone, and do not count as the host's memory any more. A memory block is taken offline only if it
 * consists of such pages, and poisoned ones: so it ends at once.
 *
 * The memory notifier sees each memory block that goes online or offline, whoever asked for it, one after the other.
 * While a take is at work it refuses all changes but those of the take. Before the take begins, it waits for a change
 * that is under way. So it is known which blocks are online.
 *
 * Each lend and each take has a thread of its own. The kernel may have to wait for a page without a limit, for one of a
 * file for example whose server does not answer, or for its own lock of memory hotplug, and nothing can end this wait. The
 * process that asked must not hang with it. When its time is over, or it is killed, it sends the thread a fatal signal,
 * which ends a take between two pages. A unit that is not in the table then will not be lent.
 *
 * The mutex lending serializes lends, and the beginning and the end of takes, and is taken first. Not the takes themselves:
 * one that waits for a page keeps no other unit from its owner. xa_lock(&units) protects the state of each unit.
 */
#include "dmemfs.h"
#include "compat.h"

#if DMEMFS_LEND

#include <linux/completion.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/memory.h>
#include <linux/memory_hotplug.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/numa.h>
#include <linux/page_ref.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/wait.h>

#define TRIES 5
#define PAUSE (HZ / 50) /* between them: who looks at a page, as KSM does, has it for a moment only */
/* How long a lend may need: the kernel's lock of memory hotplug may be held for as long as anybody likes. */
#define LEND_TIME (10 * HZ)
/* How long a take that was told to end may need for it, if it need not wait for a page. */
#define GRACE (2 * HZ)

struct unit {
	struct dmemfs_range pfns;
	struct dmemfs_pages *pages; /* of its region; NULL: raw */
	bool added;		    /* the kernel has the memory; under lending, or of the taker */
	/* Under xa_lock(&units): */
	struct task_struct *taker; /* the take that is at work, or NULL */
	bool changing;		   /* a memory block goes online or offline */
	/* Of the taker, also in the notifier, which runs in its context: */
	unsigned long taken_end; /* up to it all is allocated, except blocks offline and poisoned pages */
	unsigned long gone;	 /* bit n: block n went offline in this take */
	bool frozen;		 /* the pages of the block that goes offline now are frozen */
};

/* Of the thread, and of the process that asked for it. */
struct job {
	struct kref ref;
	int (*run)(const struct job *job);
	struct dmemfs_range pfns;
	bool ended; /* the process asks for no more; under xa_lock(&units) */
	int result;
	struct completion done;
};

static DEFINE_MUTEX(lending);
static DEFINE_XARRAY(units);  /* by start in units; an entry lasts longer than the memory is the kernel's */
static unsigned int nr_units; /* under lending */
static DECLARE_WAIT_QUEUE_HEAD(changes);

u64 dmemfs_lend_unit(void)
{
	return max_t(u64, SZ_1G, memory_block_size_bytes());
}

static unsigned long unit_pages(void)
{
	return PHYS_PFN(dmemfs_lend_unit());
}

static unsigned long block_pages(void)
{
	return PHYS_PFN(memory_block_size_bytes());
}

bool dmemfs_is_lent(unsigned long pfn)
{
	return xa_load(&units, pfn / unit_pages());
}

static void unfreeze(unsigned long pfn, unsigned long end)
{
	for (; pfn < end; pfn++) {
		if (PageOffline(pfn_to_page(pfn)))
			page_ref_unfreeze(pfn_to_page(pfn), 1);
	}
}

/* Whether all pages of the block at @pfn are allocated, or poisoned and out of use; their references are gone then. */
static bool freeze_block(struct unit *unit, unsigned long pfn)
{
	unsigned long end = pfn + block_pages(), pos;

	for (pos = pfn; pos < end; pos++) {
		struct page *page = pfn_to_page(pos);

		if (!PageOffline(page) && dmemfs_poison_is_lost(page))
			continue;
		if (pos >= unit->taken_end || !PageOffline(page) || !page_ref_freeze(page, 1))
			break;
	}
	unit->frozen = pos == end;
	if (!unit->frozen)
		unfreeze(pfn, pos);
	return unit->frozen;
}

static struct dmemfs_range block_at(unsigned long pfn)
{
	return (struct dmemfs_range){ pfn, pfn + block_pages() - 1 };
}

/* A memory block is about to change. */
static int begin_change(struct unit *unit, unsigned long action, unsigned long pfn)
{
	unsigned long bad;
	bool own;

	if (action == MEM_GOING_ONLINE && !is_zone_movable_page(pfn_to_page(pfn)))
		return -EPERM;
	if (action == MEM_GOING_ONLINE && dmemfs_poison_find(block_at(pfn), &bad))
		return -EHWPOISON;
	if (action == MEM_GOING_OFFLINE && dmemfs_poison_is_kept(block_at(pfn)))
		return -EBUSY;
	xa_lock(&units);
	own = unit->taker == current;
	if (!unit->taker)
		unit->changing = true;
	xa_unlock(&units);
	if (own && action == MEM_GOING_OFFLINE)
		return freeze_block(unit, pfn) ? 0 : -EBUSY;
	return own || unit->changing ? 0 : -EBUSY;
}

/* It has, or has not. */
static void end_change(struct unit *unit, unsigned long action, unsigned long pfn)
{
	bool own = READ_ONCE(unit->taker) == current;

	if (own && action == MEM_CANCEL_OFFLINE && unit->frozen)
		unfreeze(pfn, pfn + block_pages());
	if (action == MEM_OFFLINE)
		dmemfs_poison_lent(block_at(pfn));
	if (own && action == MEM_OFFLINE)
		__set_bit((pfn - unit->pfns.first) / block_pages(), &unit->gone);
	if (own)
		unit->frozen = false;
	xa_lock(&units);
	unit->changing = false;
	xa_unlock(&units);
	wake_up_all(&changes);
}

static int on_memory(struct notifier_block *block, unsigned long action, void *data)
{
	const struct memory_notify *change = data;
	struct unit *unit = xa_load(&units, change->start_pfn / unit_pages());
	int ret = 0;

	if (!unit)
		return NOTIFY_DONE;
	switch (action) {
	case MEM_GOING_ONLINE:
	case MEM_GOING_OFFLINE:
		ret = begin_change(unit, action, change->start_pfn);
		break;
	case MEM_ONLINE:
	case MEM_OFFLINE:
	case MEM_CANCEL_ONLINE:
	case MEM_CANCEL_OFFLINE:
		end_change(unit, action, change->start_pfn);
	}
	return notifier_from_errno(ret);
}

static struct notifier_block memory = { .notifier_call = on_memory };

static bool has_taker(unsigned long index)
{
	struct unit *unit;
	bool has;

	xa_lock(&units);
	unit = xa_load(&units, index);
	has = unit && unit->taker;
	xa_unlock(&units);
	return has;
}

/* Makes this thread the taker, after others; NULL: the unit is not lent. Then nobody else changes the unit. */
static struct unit *begin_take(unsigned long index)
{
	struct unit *unit;
	bool others;

	do {
		if (wait_event_killable(changes, !has_taker(index)) || mutex_lock_killable(&lending))
			return ERR_PTR(-EINTR);
		xa_lock(&units);
		unit = xa_load(&units, index);
		others = unit && unit->taker;
		if (unit && !others)
			unit->taker = current;
		xa_unlock(&units);
		mutex_unlock(&lending);
	} while (others);
	return unit;
}

static void end_take(struct unit *unit)
{
	xa_lock(&units);
	unit->taker = NULL;
	xa_unlock(&units);
}

/* Where a run of pages to be emptied ends, which begins at @pfn: at a poisoned page, or at a block that is offline. */
static unsigned long run_end(const struct unit *unit, unsigned long pfn)
{
	struct page *page;

	for (; pfn <= unit->pfns.last; pfn++) {
		page = pfn_to_online_page(pfn);
		if (!page || PageHWPoison(page))
			break;
		if (!(pfn % BITS_PER_LONG))
			cond_resched();
	}
	return pfn;
}

static int empty_run(unsigned long pfn, unsigned long end)
{
	int ret = -EBUSY;

	for (int tries = 0; tries < TRIES && ret == -EBUSY; tries++) {
		if (tries)
			schedule_timeout_killable(PAUSE);
		ret = fatal_signal_pending(current) ? -EINTR : dmemfs_alloc_range(pfn, end);
	}
	return ret;
}

/* The pages are this file's: nobody else shall touch them, and the host has them no more. */
static void take_run(unsigned long pfn, unsigned long end)
{
	adjust_managed_page_count(pfn_to_page(pfn), -(long)(end - pfn));
	page_offline_begin();
	for (; pfn < end; pfn++)
		__SetPageOffline(pfn_to_page(pfn));
	page_offline_end();
}

/* Allocates all pages of the unit that are in use, or could be. */
static int empty(struct unit *unit)
{
	unsigned long *pos = &unit->taken_end, end;
	struct page *page;
	int ret;

	while (*pos <= unit->pfns.last) {
		end = run_end(unit, *pos);
		if (end > *pos) {
			ret = empty_run(*pos, end);
			if (ret)
				return ret;
			take_run(*pos, end);
			*pos = end;
			continue;
		}
		page = pfn_to_online_page(end);
		if (page && !dmemfs_poison_is_lost(page))
			return -EBUSY;
		*pos = page ? end + 1 : round_up(end + 1, block_pages());
	}
	return 0;
}

/* Gives the kernel back what empty() took of it. Blocks that went offline and online again meanwhile have their pages. */
static void refill(struct unit *unit)
{
	for (unsigned long pfn = unit->pfns.first; pfn < unit->taken_end; pfn++) {
		struct page *page = pfn_to_online_page(pfn);

		if (!page || test_bit((pfn - unit->pfns.first) / block_pages(), &unit->gone))
			continue;
		if (PageOffline(page)) {
			__ClearPageOffline(page);
			adjust_managed_page_count(page, 1);
			__free_page(page);
		}
		cond_resched();
	}
}

/* Empties the unit and takes it away from the kernel. */
static int take_back(struct unit *unit)
{
	int ret;

	/* A change that others began before is still under way. */
	if (wait_event_killable(changes, !READ_ONCE(unit->changing)))
		return -EINTR;
	unit->taken_end = unit->pfns.first;
	unit->gone = 0;
	ret = empty(unit) ?: offline_and_remove_memory(PFN_PHYS(unit->pfns.first), dmemfs_lend_unit());
	if (ret)
		refill(unit);
	else
		unit->added = false;
	return ret;
}

/* The unit becomes as it was before it was lent. The caller holds lending; the kernel has not got the memory. */
static int settle(struct unit *unit)
{
	int ret = dmemfs_region_close(unit->pfns);

	if (!ret && unit->pages)
		ret = dmemfs_pages_make(unit->pages, unit->pfns);
	ret = ret ?: dmemfs_region_take(unit->pfns);
	if (ret)
		return ret;
	xa_erase(&units, unit->pfns.first / unit_pages());
	kfree(unit);
	if (!--nr_units)
		unregister_memory_notifier(&memory);
	module_put(THIS_MODULE);
	return 0;
}

/* Whether the unit is in the table. That does not fail for want of memory, and so not at all if @job is NULL. */
static bool enter(struct unit *unit, const struct job *job)
{
	bool enters;

	xa_lock(&units);
	enters = !job || !job->ended;
	if (enters)
		__xa_store(&units, unit->pfns.first / unit_pages(), unit, GFP_NOWAIT);
	xa_unlock(&units);
	return enters;
}

/* Makes the unit lent, in the books. */
static int book(struct unit *unit, const struct job *job)
{
	unsigned long index = unit->pfns.first / unit_pages();
	int ret = nr_units ? 0 : register_memory_notifier(&memory);

	if (ret)
		return ret;
	ret = xa_reserve(&units, index, GFP_KERNEL);
	if (ret)
		goto err_notifier;
	ret = dmemfs_region_lend(unit->pfns, &unit->pages);
	if (ret)
		goto err_index;
	if (!enter(unit, job)) {
		ret = -EINTR;
		if (!dmemfs_region_close(unit->pfns) && !dmemfs_region_take(unit->pfns))
			goto err_index;
		enter(unit, NULL);
	}
	nr_units++;
	__module_get(THIS_MODULE);
	return 0;

err_index:
	xa_release(&units, index);
err_notifier:
	if (!nr_units)
		unregister_memory_notifier(&memory);
	return ret;
}

/* The kernel accepts nodes only that it knew when it started. */
static int node_at(u64 start)
{
	int node = phys_to_target_node(start);

	if (node != NUMA_NO_NODE && node_possible(node))
		return node;
	node = numa_map_to_online_node(node);
	return node == NUMA_NO_NODE ? first_online_node : node;
}

/* Each unit keeps a resource of its own (no MHP_MERGE_RESOURCE): to remove a unit cuts none. */
static int give(struct unit *unit)
{
	u64 start = PFN_PHYS(unit->pfns.first);
	int ret;

	if (unit->pages)
		dmemfs_pages_unmake(unit->pages, unit->pfns);
	ret = add_memory_driver_managed(node_at(start), start, dmemfs_lend_unit(), "System RAM (dmemfs)", MHP_NONE);
	unit->added = !ret;
	return ret;
}

static int check_unit(const struct dmemfs_lend *arg, struct dmemfs_range *pfns)
{
	if (arg->length != dmemfs_lend_unit() || !IS_ALIGNED(arg->start, arg->length))
		return -EINVAL;
	return dmemfs_pages(arg->start, arg->length, pfns);
}

static int lend_unit(const struct job *job)
{
	struct unit *unit;
	int ret = -ENOMEM;

	/* Another lend may last without a limit. There is no need to wait for it: lending can be tried again. */
	if (!mutex_trylock(&lending))
		return -EBUSY;
	unit = kzalloc(sizeof(*unit), GFP_KERNEL);
	if (!unit)
		goto out;
	unit->pfns = job->pfns;
	ret = book(unit, job);
	if (ret) {
		kfree(unit);
		goto out;
	}
	ret = give(unit);
	if (ret && settle(unit))
		ret = -ENOMEM;
out:
	mutex_unlock(&lending);
	return ret;
}

static int take_unit(const struct job *job)
{
	struct unit *unit = begin_take(job->pfns.first / unit_pages());
	int ret;

	if (IS_ERR_OR_NULL(unit))
		return unit ? PTR_ERR(unit) : -ENOENT;
	ret = unit->added ? take_back(unit) : 0;
	mutex_lock(&lending);
	if (!ret && settle(unit))
		ret = -ENOMEM;
	if (ret)
		end_take(unit);
	mutex_unlock(&lending);
	wake_up_all(&changes);
	return ret;
}

static void free_job(struct kref *ref)
{
	kfree(container_of(ref, struct job, ref));
}

static int job_thread(void *data)
{
	struct job *job = data;

	allow_kernel_signal(SIGKILL);
	job->result = READ_ONCE(job->ended) ? -EINTR : job->run(job);
	complete(&job->done);
	kref_put(&job->ref, free_job);
	module_put_and_kthread_exit(0);
}

/* Waits for the thread, jiffies. Returns its result, or -ETIME. */
static int wait_for_job(struct job *job, struct task_struct *thread, unsigned long timeout)
{
	long left = wait_for_completion_killable_timeout(&job->done, timeout);

	if (left > 0)
		return job->result;
	/* The thread sees one of them, whether it can be sent signals already or not. */
	xa_lock(&units);
	WRITE_ONCE(job->ended, true);
	xa_unlock(&units);
	send_sig(SIGKILL, thread, 1);
	if (left < 0)
		return -EINTR;
	left = wait_for_completion_killable_timeout(&job->done, GRACE);
	if (left < 0)
		return -EINTR;
	return left && job->result != -EINTR ? job->result : -ETIME;
}

/* Has a thread call @run for the unit of @arg. */
static int run_job(int (*run)(const struct job *job), const struct dmemfs_lend *arg, unsigned long timeout)
{
	struct task_struct *thread;
	struct job *job;
	int ret;

	job = kzalloc(sizeof(*job), GFP_KERNEL);
	if (!job)
		return -ENOMEM;
	kref_init(&job->ref);
	init_completion(&job->done);
	job->run = run;
	ret = check_unit(arg, &job->pfns);
	if (ret)
		goto out;
	thread = kthread_create(job_thread, job, KBUILD_MODNAME "-lend");
	ret = PTR_ERR_OR_ZERO(thread);
	if (ret)
		goto out;
	get_task_struct(thread);
	kref_get(&job->ref);
	__module_get(THIS_MODULE);
	wake_up_process(thread);
	ret = wait_for_job(job, thread, timeout);
	put_task_struct(thread);
out:
	kref_put(&job->ref, free_job);
	return ret;
}

int dmemfs_lend(const struct dmemfs_lend *arg)
{
	return run_job(lend_unit, arg, LEND_TIME);
}

int dmemfs_take(const struct dmemfs_lend *arg)
{
	return run_job(take_unit, arg, msecs_to_jiffies(arg->timeout));
}

static u32 state_of(const struct unit *unit)
{
	if (unit->taker)
		return DMEMFS_LEND_TAKING;
	for (unsigned long pfn = unit->pfns.first; pfn <= unit->pfns.last; pfn += block_pages()) {
		if (!pfn_to_online_page(pfn))
			return DMEMFS_LEND_OFFLINE;
	}
	return DMEMFS_LEND_ONLINE;
}

int dmemfs_lent_next(struct dmemfs_lend *arg)
{
	unsigned long index = arg->start ? (arg->start - 1) / dmemfs_lend_unit() + 1 : 0; /* at or above .start */
	struct unit *unit;
	int ret = -ENOENT;

	xa_lock(&units);
	unit = xa_find(&units, &index, ULONG_MAX, XA_PRESENT);
	if (unit) {
		arg->start = PFN_PHYS(unit->pfns.first);
		arg->length = dmemfs_lend_unit();
		arg->state = state_of(unit);
		ret = 0;
	}
	xa_unlock(&units);
	return ret;
}

#else
u64 dmemfs_lend_unit(void)
{
	return 0;
}

int dmemfs_lend(const struct dmemfs_lend *arg)
{
	return -EOPNOTSUPP;
}

int dmemfs_take(const struct dmemfs_lend *arg)
{
	return -ENOENT;
}

int dmemfs_lent_next(struct dmemfs_lend *arg)
{
	return -ENOENT;
}

bool dmemfs_is_lent(unsigned long pfn)
{
	return false;
}
#endif

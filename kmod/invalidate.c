// SPDX-License-Identifier: GPL-2.0-only
/*
 * Keeps faults from making 1-GiB entries while the kernel removes entries of the same process.
 *
 * When the kernel removes the entries of a range, it looks at each 1-GiB entry twice (zap_pud_range() in mm/memory.c): is
 * it a large page, and is it a bad page table? An entry that a fault makes between the two looks is cleared as a bad
 * table. Nothing flushes the TLB then, so that the process could still access the memory when it has another owner, and
 * nothing puts the reference that the entry holds on some kernels. MADV_DONTNEED removes entries while faults run. It
 * leaves VM_PFNMAP mappings alone, so this is about memory with struct pages.
 *
 * The kernel tells MMU notifiers when it begins and when it ends. A process that maps such memory has one notifier,
 * which all these mappings refer to by ->vm_private_data. Only MMU_NOTIFY_CLEAR is of interest: munmap() keeps faults
 * out by its locks, and a change of protection removes nothing.
 */
#include "dmemfs.h"

#include <linux/mmu_notifier.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/wait_bit.h>

/* How long a fault waits for its turn before it takes smaller pages. */
#define PATIENCE HZ

struct dmemfs_invalidations {
	struct mmu_notifier notifier;
	spinlock_t lock; /* taken before the lock of a page table */
	unsigned int running;
	wait_queue_head_t ended;
};

static atomic_t nr_notifiers;

static struct dmemfs_invalidations *from_notifier(struct mmu_notifier *notifier)
{
	return container_of(notifier, struct dmemfs_invalidations, notifier);
}

static int on_start(struct mmu_notifier *notifier, const struct mmu_notifier_range *range)
{
	struct dmemfs_invalidations *inv = from_notifier(notifier);

	if (range->event != MMU_NOTIFY_CLEAR)
		return 0;
	spin_lock(&inv->lock);
	inv->running++;
	spin_unlock(&inv->lock);
	return 0;
}

static void on_end(struct mmu_notifier *notifier, const struct mmu_notifier_range *range)
{
	struct dmemfs_invalidations *inv = from_notifier(notifier);
	bool last;

	if (range->event != MMU_NOTIFY_CLEAR)
		return;
	spin_lock(&inv->lock);
	last = !--inv->running;
	spin_unlock(&inv->lock);
	if (last)
		wake_up_all(&inv->ended);
}

static struct mmu_notifier *notifier_alloc(struct mm_struct *mm)
{
	struct dmemfs_invalidations *inv = kzalloc(sizeof(*inv), GFP_KERNEL);

	if (!inv)
		return ERR_PTR(-ENOMEM);
	spin_lock_init(&inv->lock);
	init_waitqueue_head(&inv->ended);
	atomic_inc(&nr_notifiers);
	return &inv->notifier;
}

static void notifier_free(struct mmu_notifier *notifier)
{
	kfree(from_notifier(notifier));
	if (atomic_dec_and_test(&nr_notifiers))
		wake_up_var(&nr_notifiers);
}

static const struct mmu_notifier_ops operations = {
	.invalidate_range_start = on_start,
	.invalidate_range_end = on_end,
	.alloc_notifier = notifier_alloc,
	.free_notifier = notifier_free,
};

int dmemfs_invalidations_get(struct vm_area_struct *vma)
{
	struct mmu_notifier *notifier;
	sigset_t all, old;

	/* The kernel does not register a notifier while a signal is pending. */
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &old);
	notifier = mmu_notifier_get_locked(&operations, vma->vm_mm);
	sigprocmask(SIG_SETMASK, &old, NULL);
	/* Something else than a signal is. mmap() has no such error: it shall be called again. */
	if (notifier == ERR_PTR(-EINTR))
		return -ERESTARTNOINTR;
	if (IS_ERR(notifier))
		return PTR_ERR(notifier);
	vma->vm_private_data = from_notifier(notifier);
	return 0;
}

void dmemfs_invalidations_put(struct vm_area_struct *vma)
{
	struct dmemfs_invalidations *inv = vma->vm_private_data;

	if (inv)
		mmu_notifier_put(&inv->notifier);
	vma->vm_private_data = NULL;
}

bool dmemfs_invalidations_wait(const struct vm_area_struct *vma)
{
	struct dmemfs_invalidations *inv = vma->vm_private_data;

	return wait_event_killable_timeout(inv->ended, !READ_ONCE(inv->running), PATIENCE) > 0;
}

vm_fault_t dmemfs_invalidations_insert(struct vm_fault *vmf, unsigned int order, unsigned long pfn)
{
	struct dmemfs_invalidations *inv = vmf->vma->vm_private_data;
	vm_fault_t ret = VM_FAULT_RETRY;

	if (!inv)
		return VM_FAULT_FALLBACK;
	spin_lock(&inv->lock);
	if (!inv->running)
		ret = dmemfs_pages_insert(vmf, order, pfn);
	spin_unlock(&inv->lock);
	return ret;
}

/* mmu_notifier_synchronize() does not wait for callbacks of other CPUs. notifier_free() is one; RCU waits for its end. */
void dmemfs_invalidations_exit(void)
{
	wait_var_event(&nr_notifiers, !atomic_read(&nr_notifiers));
	synchronize_rcu();
}

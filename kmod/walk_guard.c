// SPDX-License-Identifier: GPL-2.0-only
/*
 * Keeps mbind(2) away from our page tables on kernels whose walk takes the struct page of a 2-MiB entry for granted
 * (see compat.h): there, any process could crash the host by mbind(MPOL_MF_STRICT) on its own mapping.
 *
 * The walk's callback gets a kprobe. For our VMAs, and only for them, it sends the callback straight to a return of 0:
 * nothing here can move, and no page is on a wrong node. Where the probe cannot be set there are no large pages.
 */
#include "dmemfs.h"
#include "compat.h"

#include <linux/kprobes.h>
#include <linux/pagewalk.h>
#include <linux/ptrace.h>

#if DMEMFS_MBIND_NEEDS_GUARD && defined(CONFIG_NUMA)

#if defined(CONFIG_KPROBES) && defined(CONFIG_HAVE_FUNCTION_ARG_ACCESS_API)

/* Runs in place of the callback, with its arguments and its return address. */
static noinline notrace int skip_walk(void)
{
	return 0;
}

static int guard_walk(struct kprobe *probe, struct pt_regs *regs)
{
	/* queue_folios_pte_range(pmd_t *pmd, unsigned long addr, unsigned long end, struct mm_walk *walk) */
	const struct mm_walk *walk = (void *)regs_get_kernel_argument(regs, 3);

	if (walk->vma->vm_ops != &dmemfs_vm_operations)
		return 0;
	instruction_pointer_set(regs, (unsigned long)skip_walk);
	return 1;
}

NOKPROBE_SYMBOL(guard_walk);

static struct kprobe guard = {
	.symbol_name = "queue_folios_pte_range",
	.pre_handler = guard_walk,
};

enum dmemfs_huge dmemfs_walk_guard_init(void)
{
	int ret = register_kprobe(&guard);

	if (!ret)
		return DMEMFS_HUGE_GUARDED;
	pr_warn("no large pages: kprobe on %s: %d\n", guard.symbol_name, ret);
	guard.addr = NULL;
	return DMEMFS_HUGE_NO_GUARD;
}

void dmemfs_walk_guard_exit(void)
{
	if (guard.addr)
		unregister_kprobe(&guard);
}

#else

enum dmemfs_huge dmemfs_walk_guard_init(void)
{
	return DMEMFS_HUGE_NO_GUARD;
}

void dmemfs_walk_guard_exit(void)
{
}

#endif

#else

enum dmemfs_huge dmemfs_walk_guard_init(void)
{
	return DMEMFS_HUGE_SAFE;
}

void dmemfs_walk_guard_exit(void)
{
}

#endif

// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the kernel's own handling of memory errors does when it meets one in a region: nothing.
 *
 * From 6.19 on memory_failure() knows memory without struct page, if who has it registers it; what nobody has is fatal
 * for whoever comes across an error in it, a guest's virtual CPU for example. It would have all processes that map the
 * page killed, those that never touch it as well: it finds none, for the address space that it is given is empty.
 * Unmapping the page, and telling who wants to know or touches it, is poison.c's.
 *
 * What is taken for handled, x86 then takes out of its mapping of all memory, where ours never was, and WARNs of that
 * (__cpa_process_fault() in arch/x86/mm/pat/set_memory.c, 7.3). So that function gets a kprobe which sends it straight
 * to a return of 0 for pages of ours. Where the probe cannot be set, all is as on earlier kernels.
 */
#include "dmemfs.h"
#include "compat.h"

#if DMEMFS_FAILURES_CAN_BE_OURS

#include <linux/kprobes.h>
#include <linux/memory-failure.h>
#include <linux/ptrace.h>
#include <linux/slab.h>

struct dmemfs_failures {
	struct pfn_address_space space;
	struct address_space nobody;
};

/* Runs in place of the function, with its argument and its return address. */
static noinline notrace int nothing_to_unmap(void)
{
	return 0;
}

static int guard_unmap(struct kprobe *probe, struct pt_regs *regs)
{
	/* set_mce_nospec(unsigned long pfn) */
	if (!dmemfs_region_has(regs_get_kernel_argument(regs, 0)))
		return 0;
	instruction_pointer_set(regs, (unsigned long)nothing_to_unmap);
	return 1;
}

NOKPROBE_SYMBOL(guard_unmap);

static struct kprobe guard = {
	.symbol_name = "set_mce_nospec",
	.pre_handler = guard_unmap,
};

void __init dmemfs_failures_init(void)
{
	int ret = register_kprobe(&guard);

	if (!ret)
		return;
	pr_info("memory errors kill who comes across them: kprobe on %s: %d\n", guard.symbol_name, ret);
	guard.addr = NULL;
}

void dmemfs_failures_exit(void)
{
	if (guard.addr)
		unregister_kprobe(&guard);
}

static int no_place(struct vm_area_struct *vma, unsigned long pfn, pgoff_t *pgoff)
{
	return -ENOENT;
}

struct dmemfs_failures *dmemfs_failures_take(struct dmemfs_range pfns)
{
	struct dmemfs_failures *failures;

	if (!guard.addr)
		return NULL;
	failures = kzalloc(sizeof(*failures), GFP_KERNEL);
	if (!failures)
		return NULL;
	address_space_init_once(&failures->nobody);
	failures->space.node.start = pfns.first;
	failures->space.node.last = pfns.last;
	failures->space.mapping = &failures->nobody;
	failures->space.pfn_to_vma_pgoff = no_place;
	if (register_pfn_address_space(&failures->space)) {
		kfree(failures);
		return NULL;
	}
	return failures;
}

void dmemfs_failures_give_up(struct dmemfs_failures *failures)
{
	if (failures)
		unregister_pfn_address_space(&failures->space);
	kfree(failures);
}

#else

void __init dmemfs_failures_init(void)
{
}

void dmemfs_failures_exit(void)
{
}

struct dmemfs_failures *dmemfs_failures_take(struct dmemfs_range pfns)
{
	return NULL;
}

void dmemfs_failures_give_up(struct dmemfs_failures *failures)
{
}

#endif

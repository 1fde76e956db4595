/* SPDX-License-Identifier: GPL-2.0-only */
/* Everything that differs between kernel versions. */
#ifndef DMEMFS_COMPAT_H
#define DMEMFS_COMPAT_H

#include <linux/gfp.h>
#include <linux/huge_mm.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 12, 0)
#error dmemfs needs Linux 6.12: earlier ones cannot mark large page-table entries as having no struct page
#endif
#if !defined(CONFIG_64BIT) || PAGE_SIZE != 4096
#error dmemfs needs a 64-bit kernel with pages of 4 KiB
#endif
#ifndef CONFIG_MMU_NOTIFIER
#error dmemfs needs CONFIG_MMU_NOTIFIER, which KVM selects: see invalidate.c
#endif
/* See guard.c. */
#if !defined(CONFIG_DYNAMIC_FTRACE_WITH_ARGS) || !defined(CONFIG_KALLSYMS)
#error dmemfs needs CONFIG_FUNCTION_TRACER, CONFIG_DYNAMIC_FTRACE and CONFIG_KALLSYMS: devices could reach the memory
#endif

/*
 * mm/mempolicy.c: before 7.3 queue_folios_pmd() assumes that a 2-MiB entry has a struct page. Any process can make it
 * walk the process's own mappings with mbind(2).
 */
#define DMEMFS_MBIND_NEEDS_GUARD (LINUX_VERSION_CODE < KERNEL_VERSION(7, 3, 0) && IS_ENABLED(CONFIG_NUMA))

/*
 * Before 7.3 page-table walkers, such as reads of /proc/PID/pagemap and MADV_COLD, look up the struct page of a 2-MiB
 * entry in VM_MIXEDMAP mappings too. 4-KiB entries are special (pte_special()); all walkers handle them.
 */
#define DMEMFS_DISCARD_HUGE (LINUX_VERSION_CODE >= KERNEL_VERSION(7, 3, 0))

/*
 * Regions with struct pages need to know how the kernel counts the references of page-table entries to ZONE_DEVICE
 * pages: not at all (DEVMAP), or as those to all pages (COUNTED). It changed in many steps from 6.13 to 7.2; see
 * pages.c. Kernels whose source was not read for this are left out: memory could get an owner while it is held.
 */
#if defined(CONFIG_X86) && defined(CONFIG_ZONE_DEVICE)
#define DMEMFS_PAGES_DEVMAP (LINUX_VERSION_CODE < KERNEL_VERSION(6, 13, 0))
#define DMEMFS_PAGES_COUNTED                                                           \
	(IS_ENABLED(CONFIG_FS_DAX) && LINUX_VERSION_CODE >= KERNEL_VERSION(7, 3, 0) && \
	 LINUX_VERSION_CODE < KERNEL_VERSION(7, 4, 0))
#else
#define DMEMFS_PAGES_DEVMAP  0
#define DMEMFS_PAGES_COUNTED 0
#endif
#define DMEMFS_PAGES (DMEMFS_PAGES_DEVMAP || DMEMFS_PAGES_COUNTED)

/* Lending needs memory hotplug, and alloc_contig_range() to empty memory before it is removed: see lend.c. */
#define DMEMFS_LEND (IS_ENABLED(CONFIG_X86) && IS_ENABLED(CONFIG_MEMORY_HOTREMOVE) && IS_ENABLED(CONFIG_CONTIG_ALLOC))

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 17, 0)
#include <linux/pfn_t.h>
#define DMEMFS_PFN(pfn) __pfn_to_pfn_t(pfn, PFN_DEV)
#else
#define DMEMFS_PFN(pfn) (pfn)
#endif

/*
 * Inserts an entry for raw memory. vmf_insert_pfn() BUGs on a VM_MIXEDMAP mapping if the page frame number is valid
 * (pfn_valid()).
 */
static inline vm_fault_t dmemfs_insert(struct vm_fault *vmf, unsigned int order, unsigned long pfn)
{
	if (!order && (vmf->vma->vm_flags & VM_MIXEDMAP))
		return vmf_insert_mixed(vmf->vma, vmf->address, DMEMFS_PFN(pfn));
	if (!order)
		return vmf_insert_pfn(vmf->vma, vmf->address, pfn);
#ifdef CONFIG_TRANSPARENT_HUGEPAGE
	if (order == PMD_ORDER)
		return vmf_insert_pfn_pmd(vmf, DMEMFS_PFN(pfn), false);
#endif
#ifdef CONFIG_HAVE_ARCH_TRANSPARENT_HUGEPAGE_PUD
	if (order == PUD_ORDER)
		return vmf_insert_pfn_pud(vmf, DMEMFS_PFN(pfn), false);
#endif
	return VM_FAULT_FALLBACK;
}

/* Whether the task is in KVM_RUN or another ioctl of a vCPU: only KVM uses preempt notifiers. */
static inline bool dmemfs_is_vcpu(void)
{
#ifdef CONFIG_PREEMPT_NOTIFIERS
	return !hlist_empty(&current->preempt_notifiers);
#else
	return false;
#endif
}

/*
 * Takes all pages from @start up to @end out of use and allocates them. Before there were flags, the third argument was
 * a migrate type.
 */
static inline int dmemfs_alloc_range(unsigned long start, unsigned long end)
{
#ifdef ACR_FLAGS_NONE
	return alloc_contig_range_noprof(start, end, ACR_FLAGS_NONE, GFP_KERNEL | __GFP_NOWARN);
#else
	return alloc_contig_range_noprof(start, end, MIGRATE_MOVABLE, GFP_KERNEL | __GFP_NOWARN);
#endif
}

#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 2, 0)
#define dmemfs_zap_vma zap_special_vma_range
#else
#define dmemfs_zap_vma zap_vma_ptes
#endif

#endif

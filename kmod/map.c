// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mappings of objects: which pages a process gets, and how large they are.
 *
 * Faults hold obj->lock shared from the look at the extents until the entry is in the page table. Whoever takes memory
 * away holds it exclusively while zapping, so no entry can appear behind that one's back. Entries may go at any time.
 */
#include "dmemfs.h"
#include "compat.h"

#include <linux/pagemap.h>
#include <linux/sched.h>
#include <linux/uaccess.h>
#include <linux/userfaultfd_k.h>

static struct dmemfs_object *vma_object(const struct vm_area_struct *vma)
{
	return file_inode(vma->vm_file)->i_private;
}

/* Whether addresses and file offsets of a mapping agree modulo @size. */
static bool is_congruent(const struct vm_area_struct *vma, unsigned long size)
{
	return IS_ALIGNED((vma->vm_start >> PAGE_SHIFT) - vma->vm_pgoff, size >> PAGE_SHIFT);
}

bool dmemfs_vma_shows(const struct vm_area_struct *vma, const struct dmemfs_object *obj, unsigned long index)
{
	return vma->vm_ops == &dmemfs_vm_operations && vma_object(vma) == obj && index >= vma->vm_pgoff &&
	       index - vma->vm_pgoff < (vma->vm_end - vma->vm_start) >> PAGE_SHIFT;
}

/*
 * The one decision: the memory for the page of @order that is at @index of the file, where it may be mapped. Of a large
 * one the file offset is aligned as well: dmemfs_zap() takes whole pages by their offsets.
 * -EHWPOISON: some of it is lost.
 */
static int lookup(struct dmemfs_object *obj, pgoff_t index, unsigned int order, unsigned long *pfn)
{
	unsigned long last = index + (1UL << order) - 1;
	struct dmemfs_range run;
	unsigned long bad;

	if (last >= DIV_ROUND_UP_ULL(obj->size, PAGE_SIZE))
		return -EFAULT;
	if (dmemfs_extent_lookup(obj, index, &run, pfn) || last > run.last)
		return -EFAULT;
	if (!IS_ALIGNED(*pfn | index, 1UL << order))
		return -EFAULT;
	return dmemfs_poison_find((struct dmemfs_range){ *pfn, *pfn + (last - index) }, &bad) ? -EHWPOISON : 0;
}

/* Whether there is memory to come, which there is not yet. */
static bool is_demanded(struct dmemfs_object *obj, pgoff_t index)
{
	struct dmemfs_range run;
	unsigned long pfn;

	return (obj->mode & DMEMFS_MODE_DEMAND) && index < DIV_ROUND_UP_ULL(obj->size, PAGE_SIZE) &&
	       dmemfs_extent_lookup(obj, index, &run, &pfn);
}

/*
 * Never asks for a writable entry: that would be a WARN in the kernel where it meets a table in the place, and no lock
 * of ours keeps that away (see dmemfs.h). The VMA's protection makes entries writable, except while soft-dirty tracking
 * is on. A write to a large entry then has the kernel drop it, and gets small ones, which the kernel makes writable: a
 * large one would be read-only again, and be dropped again for ever.
 */
static vm_fault_t insert(struct vm_fault *vmf, unsigned int order, unsigned long pfn)
{
	vm_fault_t ret = VM_FAULT_FALLBACK;

	if (order && (vmf->flags & FAULT_FLAG_WRITE) && !pte_write(pfn_pte(pfn, vmf->vma->vm_page_prot)))
		return ret;
	if (!order) {
		/* Another thread has put a 2-MiB entry there, which serves us as well, and which the kernel takes for a bug. */
		if (pmd_trans_huge(pmdp_get_lockless(vmf->pmd)))
			return VM_FAULT_NOPAGE;
		ret = dmemfs_insert_pte(vmf, pfn);
	}
#ifdef CONFIG_TRANSPARENT_HUGEPAGE
	if (order == PMD_ORDER) {
		pmd_t old = pmdp_get_lockless(vmf->pmd);

		if (!(vmf->flags & FAULT_FLAG_WRITE) || !pmd_trans_huge(old) || pmd_write(old))
			ret = vmf_insert_pfn_pmd(vmf, DMEMFS_PFN(pfn), false);
	}
#endif
#ifdef CONFIG_HAVE_ARCH_TRANSPARENT_HUGEPAGE_PUD
	if (order == PUD_ORDER) {
		pud_t old = READ_ONCE(*vmf->pud);

		if (!(vmf->flags & FAULT_FLAG_WRITE) || !pud_trans_huge(old) || pud_write(old))
			ret = vmf_insert_pfn_pud(vmf, DMEMFS_PFN(pfn), false);
	}
#endif
	return ret;
}

static void count(struct dmemfs_object *obj, unsigned int order)
{
	if (!order)
		atomic64_inc(&obj->faults_4k);
	else if (order == PMD_ORDER)
		atomic64_inc(&obj->faults_2m);
	else
		atomic64_inc(&obj->faults_1g);
}

static u64 page_sizes(const struct vm_area_struct *vma)
{
	return vma->vm_flags & VM_MIXEDMAP ? dmemfs_discard_page_sizes() : dmemfs_page_sizes();
}

/*
 * Zapping one page takes the entries around it as well, and with them pages that others are about to use. The access is
 * made again then. But KVM looks for the entry itself, has the page faulted in, looks again, and tells user space of a
 * bad address if the entry has gone in between; unless the fault let go of the mmap_lock, which makes it begin anew.
 */
static bool needs_another_look(const struct vm_fault *vmf)
{
	const unsigned int unwanted = FAULT_FLAG_USER | FAULT_FLAG_TRIED | FAULT_FLAG_RETRY_NOWAIT;

	return (vmf->flags & FAULT_FLAG_ALLOW_RETRY) && !(vmf->flags & unwanted);
}

static vm_fault_t dmemfs_huge_fault(struct vm_fault *vmf, unsigned int order)
{
	struct vm_area_struct *vma = vmf->vma;
	struct dmemfs_object *obj = vma_object(vma);
	unsigned long size = PAGE_SIZE << order;
	unsigned long addr = ALIGN_DOWN(vmf->address, size);
	vm_fault_t ret = order ? VM_FAULT_FALLBACK : VM_FAULT_SIGBUS;
	struct dmemfs_pending_fault *fault = NULL;
	unsigned long pfn;
	int err;

	/*
	 * Some kernels register any mapping with userfaultfd for asynchronous write protection. Its markers in the page
	 * table are not replaced by what is inserted, so the access would fault for ever.
	 */
	if (userfaultfd_wp(vma))
		return VM_FAULT_SIGBUS;
	if (!(page_sizes(vma) & size) || addr < vma->vm_start || addr + size > vma->vm_end)
		return ret;
	/* Alone with a large page: none comes while insert() puts a small one in its place. */
	if (order)
		down_write(&obj->lock);
	else
		down_read(&obj->lock);
	err = lookup(obj, linear_page_index(vma, addr), order, &pfn);
	if (!err)
		ret = insert(vmf, order, pfn);
	/* Only the page itself is lost: those around it are mapped one by one. */
	else if (err == -EHWPOISON)
		ret = order ? VM_FAULT_FALLBACK : VM_FAULT_HWPOISON;
	/* Before the kernel puts a table in place, which would keep the large page from the unit when it comes. */
	else if (size <= obj->unit && is_demanded(obj, vmf->pgoff))
		fault = dmemfs_demand_ask(obj, vmf);
	/* Before the lock is free: dmemfs_zap() must know of the first 1-GiB entry. */
	if (ret == VM_FAULT_NOPAGE)
		count(obj, order);
	if (order)
		up_write(&obj->lock);
	else
		up_read(&obj->lock);
	if (ret == VM_FAULT_NOPAGE && needs_another_look(vmf)) {
		release_fault_lock(vmf);
		return VM_FAULT_RETRY;
	}
	if (!fault)
		return ret;
	if (IS_ERR(fault))
		return PTR_ERR(fault) == -ENOMEM ? VM_FAULT_OOM : VM_FAULT_SIGBUS;
	return dmemfs_demand_wait(obj, vmf, fault);
}

static vm_fault_t dmemfs_fault(struct vm_fault *vmf)
{
	return dmemfs_huge_fault(vmf, 0);
}

/*
 * The kernel cannot cut a 1-GiB entry that has no struct page: it would take the memory itself for a page table. So
 * the entry goes before the VMA is cut. The VMA is locked first, because its faults need not hold mmap_lock.
 */
static int dmemfs_may_split(struct vm_area_struct *vma, unsigned long addr)
{
	unsigned long start = ALIGN_DOWN(addr, PUD_SIZE);

	/* Mixed mappings have no entries of 1 GiB. */
	if (vma->vm_flags & VM_MIXEDMAP)
		return 0;
	if (addr == start || start < vma->vm_start || start + PUD_SIZE > vma->vm_end)
		return 0;
	vma_start_write(vma);
	dmemfs_zap_vma(vma, start, PUD_SIZE);
	return 0;
}

/*
 * A VMA was copied: for a split, which leaves what it maps in place; or for another process, by fork(), which copies a
 * 2-MiB entry without making sure under the lock that it is still there (copy_huge_pmd()), so the child gets none and
 * faults for itself; or for mremap(), which is about to move the entries of the page table. That takes a 1-GiB entry
 * for garbage and drops it without flushing the TLB: through the old address the process would keep access to memory
 * that may change hands. So the entries go before. No hook sees the old VMA, which is locked already; the file's pages
 * are unmapped wherever they are.
 */
static void dmemfs_vma_open(struct vm_area_struct *vma)
{
	struct dmemfs_object *obj = vma_object(vma);
	u64 offset = (u64)vma->vm_pgoff << PAGE_SHIFT;

	if (vma->vm_mm != current->mm) {
		/* Nothing is wiped: it keeps fork() from copying entries, and the memory is the file's. */
		vm_flags_set(vma, VM_WIPEONFORK);
		return;
	}
	/* A split's address is still that of the VMA which is being split; mremap() moves to an empty place. */
	if (vma_lookup(vma->vm_mm, vma->vm_start) || !atomic64_read(&obj->faults_1g))
		return;
	down_write(&obj->lock);
	dmemfs_zap(file_inode(vma->vm_file), offset, offset + (vma->vm_end - vma->vm_start));
	up_write(&obj->lock);
}

/* For gdb and /proc/PID/mem, which cannot get at the memory by its struct page. */
static int dmemfs_access(struct vm_area_struct *vma, unsigned long addr, void *buffer, int length, int write)
{
	struct dmemfs_object *obj = vma_object(vma);
	unsigned int offset = offset_in_page(addr);
	unsigned long pfn;
	void *mem;
	int ret;

	if (length <= 0 || !(vma->vm_flags & (write ? VM_WRITE : VM_MAYREAD)))
		return -EFAULT;
	length = min_t(int, length, PAGE_SIZE - offset);
	down_read(&obj->lock);
	ret = lookup(obj, linear_page_index(vma, addr), 0, &pfn);
	if (!ret) {
		if (!dmemfs_map(PFN_PHYS(pfn) + offset, length, &mem))
			ret = -EIO;
		else if (write)
			memcpy(mem, buffer, length);
		else if (copy_mc_to_kernel(buffer, mem, length))
			ret = -EIO;
		ret = ret ?: length;
	} else if (!write && is_demanded(obj, linear_page_index(vma, addr))) {
		memset(buffer, 0, length);
		ret = length;
	}
	up_read(&obj->lock);
	return ret;
}

const struct vm_operations_struct dmemfs_vm_operations = {
	.open = dmemfs_vma_open,
	.may_split = dmemfs_may_split,
	.fault = dmemfs_fault,
	.huge_fault = dmemfs_huge_fault,
	.access = dmemfs_access,
};

/* Tells the daemon when the address wastes large pages. */
static void report_alignment(struct dmemfs_object *obj, const struct vm_area_struct *vma)
{
	u64 sizes = page_sizes(vma);
	unsigned long length = vma->vm_end - vma->vm_start;
	struct dmemfs_event event = {
		.kind = DMEMFS_EVENT_UNALIGNED,
		.address = vma->vm_start,
		.offset = (u64)vma->vm_pgoff << PAGE_SHIFT,
		.length = length,
		.page_size = PAGE_SIZE,
	};

	if ((sizes & PMD_SIZE) && length >= PMD_SIZE && !is_congruent(vma, PMD_SIZE)) {
		dmemfs_event_mapping(obj, event);
	} else if ((sizes & PUD_SIZE) && length >= PUD_SIZE && !is_congruent(vma, PUD_SIZE)) {
		event.page_size = PMD_SIZE;
		dmemfs_event_mapping(obj, event);
	}
}

/* MADV_DONTNEED is refused on VM_PFNMAP. VM_IO keeps away who would look for pages, and leads KVM to our faults. */
static vm_flags_t kind_of_mapping(struct dmemfs_object *obj)
{
	return READ_ONCE(obj->mode) & DMEMFS_MODE_DISCARD ? VM_IO | VM_MIXEDMAP : VM_PFNMAP;
}

/* Whether the mapping ends inside of the file or its memory: what an eager file lacks does not come later. */
static bool has_memory(struct dmemfs_object *obj, struct vm_area_struct *vma)
{
	unsigned long last = vma->vm_pgoff + vma_pages(vma) - 1, pfn;
	struct dmemfs_range run;
	bool has;

	down_read(&obj->lock);
	has = (obj->mode & DMEMFS_MODE_DEMAND) || last < DIV_ROUND_UP_ULL(obj->size, PAGE_SIZE) ||
	      !dmemfs_extent_lookup(obj, last, &run, &pfn);
	up_read(&obj->lock);
	return has;
}

/* Inserts nothing: page-table walkers that cannot bear our entries run before the first fault (mbind after mmap). */
int dmemfs_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct dmemfs_object *obj = file_inode(file)->i_private;
	struct dmemfs_event refused = { .kind = DMEMFS_EVENT_PRIVATE, .length = vma->vm_end - vma->vm_start };

	if (!(vma->vm_flags & VM_MAYSHARE)) {
		pr_info_ratelimited("%s[%d]: MAP_PRIVATE would copy the memory; use MAP_SHARED (QEMU: share=on)\n",
				    current->comm, task_tgid_nr(current));
		dmemfs_event_mapping(obj, refused);
		return -EINVAL;
	}
	/* As on hugetlbfs: QEMU goes on when it cannot size its file, and learns here that there is no memory. */
	if (!has_memory(obj, vma))
		return -ENOMEM;
	vma->vm_ops = &dmemfs_vm_operations;
	/* VM_HUGEPAGE: else the THP setting "madvise" would keep large faults from us. */
	vm_flags_set(vma, kind_of_mapping(obj) | VM_DONTEXPAND | VM_DONTDUMP | VM_HUGEPAGE);
	report_alignment(obj, vma);
	return 0;
}

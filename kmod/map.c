// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mappings of objects: mmap and page faults, which decide what page a process gets and how large it is.
 *
 * A fault holds obj->lock from the lookup of the extent until the entry is in the page table: shared for a 4-KiB page,
 * exclusively for a large one. A function that takes memory away holds the lock exclusively while it zaps, so no entry
 * can appear meanwhile. The kernel may drop entries at any time (see dmemfs.h).
 */
#include "dmemfs.h"
#include "compat.h"

#include <linux/pagemap.h>
#include <linux/sched.h>
#include <linux/uaccess.h>
#include <linux/userfaultfd_k.h>

/* Not file_inode(): dmemfs_pages_mmap() may have set another file, of the same address space. */
static struct inode *vma_inode(const struct vm_area_struct *vma)
{
	return vma->vm_file->f_mapping->host;
}

static struct dmemfs_object *vma_object(const struct vm_area_struct *vma)
{
	return vma_inode(vma)->i_private;
}

/* Whether address and file offset of the mapping are equal modulo @size, as pages of that size need. */
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
 * Whether the page of @order at page @index of the file may be mapped: 0 and its memory in @pfn, or -EFAULT. All
 * accesses by mappings are decided here. The file offset of a large page must be aligned too, because dmemfs_zap()
 * unmaps whole pages by their file offsets. -EHWPOISON: some of the memory is poisoned.
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

/* Whether page @index is in a hole of an object in mode DEMAND, inside the size. */
static bool is_demanded(struct dmemfs_object *obj, pgoff_t index)
{
	struct dmemfs_range run;
	unsigned long pfn;

	return (obj->mode & DMEMFS_MODE_DEMAND) && index < DIV_ROUND_UP_ULL(obj->size, PAGE_SIZE) &&
	       dmemfs_extent_lookup(obj, index, &run, &pfn);
}

/*
 * Inserts the page into the page table. VM_FAULT_FALLBACK: try a smaller page.
 *
 * Never passes write=true to vmf_insert_pfn_pmd() and _pud(): the kernel WARNs if it then finds a table in the place of
 * the entry, and no lock of the module prevents that (see dmemfs.h). The VMA's protection makes entries writable,
 * except while soft-dirty tracking is on. Then a write to a large entry makes the kernel drop the entry. This function
 * answers that write with a 4-KiB page, which the kernel makes writable; another large entry would be read-only again
 * and be dropped again, without end.
 */
static vm_fault_t insert(struct vm_fault *vmf, unsigned int order, unsigned long pfn)
{
	bool write = vmf->flags & FAULT_FLAG_WRITE;

	if (order && write && !pte_write(pfn_pte(pfn, vmf->vma->vm_page_prot)))
		return VM_FAULT_FALLBACK;
	/* Another thread has inserted a 2-MiB entry, which will do. The kernel's functions treat it as a bug. */
	if (!order && pmd_leaf(pmdp_get_lockless(vmf->pmd)))
		return VM_FAULT_NOPAGE;
	if (order == PMD_ORDER && write) {
		pmd_t old = pmdp_get_lockless(vmf->pmd);

		if (pmd_leaf(old) && !pmd_write(old))
			return VM_FAULT_FALLBACK;
	}
#ifdef CONFIG_HAVE_ARCH_TRANSPARENT_HUGEPAGE_PUD
	if (order == PUD_ORDER && write) {
		pud_t old = READ_ONCE(*vmf->pud);

		if (pud_leaf(old) && !pud_write(old))
			return VM_FAULT_FALLBACK;
	}
#endif
	if (dmemfs_vma_is_raw(vmf->vma))
		return dmemfs_insert(vmf, order, pfn);
	if (order == PUD_ORDER)
		return dmemfs_invalidations_insert(vmf, order, pfn);
	return dmemfs_pages_insert(vmf, order, pfn);
}

/*
 * The kernel was removing entries of the process. Once it has ended, the process makes the access again. The fault does not
 * wait with a VMA lock: what has a process's mmap_lock for writing waits for those, with locks that others need.
 */
static vm_fault_t await_invalidations(struct vm_fault *vmf)
{
	if (vmf->flags & FAULT_FLAG_RETRY_NOWAIT)
		return VM_FAULT_RETRY;
	if (vmf->flags & FAULT_FLAG_VMA_LOCK) {
		release_fault_lock(vmf);
		return VM_FAULT_RETRY;
	}
	return dmemfs_invalidations_wait(vmf->vma) ? VM_FAULT_NOPAGE : VM_FAULT_FALLBACK;
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
	if (!dmemfs_vma_is_raw(vma))
		return dmemfs_pages_sizes(vma_object(vma)->order);
	return vma->vm_flags & VM_MIXEDMAP ? dmemfs_discard_page_sizes() : dmemfs_page_sizes();
}

/*
 * dmemfs_zap() also unmaps pages around its range, which other tasks may just have faulted in. Most tasks then fault
 * again. But KVM looks for the entry, faults the page in, looks again, and reports a bad address to user space if the
 * entry is gone by then. KVM starts anew only if the fault dropped the mmap_lock. This says whether a fault that
 * inserted its page should drop the lock and return VM_FAULT_RETRY for that reason.
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
	 * Some kernels let any mapping be registered with userfaultfd for asynchronous write protection. The functions
	 * that insert entries do not replace its markers in the page table, so the access would fault for ever.
	 */
	if (userfaultfd_wp(vma))
		return VM_FAULT_SIGBUS;
	if (!(page_sizes(vma) & size) || addr < vma->vm_start || addr + size > vma->vm_end)
		return ret;
	/* Exclusive for a large page: it must not appear while insert() puts a 4-KiB page in its place. */
	if (order)
		down_write(&obj->lock);
	else
		down_read(&obj->lock);
	err = lookup(obj, linear_page_index(vma, addr), order, &pfn);
	if (!err)
		ret = insert(vmf, order, pfn);
	/* Only the poisoned 4-KiB page is lost: the pages around it are mapped with smaller entries. */
	else if (err == -EHWPOISON)
		ret = order ? VM_FAULT_FALLBACK : VM_FAULT_HWPOISON;
	/*
	 * Wait at the largest order that fits into the unit, before the kernel puts a table in the place of the large
	 * entry: the table would keep the unit from being mapped with a large page when its memory comes.
	 */
	else if (size <= obj->unit && is_demanded(obj, vmf->pgoff))
		fault = dmemfs_demand_ask(obj, vmf);
	/* Count under the lock: dmemfs_zap() must see the count of the first 1-GiB entry. */
	if (ret == VM_FAULT_NOPAGE)
		count(obj, order);
	if (order)
		up_write(&obj->lock);
	else
		up_read(&obj->lock);
	if (ret == VM_FAULT_RETRY)
		return await_invalidations(vmf);
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

/* The file's pages, wherever they are mapped. */
static void zap_everywhere(struct vm_area_struct *vma, unsigned long addr, unsigned long size)
{
	struct dmemfs_object *obj = vma_object(vma);
	u64 offset = (u64)linear_page_index(vma, addr) << PAGE_SHIFT;

	if (!atomic64_read(&obj->faults_1g))
		return;
	down_write(&obj->lock);
	dmemfs_zap(vma_inode(vma), offset, offset + size);
	up_write(&obj->lock);
}

/*
 * Called before the kernel splits a VMA. The kernel cannot split a 1-GiB entry of raw memory: it would use the memory
 * itself as a page table. Nor is it known to split other ones well. So the entry at the split is dropped here. The VMA
 * is locked first, because faults need not hold the mmap_lock.
 */
static int dmemfs_may_split(struct vm_area_struct *vma, unsigned long addr)
{
	unsigned long start = ALIGN_DOWN(addr, PUD_SIZE);

	if (!(page_sizes(vma) & PUD_SIZE))
		return 0;
	if (addr == start || start < vma->vm_start || start + PUD_SIZE > vma->vm_end)
		return 0;
	vma_start_write(vma);
	if (dmemfs_vma_is_raw(vma))
		dmemfs_zap_vma(vma, start, PUD_SIZE);
	else
		zap_everywhere(vma, start, PUD_SIZE);
	return 0;
}

/*
 * Called when a VMA was copied, in one of three cases:
 * - A split: the entries stay in place.
 * - fork(): copy_huge_pmd() copies a 2-MiB entry without checking under the lock that it is still there. So the child
 *   gets no entries, and faults its pages in: smaller ones than 1 GiB of memory with struct pages, since no MMU notifier
 *   can be registered for it here.
 * - mremap(), which is about to move the page-table entries. It takes a 1-GiB entry for a bad one and drops it without
 *   flushing the TLB, so the process could still access the memory by the old address when the memory has another
 *   owner. So 1-GiB entries are dropped before. The old VMA is locked already and is not passed to this function, so
 *   the file's pages are unmapped from all processes.
 */
static void dmemfs_vma_open(struct vm_area_struct *vma)
{
	bool watched = vma->vm_private_data;

	vma->vm_private_data = NULL; /* it is the other VMA's */
	if (vma->vm_mm != current->mm) {
		/* Keeps fork() from copying entries. Nothing is wiped, because the memory belongs to the file. */
		vm_flags_set(vma, VM_WIPEONFORK);
		return;
	}
	/* Cannot fail: the process has the notifier. */
	WARN_ON_ONCE(watched && dmemfs_invalidations_get(vma));
	/* At a split, the old VMA is still found at this address. mremap() moves to a place without a VMA. */
	if (!vma_lookup(vma->vm_mm, vma->vm_start))
		zap_everywhere(vma, vma->vm_start, vma->vm_end - vma->vm_start);
}

/* Copies up to @length bytes of the page @pfn at @offset; returns how many. */
static int access_page(unsigned long pfn, unsigned int offset, void *buffer, int length, int write)
{
	u64 start = PFN_PHYS(pfn) + offset;
	int ret = length;
	void *mem;

	if (!dmemfs_poison_free(start, length))
		return -EIO;
	mem = dmemfs_window_open(start, length);
	if (!mem)
		return -ENOMEM;
	if (write)
		memcpy(mem, buffer, length);
	else if (copy_mc_to_kernel(buffer, mem, length))
		ret = -EIO;
	dmemfs_window_close(mem);
	return ret;
}

/* Access by gdb and /proc/PID/mem, which cannot use the struct page that other memory has. */
static int dmemfs_access(struct vm_area_struct *vma, unsigned long addr, void *buffer, int length, int write)
{
	struct dmemfs_object *obj = vma_object(vma);
	unsigned int offset = offset_in_page(addr);
	unsigned long pfn;
	int ret;

	if (length <= 0 || !(vma->vm_flags & (write ? VM_WRITE : VM_MAYREAD)))
		return -EFAULT;
	length = min_t(int, length, PAGE_SIZE - offset);
	down_read(&obj->lock);
	ret = lookup(obj, linear_page_index(vma, addr), 0, &pfn);
	if (!ret) {
		ret = access_page(pfn, offset, buffer, length, write);
	} else if (!write && is_demanded(obj, linear_page_index(vma, addr))) {
		memset(buffer, 0, length);
		ret = length;
	}
	up_read(&obj->lock);
	return ret;
}

const struct vm_operations_struct dmemfs_vm_operations = {
	.open = dmemfs_vma_open,
	.close = dmemfs_invalidations_put,
	.may_split = dmemfs_may_split,
	.fault = dmemfs_fault,
	.huge_fault = dmemfs_huge_fault,
	.access = dmemfs_access,
};

/* Tells the daemon if the mapping's address keeps it from using large pages. */
static void report_alignment(struct dmemfs_object *obj, const struct vm_area_struct *vma)
{
	const unsigned long large[] = { PMD_SIZE, PUD_SIZE };
	u64 sizes = page_sizes(vma);
	struct dmemfs_event event = {
		.kind = DMEMFS_EVENT_UNALIGNED,
		.address = vma->vm_start,
		.offset = (u64)vma->vm_pgoff << PAGE_SHIFT,
		.length = vma->vm_end - vma->vm_start,
		.page_size = PAGE_SIZE,
	};

	for (int i = 0; i < ARRAY_SIZE(large); i++) {
		if (!(sizes & large[i]) || event.length < large[i])
			continue;
		if (!is_congruent(vma, large[i])) {
			dmemfs_event_mapping(obj, event);
			return;
		}
		event.page_size = large[i];
	}
}

/*
 * Sets the VMA flags. Raw memory: the kernel refuses MADV_DONTNEED on VM_PFNMAP, so mode DISCARD uses VM_MIXEDMAP.
 * VM_IO keeps get_user_pages() from looking for struct pages, and makes KVM call this module's fault handler.
 */
static int set_kind_of_mapping(struct dmemfs_object *obj, struct vm_area_struct *vma)
{
	int ret = 0;

	if (!obj->order) {
		vm_flags_set(vma, READ_ONCE(obj->mode) & DMEMFS_MODE_DISCARD ? VM_IO | VM_MIXEDMAP : VM_PFNMAP);
		return 0;
	}
	if (obj->order == PUD_ORDER)
		ret = dmemfs_invalidations_get(vma);
	if (ret)
		return ret;
	ret = dmemfs_pages_mmap(vma, obj->order);
	if (ret)
		dmemfs_invalidations_put(vma);
	return ret;
}

/*
 * Whether the mapping ends inside the file's size or its memory. True in mode DEMAND, in which memory comes later;
 * other objects get no memory by being touched.
 */
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

/* Inserts no entries: so page-table walks right after mmap (mbind) find none that they cannot handle. */
int dmemfs_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct dmemfs_object *obj = file_inode(file)->i_private;
	struct dmemfs_event refused = { .kind = DMEMFS_EVENT_PRIVATE, .length = vma->vm_end - vma->vm_start };
	int ret;

	if (!(vma->vm_flags & VM_MAYSHARE)) {
		pr_info_ratelimited("%s[%d]: MAP_PRIVATE refused: it copies memory; use MAP_SHARED (QEMU: share=on)\n",
				    current->comm, task_tgid_nr(current));
		dmemfs_event_mapping(obj, refused);
		return -EINVAL;
	}
	/* As on hugetlbfs. QEMU ignores an error when it sizes its file; mmap must tell it that there is no memory. */
	if (!has_memory(obj, vma))
		return -ENOMEM;
	ret = set_kind_of_mapping(obj, vma);
	if (ret)
		return ret;
	vma->vm_ops = &dmemfs_vm_operations;
	/* VM_HUGEPAGE: without it, the THP setting "madvise" would keep the kernel from calling ->huge_fault. */
	vm_flags_set(vma, VM_DONTEXPAND | VM_DONTDUMP | VM_HUGEPAGE);
	report_alignment(obj, vma);
	return 0;
}

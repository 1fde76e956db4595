// SPDX-License-Identifier: GPL-2.0-only
/*
 * Regions that have struct pages: compound ones, so that a gigabyte of them takes tens of KiB. Whoever wants to hold
 * such memory can: get_user_pages() works on its mappings. All that differs between kernels about it is here.
 *
 * - The struct pages come with the claim and go with the release, a gigabyte at a time, and go meanwhile from what is
 *   lent (lend.c). folio->mapping is that of an inode of the region, which nobody maps. Futexes are told apart by it and
 *   by folio->index, and a process may sleep on one after the folio has got another owner. So each owner's folios have
 *   an index that no folio had before.
 * - The idle count of a folio is 1. While nobody owns the folio it is frozen at 0, so that nobody can get hold of it.
 *   A folio whose count is not 1 after it was unmapped is held, and must not be given to anybody else.
 * - Page-table entries of Linux 6.12 are devmap ones, which hold no reference, in VM_MIXEDMAP mappings; they may be
 *   smaller than the folio but never larger. Those of 7.3 hold a reference each and are ordinary ones of a plain
 *   mapping, of 4 KiB or of the whole folio; of 1 GiB only if the mapping is like that of device-dax.
 */
#include "dmemfs.h"
#include "compat.h"

#include <linux/anon_inodes.h>
#include <linux/backing-file.h>
#include <linux/dcache.h>
#include <linux/file.h>
#include <linux/huge_mm.h>
#include <linux/memremap.h>
#include <linux/module.h>
#include <linux/numa.h>
#include <linux/page_ref.h>
#include <linux/sizes.h>
#include <linux/slab.h>

int dmemfs_pages_check(u64 start, u64 length, unsigned int order)
{
	if (!order)
		return 0;
	if (order != PMD_ORDER && order != PUD_ORDER)
		return -EINVAL;
	if (!IS_ALIGNED(start | length, max((u64)DMEMFS_PAGES_ALIGNMENT, (u64)PAGE_SIZE << order)))
		return -EINVAL;
	return DMEMFS_PAGES ? 0 : -EOPNOTSUPP;
}

#if DMEMFS_PAGES

/* The struct pages of a region. Chunks begin at multiples of CHUNK, so what is lent is whole chunks. */
struct dmemfs_pages {
	struct dmemfs_range pfns;
	unsigned int order;
	struct file *file;	      /* holds the inode that the folios belong to */
	struct dev_pagemap *chunks[]; /* NULL: it is lent, or could not be made again */
};

#define CHUNK (SZ_1G >> PAGE_SHIFT)

/*
 * Before it returns the page is unmapped: whoever touched it would do so again, and the machine check come again. If it
 * returned -EOPNOTSUPP, the kernel would look for processes by folio->mapping, and find none.
 */
static int on_memory_failure(struct dev_pagemap *chunk, unsigned long pfn, unsigned long nr_pages, int flags)
{
	int ret = 0;

	while (nr_pages-- && !ret)
		ret = dmemfs_poison_failed(pfn++);
	return ret;
}

static const struct dev_pagemap_ops chunk_operations = {
	.memory_failure = on_memory_failure,
};

static struct dev_pagemap *chunk_new(struct dmemfs_range pfns, unsigned int order)
{
	struct dev_pagemap *chunk = kzalloc(sizeof(*chunk), GFP_KERNEL);
	void *addr;

	if (!chunk)
		return ERR_PTR(-ENOMEM);
	chunk->type = MEMORY_DEVICE_GENERIC;
	chunk->range = (struct range){ PFN_PHYS(pfns.first), PFN_PHYS(pfns.last + 1) - 1 };
	chunk->nr_range = 1;
	chunk->vmemmap_shift = order;
	chunk->ops = &chunk_operations;
	addr = memremap_pages(chunk, numa_map_to_online_node(phys_to_target_node(chunk->range.start)));
	if (!IS_ERR(addr))
		return chunk;
	kfree(chunk);
	return ERR_CAST(addr);
}

/*
 * A page that is reserved would be pinned by VFIO type 1 and never unpinned. Most struct pages of a folio are the same
 * one again, in which the bit is clear already (Documentation/mm/vmemmap_dedup.rst).
 */
static void clear_reserved(struct folio *folio)
{
	unsigned long i = 0;

	while (i < folio_nr_pages(folio) &&
	       test_and_clear_bit(PG_reserved, (unsigned long *)&folio_page(folio, i)->flags))
		i++;
}

static void prepare_folios(const struct dmemfs_pages *pages, struct dmemfs_range pfns, unsigned int order)
{
	for (unsigned long pfn = pfns.first; pfn <= pfns.last; pfn += 1UL << order) {
		struct folio *folio = pfn_folio(pfn);

		folio->mapping = file_inode(pages->file)->i_mapping;
		clear_reserved(folio);
		cond_resched();
	}
	WARN_ON_ONCE(dmemfs_pages_freeze(pfns, order) != pfns.last - pfns.first + 1);
}

/* No owner: it is closed before the module goes, and nobody else has it. */
static const struct file_operations region_operations = {};

/* The place in pages->chunks of the chunk that @pfn is in. */
static unsigned int chunk_at(const struct dmemfs_pages *pages, unsigned long pfn)
{
	return pfn / CHUNK - pages->pfns.first / CHUNK;
}

int dmemfs_pages_make(struct dmemfs_pages *pages, struct dmemfs_range pfns)
{
	struct dmemfs_range run = { pfns.first };

	for (; run.first <= pfns.last; run.first = run.last + 1) {
		struct dev_pagemap **chunk = &pages->chunks[chunk_at(pages, run.first)], *made;

		run.last = min(round_up(run.first + 1, CHUNK) - 1, pfns.last);
		if (*chunk)
			continue;
		made = chunk_new(run, pages->order);
		if (IS_ERR(made))
			return PTR_ERR(made);
		*chunk = made;
		prepare_folios(pages, run, pages->order);
	}
	return 0;
}

void dmemfs_pages_unmake(struct dmemfs_pages *pages, struct dmemfs_range pfns)
{
	for (unsigned int i = chunk_at(pages, pfns.first); i <= chunk_at(pages, pfns.last); i++) {
		if (!pages->chunks[i])
			continue;
		memunmap_pages(pages->chunks[i]);
		kfree(pages->chunks[i]);
		pages->chunks[i] = NULL;
	}
}

struct dmemfs_pages *dmemfs_pages_new(u64 start, u64 length, unsigned int order)
{
	struct dmemfs_range pfns = { PHYS_PFN(start), PHYS_PFN(start + length) - 1 };
	unsigned int nr_chunks = pfns.last / CHUNK - pfns.first / CHUNK + 1;
	struct dmemfs_pages *pages = kvzalloc(struct_size(pages, chunks, nr_chunks), GFP_KERNEL);
	struct file *file;
	int ret;

	if (!pages)
		return ERR_PTR(-ENOMEM);
	file = anon_inode_create_getfile("[dmemfs]", &region_operations, NULL, O_RDWR, NULL);
	if (IS_ERR(file)) {
		kvfree(pages);
		return ERR_CAST(file);
	}
	pages->pfns = pfns;
	pages->order = order;
	pages->file = file;
	ret = dmemfs_pages_make(pages, pfns);
	if (!ret)
		return pages;
	dmemfs_pages_destroy(pages);
	return ERR_PTR(ret);
}

void dmemfs_pages_destroy(struct dmemfs_pages *pages)
{
	dmemfs_pages_unmake(pages, pages->pfns);
	__fput_sync(pages->file);
	kvfree(pages);
}

unsigned long dmemfs_pages_freeze(struct dmemfs_range pfns, unsigned int order)
{
	unsigned long pfn = pfns.first;

	while (pfn <= pfns.last && folio_ref_freeze(pfn_folio(pfn), 1)) {
		pfn += 1UL << order;
		cond_resched();
	}
	return pfn - pfns.first;
}

void dmemfs_pages_unfreeze(struct dmemfs_range pfns, unsigned int order)
{
	static unsigned long next_index;

	for (unsigned long pfn = pfns.first; pfn <= pfns.last; pfn += 1UL << order) {
		struct folio *folio = pfn_folio(pfn);

		folio->index = next_index;
		next_index += 1UL << order;
		folio_ref_unfreeze(folio, 1);
		cond_resched();
	}
}

bool dmemfs_pages_held(struct dmemfs_range pfns, unsigned int order)
{
	for (unsigned long pfn = pfns.first; pfn <= pfns.last; pfn += 1UL << order) {
		if (folio_ref_count(pfn_folio(pfn)) > 1)
			return true;
		cond_resched();
	}
	return false;
}

u64 dmemfs_pages_sizes(unsigned int order)
{
	u64 sizes = PAGE_SIZE;

	if (dmemfs_huge == DMEMFS_HUGE_KERNEL || dmemfs_huge == DMEMFS_HUGE_PARAMETER)
		return sizes;
	if (order == PMD_ORDER || DMEMFS_PAGES_DEVMAP)
		sizes |= PMD_SIZE;
	if (order == PUD_ORDER && IS_ENABLED(CONFIG_HAVE_ARCH_TRANSPARENT_HUGEPAGE_PUD))
		sizes |= PUD_SIZE;
	return sizes;
}

#if DMEMFS_PAGES_DEVMAP
vm_fault_t dmemfs_pages_insert(struct vm_fault *vmf, unsigned int order, unsigned long pfn)
{
	pfn_t page = __pfn_to_pfn_t(pfn, PFN_DEV | PFN_MAP);

	if (!order)
		return vmf_insert_mixed(vmf->vma, vmf->address, page);
#ifdef CONFIG_TRANSPARENT_HUGEPAGE
	if (order == PMD_ORDER)
		return vmf_insert_pfn_pmd(vmf, page, false);
#endif
#ifdef CONFIG_HAVE_ARCH_TRANSPARENT_HUGEPAGE_PUD
	if (order == PUD_ORDER)
		return vmf_insert_pfn_pud(vmf, page, false);
#endif
	return VM_FAULT_FALLBACK;
}

unsigned int dmemfs_pages_inode_flags(unsigned int order)
{
	return 0;
}

/* Not VM_IO, which get_user_pages() refuses. In a plain mapping the kernel would count references. */
int dmemfs_pages_mmap(struct vm_area_struct *vma, unsigned int order)
{
	vm_flags_set(vma, VM_MIXEDMAP);
	return 0;
}
#else /* DMEMFS_PAGES_COUNTED */
/*
 * All entries of 4 KiB in a folio of 1 GiB count in its one counter of 32 bits: 32 GiB of page tables could make it
 * wrap, and then a folio that is held could be frozen. The kernel does not check this where it makes entries.
 */
#define MAX_REFERENCES (INT_MAX / 2)

vm_fault_t dmemfs_pages_insert(struct vm_fault *vmf, unsigned int order, unsigned long pfn)
{
	if (folio_ref_count(pfn_folio(pfn)) > MAX_REFERENCES)
		return VM_FAULT_SIGBUS;
	if (!order)
		return vmf_insert_page_mkwrite(vmf, pfn_to_page(pfn), false);
#ifdef CONFIG_TRANSPARENT_HUGEPAGE
	if (order == PMD_ORDER)
		return vmf_insert_folio_pmd(vmf, pfn_folio(pfn), false);
#endif
#ifdef CONFIG_HAVE_ARCH_TRANSPARENT_HUGEPAGE_PUD
	if (order == PUD_ORDER)
		return vmf_insert_folio_pud(vmf, pfn_folio(pfn), false);
#endif
	return VM_FAULT_FALLBACK;
}

unsigned int dmemfs_pages_inode_flags(unsigned int order)
{
	return order == PUD_ORDER ? S_DAX : 0;
}

static int character_release(struct inode *inode, struct file *file)
{
	iput(file->private_data);
	return 0;
}

static const struct file_operations character_operations = {
	.owner = THIS_MODULE, .release = character_release, .fsync = noop_fsync, /* for msync() */
};

/*
 * A file of a character device that is mapped as the object of @file is. /proc/PID/maps shows the path and the inode of
 * @file for it: those of the FUSE file, if @file is a FUSE backing file.
 */
static struct file *character_file(const struct file *file)
{
	struct inode *object = file->f_mapping->host;
	struct inode *inode = new_inode(object->i_sb);
	struct path path = { .mnt = file->f_path.mnt };
	struct file *character;

	if (!inode)
		return ERR_PTR(-ENOMEM);
	inode->i_mode = S_IFCHR | 0600;
	inode->i_fop = &character_operations;
	path.dentry = d_obtain_alias(inode); /* also puts the inode if it fails */
	if (IS_ERR(path.dentry))
		return ERR_CAST(path.dentry);
	character = backing_file_open(file, O_RDWR | O_LARGEFILE, &path, file->f_cred);
	dput(path.dentry);
	if (IS_ERR(character))
		return character;
	ihold(object);
	character->private_data = object;
	character->f_mapping = object->i_mapping;
	return character;
}

/*
 * The kernel cuts entries of 1 GiB only in mappings whose address space is S_DAX, else it forgets their reference; and
 * such a mapping can be pinned for long only if its file is a character device.
 */
int dmemfs_pages_mmap(struct vm_area_struct *vma, unsigned int order)
{
	struct file *file;

	if (order != PUD_ORDER)
		return 0;
	file = character_file(vma->vm_file);
	if (IS_ERR(file))
		return PTR_ERR(file);
	vma_set_file(vma, file);
	fput(file);
	return 0;
}
#endif

#else /* No region with struct pages can be claimed on this kernel. */
struct dmemfs_pages *dmemfs_pages_new(u64 start, u64 length, unsigned int order)
{
	return ERR_PTR(-EOPNOTSUPP);
}

void dmemfs_pages_destroy(struct dmemfs_pages *pages)
{
}

int dmemfs_pages_make(struct dmemfs_pages *pages, struct dmemfs_range pfns)
{
	return -EOPNOTSUPP;
}

void dmemfs_pages_unmake(struct dmemfs_pages *pages, struct dmemfs_range pfns)
{
}

unsigned long dmemfs_pages_freeze(struct dmemfs_range pfns, unsigned int order)
{
	return 0;
}

void dmemfs_pages_unfreeze(struct dmemfs_range pfns, unsigned int order)
{
}

bool dmemfs_pages_held(struct dmemfs_range pfns, unsigned int order)
{
	return false;
}

u64 dmemfs_pages_sizes(unsigned int order)
{
	return PAGE_SIZE;
}

vm_fault_t dmemfs_pages_insert(struct vm_fault *vmf, unsigned int order, unsigned long pfn)
{
	return VM_FAULT_SIGBUS;
}

unsigned int dmemfs_pages_inode_flags(unsigned int order)
{
	return 0;
}

int dmemfs_pages_mmap(struct vm_area_struct *vma, unsigned int order)
{
	return -EOPNOTSUPP;
}
#endif

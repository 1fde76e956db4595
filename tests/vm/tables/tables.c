// SPDX-License-Identifier: GPL-2.0-only
/*
 * Looks for a range of physical memory in the kernel's own page tables, and can keep it out of them. Parameters:
 *
 *   start, length  the range, in bytes
 *   entries        when it is read: how many entries of 4 KiB, 2 MiB and 1 GiB point into the range
 *   refuse         so many calls of memremap() and memremap_pages() for memory in the range fail
 */
#include <linux/kprobes.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/uaccess.h>
#ifdef CONFIG_KASAN
#include <linux/kasan.h>
#endif

#define KERNEL_HALF (PTRS_PER_PGD / 2)
#define LEAVES      3 /* levels on which an entry can map memory */

static ulong start, length;
module_param(start, ulong, 0600);
module_param(length, ulong, 0600);

static int refuse;
module_param(refuse, int, 0600);

static bool is_in_range(u64 first, u64 size)
{
	return first < start + length && start < first + size;
}

/* KASAN's shadow consists of the same few tables again and again. */
static bool is_shadow(unsigned long address)
{
#ifdef CONFIG_KASAN
	return address >= KASAN_SHADOW_START && address < KASAN_SHADOW_END;
#else
	return false;
#endif
}

/* @level: 0 for entries of 4 KiB. @base: the address of the table's first entry. */
static void walk(const u64 *table, int first, int level, unsigned long base, unsigned long *found)
{
	unsigned int shift = PAGE_SHIFT + level * (PMD_SHIFT - PAGE_SHIFT);

	for (int i = first; i < PTRS_PER_PTE; i++) {
		unsigned long address = base + ((unsigned long)i << shift);
		u64 entry, memory;

		if (copy_from_kernel_nofault(&entry, table + i, sizeof(entry)) || !(entry & _PAGE_PRESENT))
			continue;
		memory = entry & PTE_PFN_MASK;
		if (level && !(level < LEAVES && (entry & _PAGE_PSE))) {
			if (!is_shadow(address))
				walk(__va(memory), 0, level - 1, address, found);
		} else if (is_in_range(round_down(memory, 1UL << shift), 1UL << shift)) {
			found[level]++;
		}
	}
	cond_resched();
}

/* All processes have the kernel's half of the table, that of vmalloc() included (preallocate_vmalloc_pages()). */
static int get_entries(char *buffer, const struct kernel_param *param)
{
	int level = pgtable_l5_enabled() ? 4 : 3;
	unsigned long base = -(1UL << (PGDIR_SHIFT + 9));
	unsigned long found[LEAVES] = {};

	walk((u64 *)current->active_mm->pgd, KERNEL_HALF, level, base, found);
	return sysfs_emit(buffer, "%lu %lu %lu\n", found[0], found[1], found[2]);
}

static const struct kernel_param_ops entries_operations = { .get = get_entries };
module_param_cb(entries, &entries_operations, NULL, 0400);

static noinline notrace void *return_null(void)
{
	return NULL;
}

static noinline notrace void *return_no_memory(void)
{
	return ERR_PTR(-ENOMEM);
}

static int refuse_call(struct pt_regs *regs, u64 first, u64 size, void *(*instead)(void))
{
	if (READ_ONCE(refuse) <= 0 || !is_in_range(first, size))
		return 0;
	WRITE_ONCE(refuse, refuse - 1);
	instruction_pointer_set(regs, (unsigned long)instead);
	return 1;
}

/* memremap(resource_size_t offset, size_t size, unsigned long flags) */
static int before_memremap(struct kprobe *probe, struct pt_regs *regs)
{
	return refuse_call(regs, regs->di, regs->si, return_null);
}

/* memremap_pages(struct dev_pagemap *pgmap, int nid) */
static int before_memremap_pages(struct kprobe *probe, struct pt_regs *regs)
{
	const struct range *range = &((struct dev_pagemap *)regs->di)->range;

	return refuse_call(regs, range->start, range_len(range), return_no_memory);
}

/* With this the kernel does not turn the probe into a jump, which could not redirect the function. */
static void after(struct kprobe *probe, struct pt_regs *regs, unsigned long flags)
{
}

static struct kprobe memremap_probe = {
	.symbol_name = "memremap",
	.pre_handler = before_memremap,
	.post_handler = after,
};

static struct kprobe memremap_pages_probe = {
	.symbol_name = "memremap_pages",
	.pre_handler = before_memremap_pages,
	.post_handler = after,
};

static struct kprobe *probes[] = { &memremap_probe, &memremap_pages_probe };

static int __init tables_init(void)
{
	return register_kprobes(probes, ARRAY_SIZE(probes));
}

static void __exit tables_exit(void)
{
	unregister_kprobes(probes, ARRAY_SIZE(probes));
}

module_init(tables_init);
module_exit(tables_exit);
MODULE_DESCRIPTION("Counts what the kernel's page tables map of a range");
MODULE_LICENSE("GPL");

// SPDX-License-Identifier: GPL-2.0-only
/*
 * Claimed regions of reserved memory, and which object owns which page of them.
 *
 * dmemfs_region_lock protects all data of this file. Two trees are indexed by page frame number: regions, and owners,
 * in which every run of owned pages points to its object. A region cannot be released while an object owns memory in
 * it, or while some of it is being zeroed.
 */
#include "dmemfs.h"

#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/mutex.h>
#include <linux/numa.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/suspend.h>

struct region {
	u64 start;
	u64 length;
	u64 node_length;
	int node;
	void *kaddr; /* mapped write-back; while it exists, mappings of processes are write-back as well (PAT) */
	struct resource *resource;
};

/* Memory without an owner that dmemfs_region_zero() is zeroing; on its stack. */
struct clearing {
	struct list_head link;
	struct dmemfs_range pfns;
};

DEFINE_MUTEX(dmemfs_region_lock); /* protects this file's data */
/* Uses RCU, so that dmemfs_map() and dmemfs_in_region() need no lock. */
static struct maple_tree regions = MTREE_INIT(regions, MT_FLAGS_USE_RCU);
static unsigned int nr_regions;
static struct maple_tree owners = MTREE_INIT_EXT(owners, MT_FLAGS_LOCK_EXTERN, dmemfs_region_lock);
static LIST_HEAD(clearings);

static struct dmemfs_range region_pfns(const struct region *region)
{
	return (struct dmemfs_range){ PHYS_PFN(region->start), PHYS_PFN(region->start + region->length) - 1 };
}

bool dmemfs_in_region(struct dmemfs_range pfns)
{
	MA_STATE(mas, &regions, pfns.first, pfns.first);

	guard(rcu)();
	return mas_walk(&mas) && pfns.last <= mas.last;
}

static bool is_clearing(struct dmemfs_range pfns)
{
	struct clearing *clearing;

	list_for_each_entry(clearing, &clearings, link) {
		if (clearing->pfns.first <= pfns.last && pfns.first <= clearing->pfns.last)
			return true;
	}
	return false;
}

static bool is_unused(struct dmemfs_range pfns)
{
	MA_STATE(mas, &owners, pfns.first, pfns.first);

	return !mas_find(&mas, pfns.last) && !is_clearing(pfns);
}

static u64 owned_bytes(struct dmemfs_range pfns)
{
	MA_STATE(mas, &owners, pfns.first, pfns.first);
	u64 pages = 0;

	while (mas_find(&mas, pfns.last)) {
		pages += min(mas.last, pfns.last) - max(mas.index, pfns.first) + 1;
		cond_resched();
	}
	return pages << PAGE_SHIFT;
}

/* Sets the NUMA node of the region's start and how far it reaches. Nodes begin and end at multiples of 2 MiB. */
static void find_node(struct region *region)
{
	u64 end = region->start + region->length;
	u64 pos = ALIGN(region->start + 1, SZ_2M);

	region->node = phys_to_target_node(region->start);
	while (pos < end && phys_to_target_node(pos) == region->node) {
		pos += SZ_2M;
		cond_resched();
	}
	region->node_length = min(pos, end) - region->start;
}

static void region_destroy(struct region *region)
{
	memunmap(region->kaddr);
	release_mem_region(region->start, region->length);
	kfree(region);
}

static struct region *region_new(u64 start, u64 length)
{
	struct region *region;
	int ret;

	region = kzalloc(sizeof(*region), GFP_KERNEL);
	if (!region)
		return ERR_PTR(-ENOMEM);
	region->start = start;
	region->length = length;

	ret = -EBUSY;
	region->resource = request_mem_region(start, length, KBUILD_MODNAME);
	if (!region->resource)
		goto err_free;
	/* memremap() fails if MTRRs or other mappings of the range do not allow write-back. */
	ret = -EIO;
	region->kaddr = memremap(start, length, MEMREMAP_WB);
	if (!region->kaddr)
		goto err_release;
	find_node(region);
	return region;

err_release:
	release_mem_region(start, length);
err_free:
	kfree(region);
	return ERR_PTR(ret);
}

static void region_describe(const struct region *region, struct dmemfs_region *arg)
{
	*arg = (struct dmemfs_region){
		.start = region->start,
		.length = region->length,
		.owned = owned_bytes(region_pfns(region)),
		.node = region->node,
		.node_length = region->node_length,
	};
}

int dmemfs_region_claim(struct dmemfs_region *arg)
{
	struct dmemfs_range pfns;
	struct region *region;
	unsigned long index;
	unsigned int flags;
	int ret;

	ret = dmemfs_pages(arg->start, arg->length, &pfns);
	if (ret)
		return ret;
	if (pfns.last >= PHYS_PFN(1ULL << MAX_PHYSMEM_BITS))
		return -EINVAL;
	ret = dmemfs_check_reserved(arg->start, arg->length);
	if (ret)
		return ret;

	/* Wait if the machine is hibernating: on_sleep() has been asked already. */
	flags = lock_system_sleep();
	mutex_lock(&dmemfs_region_lock);
	index = pfns.first;
	ret = -EEXIST;
	if (mt_find(&regions, &index, pfns.last))
		goto out;
	ret = -ENOSPC;
	if (nr_regions == DMEMFS_REGIONS_MAX)
		goto out;
	region = region_new(arg->start, arg->length);
	ret = PTR_ERR_OR_ZERO(region);
	if (ret)
		goto out;
	ret = mtree_insert_range(&regions, pfns.first, pfns.last, region, GFP_KERNEL);
	if (ret) {
		region_destroy(region);
		goto out;
	}
	nr_regions++;
	region_describe(region, arg);
out:
	mutex_unlock(&dmemfs_region_lock);
	unlock_system_sleep(flags);
	return ret;
}

int dmemfs_region_next(struct dmemfs_region *arg)
{
	unsigned long index = PHYS_PFN(arg->start);
	struct region *region;

	mutex_lock(&dmemfs_region_lock);
	/* Skip a region that begins before .start and reaches past it. */
	region = mtree_load(&regions, index);
	if (region && region->start < arg->start)
		index = region_pfns(region).last + 1;
	region = mt_find(&regions, &index, ULONG_MAX);
	if (region)
		region_describe(region, arg);
	mutex_unlock(&dmemfs_region_lock);
	return region ? 0 : -ENOENT;
}

int dmemfs_region_release(const struct dmemfs_region *arg)
{
	struct region *region;
	int ret = 0;

	mutex_lock(&dmemfs_region_lock);
	region = mtree_load(&regions, PHYS_PFN(arg->start));
	if (!region || region->start != arg->start || region->length != arg->length) {
		ret = -ENOENT;
	} else if (!is_unused(region_pfns(region))) {
		ret = -EBUSY;
	} else {
		mtree_erase(&regions, PHYS_PFN(region->start));
		nr_regions--;
		region_destroy(region);
	}
	mutex_unlock(&dmemfs_region_lock);
	return ret;
}

int dmemfs_own_prepare(struct ma_state *mas, struct dmemfs_range pfns, struct dmemfs_object *obj)
{
	lockdep_assert_held(&dmemfs_region_lock);
	mas_init(mas, &owners, pfns.first);
	if (obj) {
		if (!dmemfs_in_region(pfns))
			return -ENXIO;
		if (!is_unused(pfns))
			return -EBUSY;
		/* One entry for runs that touch and have the same owner. */
		dmemfs_join(mas, pfns, obj);
	} else {
		mas_set_range(mas, pfns.first, pfns.last);
	}
	return mas_preallocate(mas, obj, GFP_KERNEL);
}

struct dmemfs_object *dmemfs_owner_get(unsigned long pfn)
{
	MA_STATE(mas, &owners, pfn, pfn);
	struct dmemfs_object *obj;

	mutex_lock(&dmemfs_region_lock);
	obj = mas_walk(&mas);
	/* An object that owns memory has references, and it cannot lose the memory while this lock is held. */
	if (obj)
		kref_get(&obj->ref);
	mutex_unlock(&dmemfs_region_lock);
	return obj;
}

/* Ends at the end of the region: the kernel's mappings of regions that touch need not touch. */
size_t dmemfs_map(u64 start, size_t length, void **addr)
{
	struct region *region = mtree_load(&regions, PHYS_PFN(start));
	unsigned long bad;

	*addr = region->kaddr + (start - region->start);
	length = min_t(u64, length, region->start + region->length - start);
	if (!dmemfs_poison_find((struct dmemfs_range){ PHYS_PFN(start), PHYS_PFN(start + length - 1) }, &bad))
		return length;
	return bad == PHYS_PFN(start) ? 0 : PFN_PHYS(bad) - start;
}

static void write_zeroes(void *addr, size_t length)
{
	memset(addr, 0, length);
}

/*
 * Writes zeroes past the caches, for memory that is not read soon, so that other data stays cached. It is as fast as
 * memset(): neither reads a cache line before it is overwritten. @length is a multiple of 256.
 */
static void stream_zeroes(void *addr, size_t length)
{
#ifdef CONFIG_X86_64
	unsigned long *word = addr, *end = addr + length;

	for (; word < end; word += 32) {
#pragma GCC unroll 32
		for (int i = 0; i < 32; i++)
			asm volatile("movnti %1, %0" : "=m"(word[i]) : "r"(0UL));
	}
	/* Locks do not order these stores. They must be visible before the memory gets an owner. */
	wmb();
#else
	write_zeroes(addr, length);
#endif
}

static int clear_by(void (*zero)(void *addr, size_t length), u64 start, size_t length)
{
	while (length) {
		void *addr;
		size_t step = dmemfs_map(start, min_t(size_t, length, SZ_2M), &addr);

		if (step)
			zero(addr, step);
		else
			step = min_t(size_t, length, PAGE_SIZE - offset_in_page(start));
		start += step;
		length -= step;
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
	}
	return 0;
}

int dmemfs_clear(u64 start, size_t length)
{
	return clear_by(write_zeroes, start, length);
}

int dmemfs_region_zero(u64 start, u64 length)
{
	struct clearing clearing;
	int ret;

	ret = dmemfs_pages(start, length, &clearing.pfns);
	if (ret)
		return ret;

	mutex_lock(&dmemfs_region_lock);
	if (!dmemfs_in_region(clearing.pfns))
		ret = -ENXIO;
	else if (!is_unused(clearing.pfns))
		ret = -EBUSY;
	else
		list_add(&clearing.link, &clearings);
	mutex_unlock(&dmemfs_region_lock);
	if (ret)
		return ret;

	ret = clear_by(stream_zeroes, start, length);

	mutex_lock(&dmemfs_region_lock);
	list_del(&clearing.link);
	mutex_unlock(&dmemfs_region_lock);
	return ret;
}

/*
 * Refuses hibernation while a region is claimed. The image would contain the module's records of owners and of zeroed
 * memory, but not the memory itself.
 */
static int on_sleep(struct notifier_block *block, unsigned long action, void *data)
{
	if ((action != PM_HIBERNATION_PREPARE && action != PM_RESTORE_PREPARE) || !READ_ONCE(nr_regions))
		return NOTIFY_DONE;
	pr_warn("no hibernation: the image would not contain the memory of claimed regions; unload the module first\n");
	return notifier_from_errno(-EBUSY);
}

static struct notifier_block sleep = { .notifier_call = on_sleep };

int __init dmemfs_regions_init(void)
{
	return register_pm_notifier(&sleep);
}

/* The module is being unloaded. The objects were freed before, so their entries in owners are not used any more. */
void dmemfs_regions_exit(void)
{
	unsigned long index = 0;
	struct region *region;

	unregister_pm_notifier(&sleep);
	mutex_lock(&dmemfs_region_lock);
	__mt_destroy(&owners);
	mt_for_each(&regions, region, index, ULONG_MAX)
		region_destroy(region);
	mutex_unlock(&dmemfs_region_lock);
	mtree_destroy(&regions);
}

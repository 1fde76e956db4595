// SPDX-License-Identifier: GPL-2.0-only
/*
 * Claimed regions of reserved memory, and which object owns which page of them.
 *
 * dmemfs_region_lock protects all data of this file. Two trees are indexed by page frame number: regions, and owners,
 * in which every run of owned pages points to its object, and every run of pinned folios and every unit that is lent to
 * a mark. A region cannot be released while some of it is owned, pinned, lent or being zeroed.
 *
 * The mutex claims serializes claims and releases of regions, and is taken first. While struct pages are made or
 * destroyed only this mutex is held: dmemfs_pages_destroy() waits for memory failures, which take dmemfs_region_lock.
 */
#include "dmemfs.h"

#include <linux/cleanup.h>
#include <linux/ioport.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/suspend.h>
#include <linux/workqueue.h>

struct region {
	u64 start;
	u64 length;
	u64 node_length;
	int node;
	unsigned int order;	    /* of the folios; 0: raw */
	struct dmemfs_pages *pages; /* NULL: raw */
	struct resource *resource;
	unsigned int nr_lent; /* units */
};

/* Memory without an owner that dmemfs_region_zero() is zeroing; on its stack. */
struct clearing {
	struct list_head link;
	struct dmemfs_range pfns;
};

DEFINE_MUTEX(dmemfs_region_lock); /* protects this file's data */
/* Uses RCU, so that dmemfs_is_raw() and dmemfs_in_region() need no lock. */
static struct maple_tree regions = MTREE_INIT(regions, MT_FLAGS_USE_RCU);
static unsigned int nr_regions;
static struct maple_tree owners = MTREE_INIT_EXT(owners, MT_FLAGS_LOCK_EXTERN, dmemfs_region_lock);
static LIST_HEAD(clearings);
static DEFINE_MUTEX(claims);
/* The entries in owners of pinned folios, and of lent units, which may have other struct pages than the region's. */
#define PINNED xa_mk_value(0)
#define LENT   xa_mk_value(1)
/* How many entries of owners, or folios, are looked at before others get dmemfs_region_lock. */
#define BATCH 1024
/* The most time until the holders are looked at again; it begins with a second, and doubles each time. */
#define LOOK_DELAY_MAX (16UL * HZ)
static unsigned long look_delay, nr_holds; /* the second counts calls of hold_module() */
/* Whether the module is held because somebody holds memory that no file or mapping reaches. */
static bool holds_module;
static void look_at_holders(struct work_struct *work);
static DECLARE_DELAYED_WORK(holders, look_at_holders);

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
	void *owner;

	while ((owner = mas_find(&mas, pfns.last))) {
		if (!xa_is_value(owner))
			pages += min(mas.last, pfns.last) - max(mas.index, pfns.first) + 1;
		cond_resched();
	}
	return pages << PAGE_SHIFT;
}

static void region_destroy(struct region *region)
{
	if (region->pages)
		dmemfs_pages_destroy(region->pages);
	else
		dmemfs_window_free(region->start, region->length);
	release_mem_region(region->start, region->length);
	kfree(region);
}

/* Both ways fail unless the range can be write-back: MTRRs and other mappings of it are taken into account. */
static int region_reserve(struct region *region)
{
	int ret;

	if (!region->order)
		return dmemfs_window_reserve(region->start, region->length);
	region->pages = dmemfs_pages_new(region->start, region->length, region->order);
	ret = PTR_ERR_OR_ZERO(region->pages);
	return !ret || ret == -ENOMEM ? ret : -EIO;
}

static struct region *region_new(u64 start, u64 length, unsigned int order)
{
	struct region *region;
	int ret;

	region = kzalloc(sizeof(*region), GFP_KERNEL);
	if (!region)
		return ERR_PTR(-ENOMEM);
	region->start = start;
	region->length = length;
	region->order = order;

	ret = -EBUSY;
	region->resource = request_mem_region(start, length, KBUILD_MODNAME);
	if (!region->resource)
		goto err_free;
	ret = region_reserve(region);
	if (ret)
		goto err_release;
	region->node_length = dmemfs_find_node(start, length, &region->node);
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
		.order = region->order,
		.flags = region->order ? 0 : DMEMFS_REGION_UNMAPPED,
	};
}

int dmemfs_region_claim(struct dmemfs_region *arg)
{
	struct dmemfs_range pfns;
	struct region *region;
	unsigned long index;
	unsigned int flags;
	int ret;

	ret = dmemfs_pages(arg->start, arg->length, &pfns) ?: dmemfs_pages_check(arg->start, arg->length, arg->order);
	if (ret)
		return ret;
	if (pfns.last >= PHYS_PFN(1ULL << MAX_PHYSMEM_BITS))
		return -EINVAL;
	ret = dmemfs_check_reserved(arg->start, arg->length);
	if (ret)
		return ret;

	/* Wait if the machine is hibernating: on_sleep() has been asked already. */
	flags = lock_system_sleep();
	mutex_lock(&claims);
	index = pfns.first;
	ret = -EEXIST;
	if (mt_find(&regions, &index, pfns.last))
		goto out;
	ret = -ENOSPC;
	if (nr_regions == DMEMFS_REGIONS_MAX)
		goto out;
	ret = arg->order ? 0 : dmemfs_guard_raw();
	if (ret)
		goto out;
	region = region_new(arg->start, arg->length, arg->order);
	ret = PTR_ERR_OR_ZERO(region);
	if (ret)
		goto out;
	mutex_lock(&dmemfs_region_lock);
	ret = mtree_insert_range(&regions, pfns.first, pfns.last, region, GFP_KERNEL);
	if (!ret) {
		nr_regions++;
		region_describe(region, arg);
	}
	mutex_unlock(&dmemfs_region_lock);
	if (ret)
		region_destroy(region);
out:
	mutex_unlock(&claims);
	unlock_system_sleep(flags);
	return ret;
}

int dmemfs_region_next(struct dmemfs_region *arg)
{
	unsigned long index = PHYS_PFN(arg->start);
	struct region *region;

	guard(mutex)(&dmemfs_region_lock);
	/* Skip a region that begins before .start and reaches past it. */
	region = mtree_load(&regions, index);
	if (region && region->start < arg->start)
		index = region_pfns(region).last + 1;
	region = mt_find(&regions, &index, ULONG_MAX);
	if (region)
		region_describe(region, arg);
	return region ? 0 : -ENOENT;
}

int dmemfs_region_release(const struct dmemfs_region *arg)
{
	struct region *region;
	int ret = 0;

	mutex_lock(&claims);
	mutex_lock(&dmemfs_region_lock);
	region = mtree_load(&regions, PHYS_PFN(arg->start));
	if (!region || region->start != arg->start || region->length != arg->length) {
		ret = -ENOENT;
	} else if (!is_unused(region_pfns(region))) {
		ret = -EBUSY;
	} else {
		mtree_erase(&regions, PHYS_PFN(region->start));
		nr_regions--;
	}
	mutex_unlock(&dmemfs_region_lock);
	if (!ret)
		region_destroy(region);
	mutex_unlock(&claims);
	return ret;
}

/* Of the region that @pfn is in. */
static unsigned int order_at(unsigned long pfn)
{
	const struct region *region = mtree_load(&regions, pfn);

	return region->order;
}

bool dmemfs_is_raw(unsigned long pfn)
{
	return !order_at(pfn);
}

/* Of the folios in @pfns, which nobody owns and nothing maps, what nobody holds any more is not pinned any more. */
static void unpin(struct dmemfs_range pfns)
{
	unsigned int order = order_at(pfns.first);

	pfns.first = ALIGN_DOWN(pfns.first, 1UL << order);
	while (pfns.first <= pfns.last) {
		unsigned long pages = dmemfs_pages_freeze(pfns, order);
		struct dmemfs_range frozen = { pfns.first, pfns.first + pages - 1 };
		MA_STATE(mas, &owners, frozen.first, frozen.last);

		if (pages && mas_store_gfp(&mas, NULL, GFP_KERNEL))
			dmemfs_pages_unfreeze(frozen, order);
		/* Behind those, which stay pinned if the books could not be changed; else one that is held. */
		pfns.first += pages ?: 1UL << order;
		cond_resched();
	}
}

/*
 * Lets those go first that wait for dmemfs_region_lock, after BATCH entries or folios have been looked at. Then all may have changed:
 * the caller looks for its next entry anew.
 */
static void take_turns(unsigned int *left)
{
	if (*left)
		return;
	mutex_unlock(&dmemfs_region_lock);
	cond_resched();
	mutex_lock(&dmemfs_region_lock);
	*left = BATCH;
}

/* Cuts @run to *@left folios, and counts those it keeps. */
static void cut_run(struct dmemfs_range *run, unsigned int order, unsigned int *left)
{
	unsigned long first = ALIGN_DOWN(run->first, 1UL << order);
	unsigned long folios = min_t(unsigned long, ((run->last - first) >> order) + 1, *left);

	run->last = min(run->last, first + (folios << order) - 1);
	*left -= folios;
}

/* Whether somebody holds memory of @obj; NULL: of what is pinned, or of any object at rest. May miss what is held only now. */
static bool is_held(const struct dmemfs_object *obj)
{
	unsigned int order, left = BATCH;
	unsigned long pos = 0;
	void *owner;

	do {
		MA_STATE(mas, &owners, pos, pos);
		struct dmemfs_range run;

		take_turns(&left);
		owner = mas_find(&mas, ULONG_MAX);
		if (!owner)
			return false;
		run = (struct dmemfs_range){ max(mas.index, pos), mas.last };
		order = order_at(run.first);
		if (!order || owner == LENT || (obj ? owner != obj : owner != PINNED && dmemfs_object_is_open(owner))) {
			left--;
		} else {
			cut_run(&run, order, &left);
			if (dmemfs_pages_held(run, order))
				return true;
		}
		pos = run.last + 1;
	} while (pos);
	return false;
}

/* The caller holds the module as well. */
static void hold_module(void)
{
	lockdep_assert_held(&dmemfs_region_lock);
	if (!holds_module)
		__module_get(THIS_MODULE);
	holds_module = true;
	nr_holds++;
	look_delay = HZ;
	cancel_delayed_work(&holders);
	schedule_delayed_work(&holders, look_delay);
}

static void hold_module_no_longer(void)
{
	unsigned long before = nr_holds;

	/* What is_held() does not notice is a new hold. */
	if (holds_module && !is_held(NULL) && holds_module && nr_holds == before) {
		holds_module = false;
		module_put(THIS_MODULE);
	}
}

/* The module may go as soon as this lets go of it, but not before this is over: dmemfs_regions_exit() waits. */
static void look_at_holders(struct work_struct *work)
{
	guard(mutex)(&dmemfs_region_lock);
	hold_module_no_longer();
	if (holds_module) {
		look_delay = min(2 * look_delay, LOOK_DELAY_MAX);
		schedule_delayed_work(&holders, look_delay);
	}
}

void dmemfs_hold_module(struct dmemfs_object *obj)
{
	if (!obj->order)
		return;
	guard(mutex)(&dmemfs_region_lock);
	if (is_held(obj))
		hold_module();
}

/* The first run in @pfns that is pinned; false: there is none. */
static bool find_pinned(struct dmemfs_range pfns, struct dmemfs_range *run)
{
	MA_STATE(mas, &owners, pfns.first, pfns.first);
	void *owner;

	do {
		owner = mas_find(&mas, pfns.last);
	} while (owner && owner != PINNED);
	*run = (struct dmemfs_range){ max(mas.index, pfns.first), min(mas.last, pfns.last) };
	return owner;
}

int dmemfs_pinned_next(struct dmemfs_pinned *arg)
{
	struct dmemfs_range pfns = { PHYS_PFN(arg->start) + !!offset_in_page(arg->start) }, run, found;
	unsigned int left = BATCH;
	u64 end = U64_MAX;
	int err = -ENOENT;

	if (arg->length && check_add_overflow(arg->start, arg->length - 1, &end))
		return -EINVAL;
	pfns.last = PHYS_PFN(end);
	guard(mutex)(&dmemfs_region_lock);
	while (err == -ENOENT && pfns.first <= pfns.last) {
		MA_STATE(mas, &owners, pfns.first, pfns.first);
		void *owner;

		take_turns(&left);
		if (fatal_signal_pending(current)) {
			err = -EINTR;
			break;
		}
		owner = mas_find(&mas, pfns.last);
		if (!owner)
			break;
		run = (struct dmemfs_range){ max(mas.index, pfns.first), min(mas.last, pfns.last) };
		if (owner == PINNED) {
			cut_run(&run, order_at(run.first), &left);
			unpin(run);
			err = find_pinned(run, &found) ? 0 : -ENOENT;
		} else {
			left--;
		}
		pfns.first = run.last + 1;
	}
	/* Looks at all memory: a request about a part of it gets a quick answer. */
	if (!arg->length && err == -ENOENT)
		hold_module_no_longer();
	if (err)
		return err;
	*arg = (struct dmemfs_pinned){ PFN_PHYS(found.first), PFN_PHYS(found.last - found.first + 1) };
	return 0;
}

/* What @pfns are in the books when @obj owns them, or nobody does. */
static void *owner_entry(unsigned long pfn, struct dmemfs_object *obj)
{
	return obj ?: order_at(pfn) ? PINNED : NULL;
}

int dmemfs_own_prepare(struct ma_state *mas, struct dmemfs_range pfns, struct dmemfs_object *obj)
{
	lockdep_assert_held(&dmemfs_region_lock);
	mas_init(mas, &owners, pfns.first);
	if (obj) {
		if (!dmemfs_in_region(pfns))
			return -ENXIO;
		if (order_at(pfns.first) != obj->order)
			return -EINVAL;
		if (!is_unused(pfns))
			return -EBUSY;
		/* One entry for runs that touch and have the same owner. */
		dmemfs_join(mas, pfns, obj);
	} else {
		mas_set_range(mas, pfns.first, pfns.last);
	}
	return mas_preallocate(mas, owner_entry(pfns.first, obj), GFP_KERNEL);
}

void dmemfs_own(struct ma_state *mas, struct dmemfs_range pfns, struct dmemfs_object *obj)
{
	unsigned int order = order_at(pfns.first);
	struct dmemfs_range pinned;

	mas_store_prealloc(mas, owner_entry(pfns.first, obj));
	if (!order)
		return;
	if (obj) {
		dmemfs_pages_unfreeze(pfns, order);
		return;
	}
	unpin(pfns);
	if (find_pinned(pfns, &pinned))
		hold_module();
}

struct dmemfs_object *dmemfs_owner_get(unsigned long pfn)
{
	MA_STATE(mas, &owners, pfn, pfn);
	struct dmemfs_object *obj;

	guard(mutex)(&dmemfs_region_lock);
	obj = mas_walk(&mas);
	if (xa_is_value(obj))
		obj = NULL;
	/* An object that owns memory has references, and it cannot lose the memory while this lock is held. */
	if (obj)
		kref_get(&obj->ref);
	return obj;
}

int dmemfs_region_zero(u64 start, u64 length)
{
	struct clearing clearing;
	int ret = dmemfs_pages(start, length, &clearing.pfns);

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

	ret = dmemfs_clear_uncached(start, length);

	scoped_guard(mutex, &dmemfs_region_lock)
	{
		list_del(&clearing.link);
	}
	return ret;
}

bool dmemfs_regions_exist(void)
{
	return READ_ONCE(nr_regions);
}

/* Whether nobody owns, holds, zeroes or has got any of @pfns, which begin in @region, and none of them is poisoned. */
static int check_lendable(const struct region *region, struct dmemfs_range pfns)
{
	MA_STATE(mas, &owners, pfns.first, pfns.first);
	unsigned long bad;

	if (!region || !dmemfs_in_region(pfns))
		return -ENXIO;
	if (mas_walk(&mas) == LENT)
		return -EEXIST;
	if (!is_unused(pfns))
		return -EBUSY;
	return dmemfs_poison_find(pfns, &bad) ? -EHWPOISON : 0;
}

int dmemfs_region_lend(struct dmemfs_range pfns, struct dmemfs_pages **pages)
{
	MA_STATE(mas, &owners, pfns.first, pfns.last);
	struct region *region;
	int ret;

	guard(mutex)(&dmemfs_region_lock);
	region = mtree_load(&regions, pfns.first);
	ret = check_lendable(region, pfns) ?: mas_preallocate(&mas, LENT, GFP_KERNEL)
		?: dmemfs_iomem_lend(region->resource, PFN_PHYS(pfns.first));
	if (ret) {
		mas_destroy(&mas);
		return ret;
	}
	mas_store_prealloc(&mas, LENT);
	region->nr_lent++;
	*pages = region->pages;
	return 0;
}

int dmemfs_region_close(struct dmemfs_range pfns)
{
	struct region *region;

	guard(mutex)(&dmemfs_region_lock);
	region = mtree_load(&regions, pfns.first);
	return dmemfs_iomem_close(region->resource, PFN_PHYS(pfns.first));
}

int dmemfs_region_take(struct dmemfs_range pfns)
{
	MA_STATE(mas, &owners, pfns.first, pfns.last);
	struct region *region;
	int ret;

	guard(mutex)(&dmemfs_region_lock);
	region = mtree_load(&regions, pfns.first);
	ret = mas_store_gfp(&mas, NULL, GFP_KERNEL);
	if (!ret && !--region->nr_lent)
		dmemfs_iomem_reset(region->resource);
	return ret;
}

/* The module is being unloaded. Called before the objects are freed: memory failures find no owner any more. */
void dmemfs_regions_exit(void)
{
	unsigned long index = 0;
	struct region *region;

	cancel_delayed_work_sync(&holders);
	mutex_lock(&dmemfs_region_lock);
	__mt_destroy(&owners);
	mutex_unlock(&dmemfs_region_lock);
	mt_for_each(&regions, region, index, ULONG_MAX)
		region_destroy(region);
	mtree_destroy(&regions);
}

// SPDX-License-Identifier: GPL-2.0-only
/*
 * The extents of an object, which say which page frame backs which page of the file, and the size of the object.
 *
 * object->extents maps runs of file pages to the *distance*: page frame number minus number of the file page, modulo
 * DISTANCE_MASK + 1, with the bit PUNCHED for punched runs. So an entry stays right when a run is cut, and two runs
 * that continue each other have the same entry and can be joined.
 * object->lock protects the tree and the size. region.c records the owners of memory.
 */
#include "dmemfs.h"

#include <linux/overflow.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>

#define DISTANCE_MASK (LONG_MAX >> 1)
#define PUNCHED	      (DISTANCE_MASK + 1)

static void *distance_entry(unsigned long index, unsigned long pfn)
{
	return xa_mk_value((pfn - index) & DISTANCE_MASK);
}

static unsigned long entry_pfn(const void *entry, unsigned long index)
{
	return (xa_to_value(entry) + index) & DISTANCE_MASK;
}

static bool is_punched(const void *entry)
{
	return xa_to_value(entry) & PUNCHED;
}

static void *punched_entry(const void *entry)
{
	return xa_mk_value(xa_to_value(entry) | PUNCHED);
}

int dmemfs_pages(u64 start, u64 length, struct dmemfs_range *range)
{
	u64 end;

	if (!length || !IS_ALIGNED(start | length, DMEMFS_ALIGNMENT) || check_add_overflow(start, length, &end))
		return -EINVAL;
	*range = (struct dmemfs_range){ PHYS_PFN(start), PHYS_PFN(end) - 1 };
	return 0;
}

int dmemfs_file_range(u64 offset, u64 length, struct dmemfs_range *range)
{
	int ret = dmemfs_pages(offset, length, range);

	return !ret && range->last >= MAX_LFS_FILESIZE >> PAGE_SHIFT ? -EFBIG : ret;
}

int dmemfs_extent_lookup(struct dmemfs_object *obj, unsigned long index, struct dmemfs_range *run, unsigned long *pfn)
{
	MA_STATE(mas, &obj->extents, index, index);
	void *entry;

	lockdep_assert_held(&obj->lock);
	entry = mas_walk(&mas);
	/* The last hole of the tree ends at ULONG_MAX, which is past the largest file. */
	*run = (struct dmemfs_range){ mas.index, min(mas.last, (unsigned long)MAX_LFS_FILESIZE >> PAGE_SHIFT) };
	if (!entry || is_punched(entry))
		return -ENOENT;
	*pfn = entry_pfn(entry, index);
	return 0;
}

int dmemfs_join(struct ma_state *mas, struct dmemfs_range range, const void *entry)
{
	int joined = 0;

	mas_set(mas, range.first - 1);
	if (range.first && mas_walk(mas) == entry) {
		range.first = mas->index;
		joined++;
	}
	mas_set(mas, range.last + 1);
	if (mas_walk(mas) == entry) {
		range.last = mas->last;
		joined++;
	}
	mas_set_range(mas, range.first, range.last);
	return joined;
}

/* Adds a run to the tree and joins it with neighbours that it continues. */
static int insert_run(struct dmemfs_object *obj, struct dmemfs_range range, unsigned long pfn)
{
	MA_STATE(mas, &obj->extents, range.first, range.first);
	void *entry = distance_entry(range.first, pfn);
	unsigned long pages = range.last - range.first + 1;
	int joined, ret;

	if (mas_find(&mas, range.last))
		return -EEXIST;
	joined = dmemfs_join(&mas, range, entry);
	ret = mas_store_gfp(&mas, entry, GFP_KERNEL);
	if (ret)
		return ret;
	obj->nr_extents += 1 - joined;
	obj->nr_pages += pages;
	return 0;
}

/* Whether @range, of the file or of memory, consists of whole folios. The caller holds obj->lock. */
static bool is_whole(const struct dmemfs_object *obj, struct dmemfs_range range)
{
	return IS_ALIGNED(range.first | (range.last + 1), 1UL << obj->order);
}

int dmemfs_extent_add(struct dmemfs_object *obj, const struct dmemfs_extent *arg)
{
	struct dmemfs_range range, pfns;
	struct ma_state owners;
	int ret;

	ret = dmemfs_file_range(arg->offset, arg->length, &range) ?: dmemfs_pages(arg->start, arg->length, &pfns);
	if (ret)
		return ret;

	down_write(&obj->lock);
	mutex_lock(&dmemfs_region_lock);
	/* Checked under obj->lock, which REAP takes as well: so REAP cannot miss the extent that is added here. */
	ret = dmemfs_object_is_idle(obj) ? -ENOENT : 0;
	if (!ret && (!is_whole(obj, range) || !is_whole(obj, pfns)))
		ret = -EINVAL;
	ret = ret ?: dmemfs_own_prepare(&owners, pfns, obj);
	if (ret)
		goto out;
	ret = insert_run(obj, range, pfns.first);
	if (ret)
		mas_destroy(&owners);
	else
		dmemfs_own(&owners, pfns, obj);
	if (!ret)
		dmemfs_demand_answer(obj, range, 0);
out:
	mutex_unlock(&dmemfs_region_lock);
	up_write(&obj->lock);
	return ret;
}

/* Removes @cut, a part of @run, from the tree, and the owner of its memory. The caller has unmapped it. */
static int remove_run(struct dmemfs_object *obj, struct dmemfs_range run, struct dmemfs_range cut, const void *entry)
{
	MA_STATE(mas, &obj->extents, cut.first, cut.last);
	unsigned long pages = cut.last - cut.first + 1;
	unsigned long pfn = entry_pfn(entry, cut.first);
	struct dmemfs_range pfns = { pfn, pfn + pages - 1 };
	struct ma_state owners;
	int ret;

	mutex_lock(&dmemfs_region_lock);
	ret = dmemfs_own_prepare(&owners, pfns, NULL);
	if (ret)
		goto out;
	ret = mas_store_gfp(&mas, NULL, GFP_KERNEL);
	if (ret) {
		mas_destroy(&owners);
		goto out;
	}
	dmemfs_own(&owners, pfns, NULL);
	obj->nr_extents += (run.first < cut.first) + (cut.last < run.last) - 1;
	obj->nr_pages -= pages;
	if (is_punched(entry))
		obj->nr_punched -= pages;
out:
	mutex_unlock(&dmemfs_region_lock);
	return ret;
}

/* Marks @cut, a part of @run, as punched and joins it with punched neighbours that it continues. */
static int punch_run(struct dmemfs_object *obj, struct dmemfs_range run, struct dmemfs_range cut, const void *entry)
{
	MA_STATE(mas, &obj->extents, cut.first, cut.first);
	unsigned long pages = cut.last - cut.first + 1;
	void *punched = punched_entry(entry);
	long more = (run.first < cut.first) + (cut.last < run.last);
	int ret;

	if (is_punched(entry))
		return 0;
	more -= dmemfs_join(&mas, cut, punched);
	ret = mas_store_gfp(&mas, punched, GFP_KERNEL);
	if (ret)
		return ret;
	obj->nr_extents += more;
	obj->nr_punched += pages;
	return 0;
}

/* Calls @change for each run with the part of it that is in @range. The caller holds obj->lock exclusively. */
static int change_runs(struct dmemfs_object *obj, struct dmemfs_range range,
		       int (*change)(struct dmemfs_object *obj, struct dmemfs_range run, struct dmemfs_range cut,
				     const void *entry))
{
	MA_STATE(mas, &obj->extents, range.first, range.first);
	void *entry;

	while ((entry = mas_find(&mas, range.last))) {
		struct dmemfs_range run = { mas.index, mas.last };
		struct dmemfs_range cut = { max(run.first, range.first), min(run.last, range.last) };
		int ret = change(obj, run, cut, entry);

		if (ret)
			return ret;
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
		mas_set(&mas, cut.last + 1);
		if (cut.last == range.last)
			break;
	}
	return 0;
}

int dmemfs_extents_punch(struct dmemfs_object *obj, struct dmemfs_range range)
{
	lockdep_assert_held_write(&obj->lock);
	return change_runs(obj, range, punch_run);
}

/* The next entry up to @last that is not punched: processes may have it mapped. */
static void *find_visible(struct ma_state *mas, unsigned long last)
{
	void *entry;

	do {
		entry = mas_find(mas, last);
	} while (entry && is_punched(entry));
	return entry;
}

void dmemfs_zap(struct inode *inode, u64 start, u64 end)
{
	struct dmemfs_object *obj = inode->i_private;
	/*
	 * Splitting a large page-table entry needs the mmap_lock for writing, which cannot be taken here, so whole
	 * entries are unmapped. They are at most 2 MiB large if no fault on the object ever made one of 1 GiB.
	 */
	u64 largest = atomic64_read(&obj->faults_1g) ? SZ_1G : SZ_2M;

	start = round_down(start, largest);
	end = round_up(end, largest);
	unmap_mapping_range(inode->i_mapping, start, end - start, 1);
}

/* Sets @index to the page of the file that @pfn backs. False: @pfn is not in an extent of the object, or is punched. */
static bool find_page(struct dmemfs_object *obj, unsigned long pfn, unsigned long *index)
{
	MA_STATE(mas, &obj->extents, 0, 0);
	unsigned long first;
	void *entry;

	while ((entry = find_visible(&mas, ULONG_MAX))) {
		first = entry_pfn(entry, mas.index);
		if (pfn < first || pfn - first > mas.last - mas.index)
			continue;
		*index = mas.index + (pfn - first);
		return true;
	}
	return false;
}

bool dmemfs_extent_unmap(struct dmemfs_object *obj, unsigned long pfn, unsigned long *index)
{
	struct vfsmount *mnt;
	struct inode *inode;
	bool found;

	down_write(&obj->lock);
	inode = dmemfs_inode_get(obj, &mnt);
	found = inode && find_page(obj, pfn, index);
	if (found)
		dmemfs_zap(inode, (u64)*index << PAGE_SHIFT, ((u64)*index + 1) << PAGE_SHIFT);
	up_write(&obj->lock);
	dmemfs_inode_put(inode, mnt);
	return found;
}

int dmemfs_extent_remove(struct dmemfs_object *obj, u64 offset, u64 length)
{
	struct dmemfs_range range;
	struct ma_state mas;
	struct vfsmount *mnt;
	struct inode *inode;
	int ret;

	ret = dmemfs_file_range(offset, length, &range);
	if (ret)
		return ret;
	down_write(&obj->lock);
	if (!is_whole(obj, range)) {
		up_write(&obj->lock);
		return -EINVAL;
	}
	inode = dmemfs_inode_get(obj, &mnt);
	mas_init(&mas, &obj->extents, range.first);
	if (inode && find_visible(&mas, range.last))
		dmemfs_zap(inode, offset, offset + length);
	ret = change_runs(obj, range, remove_run);
	if (!ret && offset <= obj->stale_end && obj->stale_end <= offset + length)
		obj->stale_end = offset;
	up_write(&obj->lock);
	dmemfs_inode_put(inode, mnt);
	return ret;
}

int dmemfs_extent_next(struct dmemfs_object *obj, struct dmemfs_extent *arg)
{
	MA_STATE(mas, &obj->extents, arg->offset >> PAGE_SHIFT, arg->offset >> PAGE_SHIFT);
	void *entry;

	down_read(&obj->lock);
	entry = mas_find(&mas, ULONG_MAX);
	up_read(&obj->lock);
	if (!entry)
		return -ENOENT;
	arg->offset = (u64)mas.index << PAGE_SHIFT;
	arg->start = PFN_PHYS(entry_pfn(entry, mas.index));
	arg->flags = is_punched(entry) ? DMEMFS_EXTENT_PUNCHED : 0;
	arg->length = ((u64)(mas.last - mas.index) + 1) << PAGE_SHIFT;
	return 0;
}

/* Clears the first part of [*pos, end), at most 2 MiB, and sets *pos to its end. The caller holds obj->lock. */
static int clear_step(struct dmemfs_object *obj, u64 *pos, u64 end)
{
	MA_STATE(mas, &obj->extents, *pos >> PAGE_SHIFT, *pos >> PAGE_SHIFT);
	u64 run_end, start;
	size_t length;
	void *entry;

	entry = find_visible(&mas, (end - 1) >> PAGE_SHIFT);
	if (!entry) {
		*pos = end;
		return 0;
	}
	*pos = max(*pos, (u64)mas.index << PAGE_SHIFT);
	run_end = ((u64)mas.last + 1) << PAGE_SHIFT;
	length = min3(end - *pos, run_end - *pos, (u64)SZ_2M);
	start = PFN_PHYS(entry_pfn(entry, *pos >> PAGE_SHIFT)) + offset_in_page(*pos);
	*pos += length;
	return dmemfs_clear(start, length);
}

int dmemfs_object_zero(struct dmemfs_object *obj, u64 start, u64 end)
{
	int ret = 0;

	while (start < end && !ret) {
		down_read(&obj->lock);
		ret = clear_step(obj, &start, end);
		up_read(&obj->lock);
	}
	return ret;
}

/*
 * Holds obj->lock while it zeroes, so that no other RESIZE sees a size with bytes past it that are not zero yet. There
 * are few of these bytes if the daemon has removed the extents that are wholly past the size. Zeroing can fail, so it
 * comes before anything else changes: processes that touch what is past a smaller size wait for the lock.
 */
int dmemfs_object_resize(struct dmemfs_object *obj, u64 size)
{
	struct vfsmount *mnt;
	struct inode *inode;
	u64 pos;
	int ret = 0;

	if (size > MAX_LFS_FILESIZE)
		return -EFBIG;
	down_write(&obj->lock);
	inode = dmemfs_inode_get(obj, &mnt);
	/* Processes may have written between the size and the end of its page, by mappings. */
	obj->stale_end = max(obj->stale_end, PAGE_ALIGN(obj->size));
	pos = min(obj->size, size);
	if (size < obj->size && inode)
		dmemfs_zap(inode, size, MAX_LFS_FILESIZE);
	while (pos < obj->stale_end && !ret)
		ret = clear_step(obj, &pos, obj->stale_end);
	if (ret)
		goto out;
	if (size < obj->size)
		dmemfs_demand_answer(obj, (struct dmemfs_range){ size >> PAGE_SHIFT, ULONG_MAX }, 0);
	obj->stale_end = 0;
	obj->size = size;
	if (inode)
		i_size_write(inode, size);
out:
	up_write(&obj->lock);
	dmemfs_inode_put(inode, mnt);
	return ret;
}

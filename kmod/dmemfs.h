/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Internals of dmemfs.ko. The protocol is ../shared/dmemfs_ioctl.h.
 *
 * Locks, in the order in which they are taken:
 *
 *   mmap_lock or per-VMA lock   page tables; these locks belong to the kernel
 *   object->lock                the object's extents, size and mode. Held shared by faults for a 4-KiB page, read,
 *                               write and zeroing. Held exclusively by
 *                               - changes;
 *                               - zapping because memory is taken away, so that no fault maps it again meanwhile;
 *                               - faults for a large page: a large page must not appear where another fault is
 *                                 inserting a 4-KiB page, which the kernel treats as a bug.
 *                               The module takes no page fault under this lock: it copies user memory with page
 *                               faults disabled.
 *   dmemfs_region_lock          regions, the owners of memory, the ranges that are being zeroed (region.c)
 *   xa_lock(&dmemfs_objects)    the table of objects; object->state, ->inode, ->mnt, ->events,
 *                               ->pending_faults (object.c, events.c, demand.c)
 *
 * The mutex of lend.c that serializes lends and takes comes before all of these, then the kernel's locks of memory
 * hotplug (device_hotplug_lock, mem_hotplug_lock, the chain of memory notifiers), then xa_lock(&units) of lend.c. None of
 * them is taken under dmemfs_region_lock, which is not held while the kernel adds or removes memory.
 *
 * The mutex of region.c that serializes claims and releases of regions is taken before dmemfs_region_lock, and never
 * together with object->lock. The xarray of poisoned pages has its own lock; looking up a page takes none (poison.c).
 *
 * Only the module's faults make page-table entries: fork() copies none (->open), mremap() moves them. When memory is
 * taken away, the module removes the entries under object->lock. The kernel also drops, splits or write-protects
 * entries without that lock. This list says which operations do so and which locks they hold:
 *
 *   munmap, mremap, mprotect, madvise, mbind, mlock, UFFDIO_REGISTER   mmap_lock and the VMA lock for writing. The
 *                               module drops a 1-GiB entry before the kernel splits (->may_split) or moves (->open) it
 *   exit, execve                no lock is needed: no task uses the page tables any more
 *   /proc/PID/clear_refs        mmap_lock for writing: write-protects (soft-dirty)
 *   smaps, smaps_rollup, numa_maps, mbind and other walks of page tables   mmap_lock for reading, or more; drop 1-GiB
 *                               entries
 *   a write to a large entry that is write-protected   the lock of the fault; drops the entry
 *   MADV_DONTNEED and similar advice, not on VM_PFNMAP   mmap_lock or VMA lock for reading; for a part of a large
 *                               entry, drops all of it. No fault makes a 1-GiB entry meanwhile (invalidate.c)
 *   UFFDIO_WRITEPROTECT, PAGEMAP_SCAN with write protection, on kernels that let VM_SPECIAL mappings be registered
 *                               mmap_lock for reading; drop large entries and put tables with markers in their place
 *
 * Reclaim, migration, NUMA balancing, khugepaged, KSM and the OOM reaper do not touch VM_PFNMAP or VM_IO mappings, nor
 * ZONE_DEVICE pages in shared mappings.
 *
 * A fault that waits for the daemon holds none of these locks, except the mmap_lock if its caller does not allow the
 * fault to drop it; see demand.c.
 *
 * An object is at rest when it has no inode. Its inode exists from the first open until the last file or mapping is
 * gone. The inode pins the pseudo file system, which pins the module.
 */
#ifndef DMEMFS_INTERNAL_H
#define DMEMFS_INTERNAL_H

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/fs.h>
#include <linux/kref.h>
#include <linux/maple_tree.h>
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/poll.h>
#include <linux/rwsem.h>
#include <linux/types.h>
#include <linux/xarray.h>

#include "dmemfs_ioctl.h"

#define DMEMFS_VERSION "0.2.0"

/* A run of pages: the numbers of the first and the last one, both included. */
struct dmemfs_range {
	unsigned long first;
	unsigned long last;
};

struct dmemfs_pending_fault;

/* An event that waits to be read; see events.c. */
struct dmemfs_queued_event {
	struct list_head link;
	struct dmemfs_event event;
};

struct dmemfs_object {
	u64 id;
	struct kref ref; /* held by the table, by the inode, and by each function that works on the object */

	struct rw_semaphore lock;
	/* Under lock: */
	struct maple_tree extents; /* pages of the file to memory; see extent.c */
	unsigned long nr_extents;
	unsigned long nr_pages;	  /* in extents, punched ones included */
	unsigned long nr_punched; /* in punched extents, which no process can access */
	u32 mode;		  /* DMEMFS_MODE_* */
	u32 order;		  /* of its regions; does not change while the object has an inode */
	u64 unit;		  /* bytes, a power of two, a folio at least */
	u64 size;
	u64 stale_end; /* bytes of memory in [size, stale_end) may not be zero yet */

	/* Under the table's lock: */
	enum dmemfs_object_state state;
	struct inode *inode;					  /* NULL: at rest */
	struct vfsmount *mnt;					  /* of the inode */
	struct dmemfs_queued_event events[DMEMFS_EVENT_LAST + 1]; /* by kind; FAULT and POISON are stored elsewhere */
	struct list_head pending_faults;			  /* units that faults wait for; see demand.c */
	unsigned int nr_pending_faults;

	atomic64_t faults_4k, faults_2m, faults_1g;
};

/* main.c */
extern enum dmemfs_huge dmemfs_huge;
/* The page sizes that faults may use, or-ed, in bytes. */
u64 dmemfs_page_sizes(void);
/* The same for mappings in mode DISCARD. */
u64 dmemfs_discard_page_sizes(void);

/* region.c */
struct dmemfs_pages;
extern struct mutex dmemfs_region_lock;
int dmemfs_region_claim(struct dmemfs_region *arg);
int dmemfs_region_next(struct dmemfs_region *arg);
int dmemfs_region_release(const struct dmemfs_region *arg);
int dmemfs_region_zero(u64 start, u64 length);
bool dmemfs_regions_exist(void);
/*
 * Makes @pfns, a unit without an owner, lent: it cannot get one, and its region stays. Sets @pages to those of the
 * region, or NULL. Errors: of REGION_LEND; -EHWPOISON.
 */
int dmemfs_region_lend(struct dmemfs_range pfns, struct dmemfs_pages **pages);
/* The kernel has not got @pfns, and can add them no more: struct pages can be made again. -EBUSY. May be repeated. */
int dmemfs_region_close(struct dmemfs_range pfns);
/* Ends the lend. @pfns are closed, and the struct pages are as they were. -ENOMEM: the unit stays lent. */
int dmemfs_region_take(struct dmemfs_range pfns);
void dmemfs_regions_exit(void);
/*
 * Makes @obj the owner of @pfns, or removes the owner if @obj is NULL, in two steps, so that the caller can do other
 * things that may fail in between: prepare() checks and allocates; then the caller calls either dmemfs_own() or
 * mas_destroy(@mas). The caller holds dmemfs_region_lock throughout, and no page table maps the memory. Folios without
 * an owner that somebody still holds become pinned.
 * Errors: -ENXIO, -EBUSY, -EINVAL (as EXTENT_ADD), -ENOMEM.
 */
int dmemfs_own_prepare(struct ma_state *mas, struct dmemfs_range pfns, struct dmemfs_object *obj);
void dmemfs_own(struct ma_state *mas, struct dmemfs_range pfns, struct dmemfs_object *obj);
/* As PINNED_NEXT. */
int dmemfs_pinned_next(struct dmemfs_pinned *arg);
/* No file or mapping reaches @obj any more: keeps the module loaded while somebody holds memory of @obj. */
void dmemfs_hold_module(struct dmemfs_object *obj);
/* The object that owns @pfn, with a reference that the caller puts, or NULL. */
struct dmemfs_object *dmemfs_owner_get(unsigned long pfn);
/* Whether all of @pfns lies in one region. May be called in any context, without a lock. */
bool dmemfs_in_region(struct dmemfs_range pfns);
/* Whether @pfn is raw memory: a page of a region that stays. Takes no lock. */
bool dmemfs_is_raw(unsigned long pfn);

/* iomem.c */
struct resource;
/*
 * The unit at @start of a region is to be lent: the kernel can add it, others get no more of the region than before.
 * -ENOMEM: nothing has changed. The caller holds dmemfs_region_lock, also for the next two.
 */
int dmemfs_iomem_lend(struct resource *region, u64 start);
/* The kernel has not got the unit: it cannot add it any more. -EBUSY: somebody has asked for some of it. May be repeated. */
int dmemfs_iomem_close(struct resource *region, u64 start);
/* All units are closed: the region becomes as it was before the first was lent. */
void dmemfs_iomem_reset(struct resource *region);

/* reserved.c */
/*
 * Returns 0 if the memory may be claimed, else the error of REGION_CLAIM that says why not. Reads files in sysfs, so
 * the caller holds no lock.
 */
int dmemfs_check_reserved(u64 start, u64 length);
void dmemfs_reserved_exit(void);

/* window.c */
/* Reserves raw memory as write-back, and leaves it unmapped. -EIO: it cannot be write-back. -ENOMEM: for page tables. */
int dmemfs_window_reserve(u64 start, u64 length);
void dmemfs_window_free(u64 start, u64 length);
/*
 * The address by which the module accesses the memory until dmemfs_window_close(), or NULL: no memory for page tables.
 * An object whose lock the caller holds owns the memory, or it is on the list of ranges that are being zeroed: so its
 * region stays. Sleeps.
 */
void *dmemfs_window_open(u64 start, size_t length);
void dmemfs_window_close(void *addr);

/* The node of the memory's start, or -1; returns how far it reaches. */
u64 dmemfs_find_node(u64 start, u64 length, int *node);

/* pages.c */
/* Whether a region can have struct pages of this order. Errors: of REGION_CLAIM. */
int dmemfs_pages_check(u64 start, u64 length, unsigned int order);
/* Struct pages for a region, which all are frozen then. Errors: as of REGION_CLAIM, and whatever the kernel says. */
struct dmemfs_pages *dmemfs_pages_new(u64 start, u64 length, unsigned int order);
/* Waits for memory failures that are being dealt with, so the caller does not hold dmemfs_region_lock. */
void dmemfs_pages_destroy(struct dmemfs_pages *pages);
/*
 * Gives up the struct pages of a part of the region, a multiple of a gigabyte that nobody owns or holds; and makes those
 * of them that do not exist again. After an error some of them exist.
 */
void dmemfs_pages_unmake(struct dmemfs_pages *pages, struct dmemfs_range pfns);
int dmemfs_pages_make(struct dmemfs_pages *pages, struct dmemfs_range pfns);
/* Freezes folios from the first of @pfns up to one that somebody holds: how many pages. Nobody can get hold of them. */
unsigned long dmemfs_pages_freeze(struct dmemfs_range pfns, unsigned int order);
/* The caller holds dmemfs_region_lock. */
void dmemfs_pages_unfreeze(struct dmemfs_range pfns, unsigned int order);
/* Whether somebody holds some of @pfns, which nothing maps. */
bool dmemfs_pages_held(struct dmemfs_range pfns, unsigned int order);
/* The sizes of page-table entries that such memory can have, or-ed. */
u64 dmemfs_pages_sizes(unsigned int order);
/* An entry for the folio, or a part of it, at vmf->address. @pfn is aligned to @order, one of dmemfs_pages_sizes(). */
vm_fault_t dmemfs_pages_insert(struct vm_fault *vmf, unsigned int order, unsigned long pfn);
/* i_flags of an object's inode. */
unsigned int dmemfs_pages_inode_flags(unsigned int order);
/* Makes a mapping one of such memory; may change vma->vm_file, but not its f_mapping. */
int dmemfs_pages_mmap(struct vm_area_struct *vma, unsigned int order);

/* zero.c */
/*
 * Clears @length bytes at the physical address @start, except poisoned pages. -EINTR when the task is being killed,
 * -ENOMEM; some of it is cleared then. The caller keeps the region as for dmemfs_window_open().
 */
int dmemfs_clear(u64 start, size_t length);
/* The same past the caches, so that other data stays cached, for memory that is not read soon: whole pages. */
int dmemfs_clear_uncached(u64 start, size_t length);
/* When it returns, nothing zeroes a page that was recorded as poisoned before the call. */
void dmemfs_clear_barrier(void);

/* extent.c */
/* Sets @range to the pages of [start, start + length). -EINVAL if it is not aligned, is empty or wraps. */
int dmemfs_pages(u64 start, u64 length, struct dmemfs_range *range);
/* The same for a range of a file. -EFBIG if it ends past the kernel's largest file. */
int dmemfs_file_range(u64 offset, u64 length, struct dmemfs_range *range);
/*
 * Sets @mas to @range, extended by the neighbours that have the same @entry, so that the caller can store them as one
 * entry. Returns the number of neighbours: 0 to 2.
 */
int dmemfs_join(struct ma_state *mas, struct dmemfs_range range, const void *entry);
int dmemfs_extent_add(struct dmemfs_object *obj, const struct dmemfs_extent *arg);
int dmemfs_extent_remove(struct dmemfs_object *obj, u64 offset, u64 length);
int dmemfs_extent_next(struct dmemfs_object *obj, struct dmemfs_extent *arg);
/*
 * Unmaps the bytes [start, end) of the file from every process. Rounds to large pages, so it also unmaps memory around
 * the range, which faults in again. The caller holds obj->lock exclusively.
 */
void dmemfs_zap(struct inode *inode, u64 start, u64 end);
/*
 * Unmaps the page @pfn from every process and sets @index to its page in the file. False: no process can have the page
 * mapped.
 */
bool dmemfs_extent_unmap(struct dmemfs_object *obj, unsigned long pfn, unsigned long *index);
int dmemfs_object_resize(struct dmemfs_object *obj, u64 size);
int dmemfs_object_zero(struct dmemfs_object *obj, u64 start, u64 end);
/*
 * Marks the extents in @range as punched. The caller has unmapped them and holds obj->lock exclusively. After -EINTR or
 * -ENOMEM some of them are marked.
 */
int dmemfs_extents_punch(struct dmemfs_object *obj, struct dmemfs_range range);
/*
 * Looks up page @index of the file. In an extent that is not punched: returns 0, the extent's pages in @run, and the
 * page frame of page @index in @pfn. In a hole or a punched extent: returns -ENOENT and its pages in @run. The caller
 * holds obj->lock.
 */
int dmemfs_extent_lookup(struct dmemfs_object *obj, unsigned long index, struct dmemfs_range *run, unsigned long *pfn);

/* object.c */
#define DMEMFS_OBJECT_IS_IDLE	    XA_MARK_0
#define DMEMFS_OBJECT_IS_WAITED_FOR XA_MARK_1
extern struct xarray dmemfs_objects;
int dmemfs_object_create(u64 id);
int dmemfs_object_open(u64 id);
int dmemfs_object_drop(u64 id, u32 *state);
int dmemfs_object_reap(u64 id);
int dmemfs_object_next(struct dmemfs_object_info *arg);
/* The object, in any state, with a reference for dmemfs_object_put(), or NULL. */
struct dmemfs_object *dmemfs_object_get(u64 id);
bool dmemfs_object_is_idle(struct dmemfs_object *obj);
/* Whether a file or a mapping reaches it. */
bool dmemfs_object_is_open(struct dmemfs_object *obj);
void dmemfs_object_put(struct dmemfs_object *obj);
/* The object's inode and its mount, with references for dmemfs_inode_put(). NULL when the object is at rest. */
struct inode *dmemfs_inode_get(struct dmemfs_object *obj, struct vfsmount **mnt);
/* Accepts NULL for both. */
void dmemfs_inode_put(struct inode *inode, struct vfsmount *mnt);
void dmemfs_objects_exit(void);

/* file.c */
extern const struct file_operations dmemfs_file_operations;

/* invalidate.c */
/*
 * For a mapping that may get 1-GiB entries of memory with struct pages. The caller holds the mmap_lock for writing, and puts
 * what it gets: one for each VMA. -ERESTARTNOINTR: the system call has to be restarted.
 */
int dmemfs_invalidations_get(struct vm_area_struct *vma);
void dmemfs_invalidations_put(struct vm_area_struct *vma);
/*
 * As dmemfs_pages_insert(), for an entry of 1 GiB. VM_FAULT_RETRY: not while the kernel removes entries of the process.
 * VM_FAULT_FALLBACK: the VMA has no notifier.
 */
vm_fault_t dmemfs_invalidations_insert(struct vm_fault *vmf, unsigned int order, unsigned long pfn);
/* Waits until the kernel removes no entries. False: it has lasted too long, or the process is killed. */
bool dmemfs_invalidations_wait(const struct vm_area_struct *vma);
void dmemfs_invalidations_exit(void);

/* map.c */
extern const struct vm_operations_struct dmemfs_vm_operations;
int dmemfs_mmap(struct file *file, struct vm_area_struct *vma);
/* Whether @vma maps raw memory. */
static __always_inline bool dmemfs_vma_is_raw(const struct vm_area_struct *vma)
{
	return vma->vm_flags & (VM_PFNMAP | VM_IO);
}

/* Whether @vma maps page @index of the object. The caller holds the mmap_lock. */
bool dmemfs_vma_shows(const struct vm_area_struct *vma, const struct dmemfs_object *obj, unsigned long index);

/* demand.c */
int dmemfs_object_set_mode(struct dmemfs_object *obj, const struct dmemfs_object_mode *arg);
/*
 * Requests the unit at vmf->pgoff, which is in a hole. Returns the pending fault to pass to dmemfs_demand_wait(), which
 * ends the reference to it. Errors: -EIO (the daemon refused the unit), -ENOMEM. The caller has held obj->lock since it
 * saw the hole.
 */
struct dmemfs_pending_fault *dmemfs_demand_ask(struct dmemfs_object *obj, const struct vm_fault *vmf);
/* Waits for the answer. The caller does not hold obj->lock. Returns the result for the fault handler. */
vm_fault_t dmemfs_demand_wait(struct dmemfs_object *obj, struct vm_fault *vmf, struct dmemfs_pending_fault *fault);
/*
 * Answers the faults that wait for a unit that overlaps @range: retries them if @error is 0, else refuses them. A
 * caller that adds memory, or changes size or mode, holds obj->lock exclusively.
 */
void dmemfs_demand_answer(struct dmemfs_object *obj, struct dmemfs_range range, int error);
int dmemfs_demand_answer_request(struct dmemfs_object *obj, const struct dmemfs_fault_answer *arg);
/* Makes FAULT pending again for each unit that is requested. The caller holds the table's lock. */
void dmemfs_demand_rearm(struct dmemfs_object *obj);
void dmemfs_demand_exit(struct dmemfs_object *obj);
/* Punches the bytes [start, end) of an object in mode DEMAND. */
int dmemfs_demand_punch(struct dmemfs_object *obj, struct inode *inode, u64 start, u64 end);

/* poison.c */
/* Sets @pfn to the first poisoned page of @pfns. False: there is none. May be called in any context, without a lock. */
bool dmemfs_poison_find(struct dmemfs_range pfns, unsigned long *pfn);
/* How many of @length bytes at the physical address @start come before the first poisoned page. */
size_t dmemfs_poison_free(u64 start, size_t length);
bool dmemfs_poison_exists(void);
int dmemfs_poison_add(const struct dmemfs_poison *arg);
/* The machine reports an error in a page of a region. When it returns 0 the page is unmapped. Sleeps. */
int dmemfs_poison_failed(unsigned long pfn);
int dmemfs_poison_next(struct dmemfs_poison *arg);
/*
 * Whether the kernel has found the lent page to be bad, and it is not in use any more and never will be: others have been
 * told by its mark. A page of which memory_failure() made nothing better is still in use. So is one that a tmpfs or the
 * swap cache keeps, to tell who reads it later, and one to which somebody has a reference, as a pipe has after vmsplice().
 */
bool dmemfs_poison_is_lost(struct page *page);
/* Whether some lent page is bad and not lost. The kernel does not look, and takes it offline all the same. */
bool dmemfs_poison_is_kept(struct dmemfs_range pfns);
/* Records the lent pages that the kernel has found to be bad: it forgets what it knows of those that are offline. */
void dmemfs_poison_lent(struct dmemfs_range pfns);
int dmemfs_poison_init(void);
void dmemfs_poison_exit(void);

/* events.c */
/* Makes the event pending and wakes readers of the device. The caller holds the table's lock. */
void dmemfs_event_queue(struct dmemfs_queued_event *queued);
void dmemfs_events_init(struct dmemfs_object *obj);
/* Raises an event that has no values but the object's id. The caller holds the table's lock. */
void dmemfs_event_raise(struct dmemfs_object *obj, enum dmemfs_event_kind kind);
/* Raises an event about a mapping of the current process; sets .id, .pid and .comm. */
void dmemfs_event_mapping(struct dmemfs_object *obj, struct dmemfs_event event);
/* Raises an event about a range of the file. If one is pending, extends it so that it covers both ranges. */
void dmemfs_event_range(struct dmemfs_object *obj, struct dmemfs_event event);
void dmemfs_event_poison(void);
/* Removes all pending events of the object. */
void dmemfs_events_cancel(struct dmemfs_object *obj);
/* Raises again what a new daemon may have missed: IDLE, FAULT and POISON. */
void dmemfs_events_rearm(void);
ssize_t dmemfs_events_read(struct file *file, char __user *buffer, size_t length, loff_t *pos);
__poll_t dmemfs_events_poll(struct file *file, struct poll_table_struct *wait);

/* guard.c */
/*
 * Sets the guards that raw memory needs, unless they are set: keeps devices away from the memory, and unsafe page-table
 * walkers from large pages; sets dmemfs_huge. -EUNATCH: raw memory must not be claimed.
 */
int dmemfs_guard_raw(void);
void dmemfs_guards_exit(void);

/* lend.c */
/* Bytes; 0: this kernel cannot. */
u64 dmemfs_lend_unit(void);
int dmemfs_lend(const struct dmemfs_lend *arg);
int dmemfs_take(const struct dmemfs_lend *arg);
int dmemfs_lent_next(struct dmemfs_lend *arg);
/* Whether @pfn is lent. Takes no lock. */
bool dmemfs_is_lent(unsigned long pfn);

/* sleep.c */
int dmemfs_sleep_init(void);
void dmemfs_sleep_exit(void);

#endif

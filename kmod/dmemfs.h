/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Internals of dmemfs.ko. The protocol is ../shared/dmemfs_ioctl.h.
 *
 * Locks, in the order in which they are taken:
 *
 *   mmap_lock or per-VMA lock   the kernel's
 *   object->lock                the object's extents and size. Faults, read, write and zeroing hold it shared,
 *                               changes exclusively, and what zaps because memory goes, so that no entry is made
 *                               behind its back; and faults for a large page, so that none comes where another
 *                               fault has begun to insert a small one, which the kernel takes for a bug. Never held across a page fault of our own: user memory is copied with
 *                               page faults off.
 *   dmemfs_region_lock          regions, who owns which memory, what is being zeroed (region.c), what is poisoned
 *                               (poison.c; to look takes no lock)
 *   xa_lock(&dmemfs_objects)    the table of objects; object->state, ->inode, ->mnt, ->events,
 *                               ->pending_faults (object.c, events.c, demand.c)
 *
 * Entries of page tables come from our faults alone: fork() copies none (->open), mremap() moves them. They go under
 * obj->lock when the memory does, but the kernel also drops, splits or write-protects them without it:
 *
 *   munmap, mremap, mprotect, madvise, mbind, mlock, UFFDIO_REGISTER   mmap_lock and the VMA for writing; 1-GiB entries
 *                               that are cut go before (->may_split), those that move, too (->open)
 *   exit, execve                nobody else uses the page tables any more
 *   /proc/PID/clear_refs        mmap_lock for writing: write-protects (soft-dirty)
 *   smaps, smaps_rollup, numa_maps, mbind and other walks of page tables   mmap_lock for reading, or more; drop 1-GiB
 *                               entries
 *   a write to a large entry that is write-protected   lock of the fault; drops it
 *   MADV_DONTNEED and its like, VM_MIXEDMAP only   mmap_lock or VMA for reading; in part of a 2-MiB entry: all of it
 *   UFFDIO_WRITEPROTECT, PAGEMAP_SCAN with write protection, until VM_SPECIAL mappings cannot be registered   mmap_lock
 *                               for reading; drops large entries, and puts tables with markers in their place
 *
 * Neither reclaim, migration, NUMA balancing, khugepaged, KSM nor the OOM reaper touches VM_PFNMAP or VM_IO mappings.
 *
 * A fault that waits for the daemon holds none of them but, where the caller of the fault cannot do without it, the
 * mmap_lock; see demand.c.
 *
 * An object is at rest when it has no inode. Its inode exists from the first open until the last file or mapping is
 * gone, and pins the pseudo file system, which pins the module.
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

#define DMEMFS_VERSION "0.1.0"

/* The first and the last page of something. */
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
	struct kref ref; /* held by the table, by the inode, and by whoever works on it */

	struct rw_semaphore lock;
	/* Under lock: */
	struct maple_tree extents; /* pages of the file to memory; see extent.c */
	unsigned long nr_extents;
	unsigned long nr_pages;	  /* all of them, of which */
	unsigned long nr_punched; /* nobody sees these any more */
	u32 mode;		  /* DMEMFS_MODE_* */
	u64 unit;		  /* bytes, a power of two */
	u64 size;
	u64 stale_end; /* bytes of memory in [size, stale_end) may not be zero yet */

	/* Under the table's lock: */
	enum dmemfs_object_state state;
	struct inode *inode;					  /* NULL: at rest */
	struct vfsmount *mnt;					  /* of the inode */
	struct dmemfs_queued_event events[DMEMFS_EVENT_LAST + 1]; /* by kind; faults and poison have their own */
	struct list_head pending_faults;			  /* units that faults wait for; see demand.c */
	unsigned int nr_pending_faults;

	atomic64_t faults_4k, faults_2m, faults_1g;
};

/* main.c */
extern enum dmemfs_huge dmemfs_huge;
u64 dmemfs_page_sizes(void);
/* Of mappings in mode DISCARD. */
u64 dmemfs_discard_page_sizes(void);

/* region.c */
extern struct mutex dmemfs_region_lock;
int dmemfs_region_claim(struct dmemfs_region *arg);
int dmemfs_region_next(struct dmemfs_region *arg);
int dmemfs_region_release(const struct dmemfs_region *arg);
int dmemfs_region_zero(u64 start, u64 length);
int dmemfs_regions_init(void);
void dmemfs_regions_exit(void);
/*
 * Makes @obj the owner of @pfns (NULL: nobody) in two steps, so that a caller can make sure of other things in
 * between: prepare() checks and allocates; then either mas_store_prealloc(@mas, @obj) or mas_destroy(@mas).
 * The caller holds dmemfs_region_lock throughout.
 */
int dmemfs_own_prepare(struct ma_state *mas, struct dmemfs_range pfns, struct dmemfs_object *obj);
/* Who owns @pfn, with a reference, or NULL. */
struct dmemfs_object *dmemfs_owner_get(unsigned long pfn);
/* Whether all of @pfns lies in one region. Any context, no lock. */
bool dmemfs_in_region(struct dmemfs_range pfns);
/*
 * The kernel's mapping of the physical address @start, which is owned by an object that the caller holds, so its region
 * stays. Returns how many bytes, of @length, can be accessed there in a row: 0 when the first page is poisoned.
 */
size_t dmemfs_map(u64 start, size_t length, void **addr);
/* Clears @length bytes at the physical address @start, but not poisoned pages. -EINTR when the task is being killed. */
int dmemfs_clear(u64 start, size_t length);

/* reserved.c */
/*
 * Whether the memory may be claimed: 0, or an error of REGION_CLAIM that says why not. Reads files in sysfs: the caller
 * holds no lock.
 */
int dmemfs_check_reserved(u64 start, u64 length);

/* extent.c */
/* Pages of [start, start + length), which must be aligned, not empty, and not wrap. */
int dmemfs_pages(u64 start, u64 length, struct dmemfs_range *range);
/* The same, and inside the largest file. */
int dmemfs_file_range(u64 offset, u64 length, struct dmemfs_range *range);
/* Sets @mas to @range and the entries next to it that are @entry as well: how many. To be stored as one. */
int dmemfs_join(struct ma_state *mas, struct dmemfs_range range, const void *entry);
int dmemfs_extent_add(struct dmemfs_object *obj, const struct dmemfs_extent *arg);
int dmemfs_extent_remove(struct dmemfs_object *obj, u64 offset, u64 length);
int dmemfs_extent_next(struct dmemfs_object *obj, struct dmemfs_extent *arg);
/*
 * Unmaps the bytes from every process, and a few around them: what is unmapped needlessly faults in again. The caller
 * holds obj->lock exclusively.
 */
void dmemfs_zap(struct inode *inode, u64 start, u64 end);
/* Unmaps the memory @pfn and tells which page of the file it is; false: no process can have it mapped. */
bool dmemfs_extent_unmap(struct dmemfs_object *obj, unsigned long pfn, unsigned long *index);
int dmemfs_object_resize(struct dmemfs_object *obj, u64 size);
int dmemfs_object_zero(struct dmemfs_object *obj, u64 start, u64 end);
/* Extents in @range become punched; nothing maps them. The caller holds obj->lock exclusively. */
int dmemfs_extents_punch(struct dmemfs_object *obj, struct dmemfs_range range);
/*
 * The run of memory around page @index of the file: 0 and its pages in @run and the memory of page @index in @pfn, or
 * -ENOENT and the hole in @run. The caller holds obj->lock.
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
struct dmemfs_object *dmemfs_object_get(u64 id);
bool dmemfs_object_is_idle(struct dmemfs_object *obj);
void dmemfs_object_put(struct dmemfs_object *obj);
/* The object's inode, or NULL when it is at rest. Release with dmemfs_inode_put(). */
struct inode *dmemfs_inode_get(struct dmemfs_object *obj, struct vfsmount **mnt);
void dmemfs_inode_put(struct inode *inode, struct vfsmount *mnt);
void dmemfs_objects_exit(void);

/* file.c */
extern const struct file_operations dmemfs_file_operations;

/* map.c */
extern const struct vm_operations_struct dmemfs_vm_operations;
int dmemfs_mmap(struct file *file, struct vm_area_struct *vma);
/* Whether page @index of the object is in this mapping. The caller holds the mmap_lock. */
bool dmemfs_vma_shows(const struct vm_area_struct *vma, const struct dmemfs_object *obj, unsigned long index);

/* demand.c */
int dmemfs_object_set_mode(struct dmemfs_object *obj, u32 mode, u64 unit);
/*
 * Asks for the unit at vmf->pgoff, a hole: what to wait for, with a reference that dmemfs_demand_wait() puts.
 * Errors: -EIO (refused), -ENOMEM. The caller has held obj->lock since it saw the hole.
 */
struct dmemfs_pending_fault *dmemfs_demand_ask(struct dmemfs_object *obj, const struct vm_fault *vmf);
/* Waits without obj->lock. Returns what the fault handler has to. */
vm_fault_t dmemfs_demand_wait(struct dmemfs_object *obj, struct vm_fault *vmf, struct dmemfs_pending_fault *fault);
/* Faults that wait in @range look again, or are refused. With 0 the caller holds obj->lock exclusively. */
void dmemfs_demand_answer(struct dmemfs_object *obj, struct dmemfs_range range, int error);
int dmemfs_demand_answer_request(struct dmemfs_object *obj, const struct dmemfs_fault_answer *arg);
void dmemfs_demand_rearm(struct dmemfs_object *obj);
void dmemfs_demand_exit(struct dmemfs_object *obj);
int dmemfs_demand_punch(struct dmemfs_object *obj, struct inode *inode, u64 start, u64 end);

/* poison.c */
/* The first poisoned page of @pfns; false: there is none. */
bool dmemfs_poison_find(struct dmemfs_range pfns, unsigned long *pfn);
bool dmemfs_poison_exists(void);
int dmemfs_poison_add(const struct dmemfs_poison *arg);
int dmemfs_poison_next(struct dmemfs_poison *arg);
int dmemfs_poison_init(void);
void dmemfs_poison_exit(void);

/* events.c */
/* The caller holds the table's lock. */
void dmemfs_event_queue(struct dmemfs_queued_event *queued);
void dmemfs_events_init(struct dmemfs_object *obj);
void dmemfs_event_raise(struct dmemfs_object *obj, enum dmemfs_event_kind kind);
void dmemfs_event_mapping(struct dmemfs_object *obj, struct dmemfs_event event);
/* Something happened to a range of the file. Adds to what is pending. */
void dmemfs_event_range(struct dmemfs_object *obj, struct dmemfs_event event);
/* Some memory was poisoned. */
void dmemfs_event_poison(void);
void dmemfs_events_cancel(struct dmemfs_object *obj);
void dmemfs_events_rearm(void);
ssize_t dmemfs_events_read(struct file *file, char __user *buffer, size_t length, loff_t *pos);
__poll_t dmemfs_events_poll(struct file *file, struct poll_table_struct *wait);

/* guard.c */
/* Errors: the module must not be used. */
int dmemfs_guard_devices(void);
enum dmemfs_huge dmemfs_guard_walks(void);
void dmemfs_guards_exit(void);

#endif

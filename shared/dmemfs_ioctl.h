/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note OR MIT */
/*
 * The protocol between dmemfsd and dmemfs.ko. This text is its specification.
 *
 * Terms
 *
 *   The module maps reserved RAM into processes. It makes no decisions about files: the daemon tells it which run of
 *   physical memory backs which part of which file. The module refuses every request that would give the same memory
 *   to two owners.
 *
 *   A *region* is a range of physical memory that the daemon has claimed. Its start address identifies it. A region is
 *   *raw* if no struct page describes its memory, or *paged* if it consists of folios (compound pages) of one size.
 *   Everything that needs a struct page works on paged memory: O_DIRECT, io_uring, RDMA, VFIO. See "Pins".
 *   An *object* is the memory of one file. The daemon chooses the id. An id identifies one object at a time. It is
 *   neither 0 nor 2^64 - 1, so that "the next id" always exists.
 *   An *extent* is a run of file offsets of an object that is backed by a run of physical memory. A *hole* is a run of
 *   file offsets that is not.
 *   All addresses, offsets and lengths are in bytes. Those of regions and extents are multiples of
 *   DMEMFS_ALIGNMENT. Lengths of regions and extents are not 0.
 *
 * Opening
 *
 *   /dev/dmemfs has mode 0600. open(2) needs CAP_SYS_RAWIO in the initial user namespace (EPERM). Only one open file
 *   description exists at a time (EBUSY). The device only controls the module: regions, objects and extents stay when
 *   it is closed, and end when the module is unloaded. A daemon that starts again lists what exists.
 *
 *   The first ioctl is DMEMFS_IOC_HELLO with .abi = DMEMFS_ABI_VERSION and all other members 0. The module answers with
 *   its own version in .abi, also when it fails with EPROTO because the two versions differ. The daemon compares them
 *   as well. The number and the struct of HELLO never change. Every other ioctl, and read(2), fails with EPROTO until
 *   HELLO has succeeded on this open file description.
 *
 *   HELLO may be called again. .huge, .page_sizes and .discard_page_sizes describe raw memory. The module sets its
 *   guards when the first raw region is claimed. Until then, on kernels that need a guard for large pages, these
 *   members say what the module will try; from then on, what it does.
 *
 * Rules for all ioctls
 *
 *   Structs have fixed-width members and no implicit padding; 32-bit and 64-bit callers use the same layout.
 *   Members marked "out", "reserved" or "flags" are 0 in the request. A request that breaks these rules fails with
 *   EINVAL, an unknown request number with ENOTTY, a bad pointer with EFAULT. A request that fails has changed
 *   nothing, unless its description says otherwise or the module could not write its answer (EFAULT). EINTR means that
 *   a fatal signal came; only requests that can take long return it. Several threads may call ioctls at once.
 *
 * Mark
 *
 *   MARK_SET stores 16 bytes that the daemon chooses; MARK_GET returns them. They are all 0 after the module was
 *   loaded. With the mark, a daemon recognizes whether the module's objects and memory are those of its own records.
 *
 * Regions
 *
 *   REGION_CLAIM takes .start, .length and .order and answers with the rest of the struct. The memory is not zeroed.
 *     .order is 0 for a raw region, or the order of the folios of a paged one: 9 (2 MiB) or 18 (1 GiB). .start and
 *     .length of a paged region are multiples of its folios and of DMEMFS_PAGES_ALIGNMENT.
 *     Errors:
 *     EINVAL  not aligned, empty, wraps, beyond the physical addresses of this CPU, or an unknown order
 *     EEXIST  overlaps a claimed region
 *     ENXIO   the kernel uses some of it as System RAM: it was not reserved with memmap=LENGTH$START
 *     ENODEV  some of it is not "Reserved" in /proc/iomem: memmap= did not reserve it, it may be a device
 *     EADDRNOTAVAIL  the firmware's memory map (/sys/firmware/memmap) does not list all of it as RAM
 *     EOPNOTSUPP  memory encryption (SME, SEV, TDX) is on: kernel and processes would not see the same bytes; or
 *             .order is not 0 and hello.features lacks DMEMFS_FEATURE_PAGES
 *     EPERM   the kernel is locked down (kernel_lockdown(7))
 *     EBUSY   another driver holds some of it (/proc/iomem)
 *     EIO     it cannot be mapped write-back, or the kernel refuses to make its struct pages
 *     ENOMEM  no memory for the struct pages, or for page tables
 *     ENOSPC  DMEMFS_REGIONS_MAX regions are claimed
 *     EUNATCH raw regions: ftrace cannot keep devices away from the memory; the kernel's log has the reason
 *   REGION_NEXT answers with the first region at or above .start; ENOENT when there is none.
 *     .flags has DMEMFS_REGION_UNMAPPED if the kernel's own page tables have entries only for what a request or system
 *     call accesses, and only meanwhile: so it is with raw memory. If the kernel has no memory for such an entry, the
 *     request, read(2), write(2) or fallocate(2) fails with ENOMEM.
 *   REGION_RELEASE takes .start and .length exactly as they were claimed (else ENOENT). It fails with EBUSY while an
 *     object owns memory of the region, OBJECT_ZERO zeroes some of it, or some of it is pinned or lent.
 *   While a region is claimed the machine does not hibernate: the image would not contain the region's memory.
 *
 * Objects
 *
 *   State NAMED:   the daemon has a file for it.
 *         DROPPED: the daemon has given it up, but open files or mappings still reach it.
 *         IDLE:    the daemon has given it up, and no file or mapping reaches it. It still owns its extents.
 *
 *   OBJECT_CREATE makes an empty NAMED object of size 0. EEXIST: the id is in use, in any state. ENOSPC: there
 *     are DMEMFS_OBJECTS_MAX.
 *   OBJECT_OPEN returns, as the result of the ioctl, a descriptor (O_RDWR | O_CLOEXEC) of a regular file that is
 *     the object: read, write and mmap it, or register it as a FUSE backing file. NAMED only (ENOENT).
 *   OBJECT_DROP turns NAMED into DROPPED, or at once into IDLE when no descriptor and no mapping is left. .state
 *     returns which. A descriptor that the daemon itself holds, also as a FUSE backing file, counts: close it first.
 *     If the object is DROPPED, the event IDLE follows when the last descriptor and mapping are gone. ENOENT unless
 *     NAMED.
 *   OBJECT_REAP removes an IDLE object (EBUSY in other states). Its memory then has no owner and is not zeroed. After
 *     EINTR the object is still IDLE and some of its extents may be gone: call again.
 *   OBJECT_NEXT answers with the first object whose id is at least .id (ENOENT when there is none). It serves both to
 *     list all objects and to query one.
 *
 *   The memory of a removed file can be used again after OBJECT_REAP, and that of a live file after EXTENT_REMOVE,
 *   never earlier. If the daemon died in between, the next one finds the IDLE objects in the list, and receives their
 *   events again.
 *
 *   OBJECT_RESIZE sets the size. Bytes past the size do not exist: an access to a page wholly past it is SIGBUS,
 *     read(2) ends there, and write(2) does not go past it. When RESIZE returns 0, memory of the object past its size
 *     reads as zeroes if it becomes visible later, provided that it held zeroes when it was added. RESIZE zeroes what
 *     it must: before you shrink, remove the extents that are wholly past the new size, or they are zeroed for nothing.
 *     After EINTR or ENOMEM the size is what it was, and some bytes past a smaller one are zeroed. EFBIG: more than the
 *     kernel's largest file.
 *
 *   OBJECT_MODE sets
 *     - the mode, .mode (or-ed enum dmemfs_object_mode_bit),
 *     - the unit, .unit: the size in which the object receives and gives back memory on demand, a power of two from
 *       DMEMFS_ALIGNMENT, or one folio if that is more, to 1 GiB (EINVAL), and
 *     - the order of the regions that its memory comes from, .order. It cannot change (EBUSY) while the object has
 *       extents, or an open file or a mapping reaches it.
 *     A new object has mode 0, the smallest unit and order 0. Faults that wait are retried. Existing mappings keep the
 *     mode in which they were made.
 *     DEMAND   holes inside the size receive memory when they are touched: see "Demand". Without it, access to a hole
 *              is SIGBUS.
 *     DISCARD  madvise(MADV_DONTNEED) works on mappings made from now on: it drops page-table entries, the
 *              memory stays. Such mappings use only pages of the sizes in hello.discard_page_sizes. It has no effect
 *              on objects of paged memory: MADV_DONTNEED always works on their mappings.
 *
 *   OBJECT_ZERO zeroes .length bytes at .offset. With .id 0, .offset is a physical address: the range must lie in
 *     one region (ENXIO), have no owner and be neither pinned nor lent (EBUSY); it cannot get an owner while it is
 *     being zeroed.
 *     With an object's id, the range may reach past the size and over holes, which are skipped. After EINTR or
 *     ENOMEM some of it is zeroed.
 *
 * Extents
 *
 *   EXTENT_ADD makes [.start, .start + .length) the memory of .id from .offset on. The memory must hold zeroes: the
 *     caller has zeroed it (OBJECT_ZERO) or knows that it holds zeroes. It may lie past the size. The module joins
 *     neighbouring extents that continue each other in the file and in memory. Faults that wait for some of the range
 *     are retried. NAMED and DROPPED objects only. Errors:
 *     EINVAL  the region has another order than the object; or start, length or offset are not multiples of its folio
 *     ENOENT  no such object, or it is IDLE
 *     EFBIG   past the kernel's largest file
 *     EEXIST  the object has memory in that range of the file already
 *     ENXIO   not inside one region
 *     EBUSY   some of the memory has an owner, is pinned, lent, or is being zeroed
 *     ENOMEM  no memory for the book-keeping
 *   EXTENT_REMOVE takes the memory under [.offset, .offset + .length) away from the object (.start is 0). Extents
 *     are cut where needed, but not inside a folio (EINVAL); holes are skipped. When it returns 0, no mapping reaches
 *     the memory, no read or write on the object accesses it, and it has no owner; but some of it may be pinned. After
 *     EINTR or ENOMEM some may be gone: call again. ENOENT as above.
 *   EXTENT_NEXT answers with the first extent of .id that ends after .offset; ENOENT when there is none, or no
 *     such object. Works in every state. .flags has DMEMFS_EXTENT_PUNCHED if it is punched (below).
 *
 * Pins
 *
 *   A device, or a request of another process that the kernel works on, may hold a folio longer than any mapping, file
 *   or object does. When paged memory leaves an object, by EXTENT_REMOVE or OBJECT_REAP, each folio that is still held
 *   becomes *pinned*: it has no owner and cannot get one. A request to add, zero or release it fails with EBUSY. The
 *   module cannot be unloaded while a pinned folio, or one of an object that no file or mapping reaches, is held.
 *
 *   PINNED_NEXT tests pinned folios again, those in [.start, .start + .length), or with .length 0 all from .start on,
 *   until it finds one that is still pinned. It answers with the run of this folio, as far as it is in the range and was
 *   tested: more that is pinned may touch the end of the run. ENOENT when there is none, EINTR after a fatal signal. Only
 *   this request ends the state, and no event tells that a holder is gone: the daemon calls it after it has taken memory
 *   away, when it starts, and from time to time while something is pinned.
 *
 * Demand
 *
 *   An object in mode DEMAND receives memory when it is touched, and gives it back in whole units.
 *
 *   An access to a hole inside the size raises the event FAULT for the unit that contains it, and waits until
 *     - EXTENT_ADD adds memory to some of that unit,
 *     - FAULT_ANSWER answers the unit,
 *     - RESIZE shrinks the object to a size before the end of the unit,
 *     - OBJECT_MODE is called, or
 *     - a signal comes: a fatal one always, another one only if user space made the access and will repeat it.
 *   An access by the kernel itself, other than for a vCPU, fails when it has waited for the module's parameter
 *   kernel_wait_seconds.
 *   Accesses to a unit that is already requested wait for the same answer. At most DMEMFS_FAULTS_MAX units of an object
 *   are requested at a time; accesses to further units wait until an earlier request ends. The request for a unit ends
 *   when no access waits for it any more. Without a daemon, faults wait for the next one: opening the device makes
 *   FAULT pending again for every unit that is still requested.
 *
 *   FAULT_ANSWER takes a range, .offset and .length, and the result for faults that wait in it: with .error 0
 *     they are retried; with an errno (1 to 4095) they are SIGBUS, and so is every access to these units for the next
 *     second. The daemon answers each event with EXTENT_ADD or FAULT_ANSWER. No fault need wait in the range. ENOENT as
 *     for extents.
 *
 *   Reading a hole by read(2), or through /proc/PID/mem where the order is 0, returns zeroes and takes no memory.
 *   write(2) to a hole of the object is ENOSPC as in other modes: the daemon adds memory first.
 *
 *   Punching a hole (fallocate on the object, madvise(MADV_REMOVE)) zeroes parts of units in place. Whole units
 *   become *punched*: no mapping, read or write reaches their memory any more, and an access to them is an access to a
 *   hole. Their memory still belongs to the object, so that it gets no other owner before the daemon has recorded the
 *   change. The event PUNCHED says in which range to look. The daemon removes punched extents from its records, then
 *   from the object with EXTENT_REMOVE. Until then EXTENT_ADD there is EEXIST. Only EXTENT_REMOVE and OBJECT_REAP end
 *   the state. A daemon that starts finds punched extents in the list. After EINTR or ENOMEM a part of the range is
 *   punched.
 *
 * Poison
 *
 *   A page of a region in which the machine reports an uncorrected error is *poisoned* until the module is unloaded,
 *   whoever owns it now or later. The module unmaps it. An access to it is SIGBUS with si_code BUS_MCEERR_AR and the
 *   address; the memory around it is mapped with smaller pages. A process that asked for it (prctl(2),
 *   PR_MCE_KILL_EARLY) gets SIGBUS with BUS_MCEERR_AO at once. read(2) and write(2) of the page are EIO, and requests
 *   that zero memory skip it. Ownership and extents do not change: the daemon has to keep such memory out of use.
 *
 *   POISON_ADD poisons [.start, .start + .length), which the daemon knows to be bad from its records. Some of it may be
 *     poisoned already. Errors; after ENOSPC and ENOMEM some of it is poisoned:
 *     EINVAL  not aligned, empty, or wraps
 *     ENXIO   not inside one region
 *     ENOSPC  DMEMFS_POISON_MAX pages are poisoned
 *   POISON_NEXT answers with the first run of poisoned pages at or above .start; ENOENT when there is none.
 *
 * Lending
 *
 *   A *unit* of hello.lend_unit bytes of a region, aligned to its size, that nobody owns can be *lent*: until it is taken
 *   back it is ordinary memory of the kernel, like any memory that is added at run time. Lent memory cannot get an
 *   owner, be zeroed or be released (EBUSY). What is lent stays lent when the device is closed; the module cannot be
 *   unloaded meanwhile.
 *
 *   REGION_LEND lends the unit at .start; .length is hello.lend_unit. It returns when its memory blocks exist
 *     (/sys/devices/system/memory). They are used when somebody brings them online, with "online_movable": the module
 *     refuses to have them in another zone than ZONE_MOVABLE, from which memory can be moved away again. So an automatic
 *     "online" by the kernel has no effect on them. While the unit is lent, its struct pages take 1/64 of its size
 *     of the host's memory. Errors:
 *     EINVAL  not one unit
 *     ENXIO   not inside one region
 *     EEXIST  it is lent
 *     EBUSY   some of it has an owner, is pinned, or is being zeroed; or another unit is being lent
 *     EHWPOISON  a page of it is poisoned
 *     EOPNOTSUPP hello.features lacks DMEMFS_FEATURE_LEND
 *     ENOMEM  no memory for its struct pages; if LENT_NEXT lists it, it is lent although it is not used: take it
 *     ETIME   it has lasted for 10 s: others add, remove or bring memory online for so long
 *     EINTR   a fatal signal
 *     and what else the kernel says. After ETIME and EINTR the unit is lent, or is about to be, if LENT_NEXT lists it; else it
 *     is not, nor will be.
 *   REGION_TAKE takes the unit at .start back; .length is hello.lend_unit. The kernel moves what is in it elsewhere, or drops
 *     it if it is clean cache. When the request returns 0, the unit is as it was, with folios if its region is paged, and
 *     without an owner. Its contents are undefined. Memory blocks may be online or not; while the request is at work
 *     nobody else can change that. After an error the unit is lent as before, except as said for ETIME and EINTR. Errors:
 *     EINVAL  not one unit
 *     ENOENT  it is not lent
 *     EBUSY   the kernel cannot move some page, after five tries: somebody has pinned it
 *     ENOMEM  the host has no other place for what is in it; or no memory to make the folios again: then it is lent,
 *             OFFLINE and without memory blocks, and the next REGION_TAKE tries again
 *     ETIME   .timeout milliseconds are over
 *     EINTR   a fatal signal
 *     After ETIME and EINTR the state may be TAKING for as long as the kernel waits for a page, of a file for example whose
 *     server does not answer. Then the unit is lent as before, or has been taken: LENT_NEXT tells.
 *     Several units can be taken at a time: one for whose page the kernel waits does not delay the others. But the kernel
 *     removes them one by one, and waits for anybody who adds, removes or brings memory online.
 *     There is no guarantee: whoever pins memory can pin lent memory, and for as long as he wants.
 *     The kernel removes the entry of the firmware's map (/sys/firmware/memmap) that is exactly the unit, if there is one.
 *     REGION_CLAIM works all the same until the module is unloaded; from then on it is EADDRNOTAVAIL until a reboot.
 *   LENT_NEXT answers with the first lent unit at or above .start, with .length and .state; ENOENT when there is none. It
 *     does not wait for the others.
 *
 *   A memory error in lent memory is handled by the kernel. The page is poisoned as well, from the error or from the
 *   time on at which its memory block goes offline, and stays so after the unit was taken. While a file of tmpfs or the
 *   swap cache keeps such a page, the unit cannot be taken (EBUSY).
 *
 * Mapping
 *
 *   Files are mapped MAP_SHARED only; MAP_PRIVATE is EINVAL. A mapping that ends past the size, where there is no
 *   extent either, is ENOMEM unless the mode is DEMAND. A fault is served with the largest page that the
 *   mapping's address and length, the file offset, the memory's address, the size and hello.page_sizes allow; or, of
 *   paged memory, the kernel and the order: up to Linux 6.12 pages no larger than the folio, since 7.3 4 KiB or the
 *   folio.
 *   Where there is no extent, access is SIGBUS unless the mode is DEMAND, read(2) reads zeroes and write(2) is
 *   ENOSPC. fallocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE), and so madvise(MADV_REMOVE), zeroes in place
 *   unless the mode is DEMAND.
 *
 * Events
 *
 *   read(2) on the device returns whole struct dmemfs_event records, as many as fit and are pending. It waits for the
 *   first one (EAGAIN with O_NONBLOCK); poll(2) reports POLLIN when one is pending. Each kind is pending at most
 *   once per object, with the values of its latest occurrence; FAULT once per requested unit; POISON once.
 *   So the queue cannot overflow. EFAULT loses a record. Opening the device makes IDLE pending again for every IDLE
 *   object, and FAULT and POISON as described. Unknown kinds must be ignored.
 *
 *     IDLE        .id: the object became IDLE; see OBJECT_DROP.
 *     UNALIGNED   .id, .pid, .comm, .address, .offset, .length: a mapping long enough for large pages was made,
 *                 whose address and file offset differ modulo a page size that its memory could have. .page_size is
 *                 the largest that it can still use.
 *     PRIVATE     .id, .pid, .comm, .length: a MAP_PRIVATE mapping was refused.
 *
 *     FAULT       .id, .offset, .length, .address, .pid, .comm: this unit needs memory; the process is the first that
 *                 accessed it. .node is the node of the CPU that it ran on. .policy and .nodes are the memory policy of
 *                 its mapping (mbind(2)), if it has one that names nodes below 64; else 0.
 *     PUNCHED     .id, .offset, .length: there are punched extents, all new ones in this range.
 *     POISON      memory was poisoned; POISON_NEXT lists all poisoned pages. Opening the device makes the event pending
 *                 again if a page is poisoned.
 */
#ifndef DMEMFS_IOCTL_H
#define DMEMFS_IOCTL_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* Raised with each change of the protocol that an older peer would misunderstand. */
#define DMEMFS_ABI_VERSION 2

#define DMEMFS_DEVICE    "/dev/dmemfs"
#define DMEMFS_ALIGNMENT 4096
/* Of paged regions: a section of x86-64 (arch/x86/include/asm/sparsemem.h), which must not be shared with others. */
#define DMEMFS_PAGES_ALIGNMENT 134217728
#define DMEMFS_REGIONS_MAX     64
#define DMEMFS_OBJECTS_MAX     (1 << 22)
#define DMEMFS_FAULTS_MAX      64
#define DMEMFS_POISON_MAX      16384

/* dmemfs_hello.huge: whether pages larger than 4 KiB are used, and why. */
enum dmemfs_huge {
	DMEMFS_HUGE_SAFE = 1,     /* yes: this kernel's page-table walkers expect them */
	DMEMFS_HUGE_GUARDED = 2,  /* yes: a page-table walker that does not expect them is kept away by ftrace */
	DMEMFS_HUGE_NO_GUARD = 3, /* no: ftrace could not do that; an unprivileged process could crash the host */
	DMEMFS_HUGE_KERNEL = 4,   /* no: the kernel was built without transparent huge pages */
	DMEMFS_HUGE_PARAMETER = 5 /* no: module parameter huge_pages=0 */
};

/* dmemfs_hello.features, or-ed: what this module supports beyond the first version of the protocol. */
enum dmemfs_feature {
	DMEMFS_FEATURE_DEMAND = 1,
	DMEMFS_FEATURE_DISCARD = 2,
	DMEMFS_FEATURE_POISON = 4,
	DMEMFS_FEATURE_PAGES = 8, /* paged regions, on this kernel */
	DMEMFS_FEATURE_LEND = 16  /* lending, on this kernel */
};

struct dmemfs_hello {
	__u32 abi;                /* in: the daemon's, out: the module's DMEMFS_ABI_VERSION */
	__u32 huge;               /* out: enum dmemfs_huge */
	__u64 page_sizes;         /* out: the page sizes that faults may use, or-ed: 4096 | 2097152 | 1073741824 */
	__u64 features;           /* out: enum dmemfs_feature */
	__u64 discard_page_sizes; /* out: as page_sizes, for mappings of objects in mode DISCARD */
	__u64 lend_unit;          /* out: see Lending; 0: this kernel cannot */
	__u64 reserved;
	char version[32]; /* out: of the module, NUL-terminated */
};

/* MARK_SET, MARK_GET */
struct dmemfs_mark {
	__u8 bytes[16]; /* out in GET */
};

/* dmemfs_region.flags */
enum dmemfs_region_flag {
	DMEMFS_REGION_UNMAPPED = 1 /* see REGION_NEXT */
};

struct dmemfs_region {
	__u64 start;
	__u64 length;
	__u64 owned;       /* out: bytes that belong to objects */
	__u64 node_length; /* out: bytes from .start on that lie on .node; less than .length if it spans nodes */
	__s32 node;        /* out: NUMA node, -1 when unknown */
	__u32 order;       /* in CLAIM, out in NEXT: 0, or of the folios */
	__u64 flags;       /* out: enum dmemfs_region_flag, or-ed */
	__u64 reserved;
};

enum dmemfs_object_state { DMEMFS_OBJECT_NAMED = 1, DMEMFS_OBJECT_DROPPED = 2, DMEMFS_OBJECT_IDLE = 3 };

/* OBJECT_CREATE, OBJECT_OPEN, OBJECT_DROP, OBJECT_REAP */
struct dmemfs_object_op {
	__u64 id;
	__u32 flags;
	__u32 state; /* out: enum dmemfs_object_state; 0 after REAP. OPEN does not write it. */
};

struct dmemfs_object_resize {
	__u64 id;
	__u64 size;
	__u64 flags;
};

enum dmemfs_object_mode_bit { DMEMFS_MODE_DEMAND = 1, DMEMFS_MODE_DISCARD = 2 };

struct dmemfs_object_mode {
	__u64 id;
	__u64 unit;
	__u32 mode;  /* enum dmemfs_object_mode_bit */
	__u32 order; /* of the regions that its memory comes from */
};

struct dmemfs_object_zero {
	__u64 id; /* 0: memory that no object owns */
	__u64 offset;
	__u64 length;
	__u32 flags;
	__u32 reserved;
};

/* OBJECT_NEXT. All but .id are out. */
struct dmemfs_object_info {
	__u64 id;
	__u32 state; /* enum dmemfs_object_state */
	__u32 mode;  /* enum dmemfs_object_mode_bit */
	__u64 size;
	__u64 allocated; /* bytes in extents, punched ones included */
	__u64 extents;   /* number of them */
	__u64 faults_4k; /* faults served with a page of this size */
	__u64 faults_2m;
	__u64 faults_1g;
	__u64 unit;    /* of OBJECT_MODE */
	__u64 punched; /* bytes in punched extents */
	__u64 asked;   /* number of units that faults wait for */
	__u32 order;   /* of OBJECT_MODE */
	__u32 reserved;
};

/* dmemfs_extent.flags, out in NEXT */
enum dmemfs_extent_flag { DMEMFS_EXTENT_PUNCHED = 1 };

/* EXTENT_ADD, EXTENT_REMOVE, EXTENT_NEXT */
struct dmemfs_extent {
	__u64 id;
	__u64 offset; /* in the file */
	__u64 start;  /* physical address */
	__u64 length;
	__u32 flags;
	__u32 reserved;
};

/* FAULT_ANSWER */
struct dmemfs_fault_answer {
	__u64 id;
	__u64 offset;
	__u64 length;
	__u32 error; /* 0: retry, else an errno */
	__u32 flags;
};

/* POISON_ADD, POISON_NEXT */
struct dmemfs_poison {
	__u64 start;  /* physical address */
	__u64 length; /* out in NEXT */
	__u32 flags;
	__u32 reserved;
};

/* PINNED_NEXT */
struct dmemfs_pinned {
	__u64 start;  /* physical address */
	__u64 length; /* in and out */
	__u32 flags;
	__u32 reserved;
};

/* dmemfs_lend.state */
enum dmemfs_lend_state {
	DMEMFS_LEND_OFFLINE = 1, /* lent, but not all of its memory blocks are online */
	DMEMFS_LEND_ONLINE = 2,
	DMEMFS_LEND_TAKING = 3 /* REGION_TAKE is at work */
};

/* REGION_LEND, REGION_TAKE, LENT_NEXT */
struct dmemfs_lend {
	__u64 start;   /* physical address */
	__u64 length;  /* out in NEXT */
	__u32 state;   /* out: enum dmemfs_lend_state */
	__u32 timeout; /* in TAKE: milliseconds */
	__u64 flags;
};

enum dmemfs_event_kind {
	DMEMFS_EVENT_IDLE = 1,
	DMEMFS_EVENT_UNALIGNED = 2,
	DMEMFS_EVENT_PRIVATE = 3,
	DMEMFS_EVENT_FAULT = 4,
	DMEMFS_EVENT_PUNCHED = 5,
	DMEMFS_EVENT_POISON = 6,
	DMEMFS_EVENT_LAST = DMEMFS_EVENT_POISON
};

/* dmemfs_event.policy: how the memory is to be taken from .nodes */
enum dmemfs_policy {
	DMEMFS_POLICY_NONE = 0,   /* no policy: .nodes is 0 */
	DMEMFS_POLICY_ONLY = 1,   /* from these nodes only */
	DMEMFS_POLICY_PREFER = 2, /* from these nodes if possible */
	DMEMFS_POLICY_SPREAD = 3  /* from these nodes in turn */
};

/* Members that an event does not use are 0. */
struct dmemfs_event {
	__u32 kind; /* enum dmemfs_event_kind */
	__s32 pid;  /* process (thread group) in the first pid namespace */
	__u64 id;   /* of the object */
	__u64 address;
	__u64 offset;
	__u64 length;
	__u64 page_size;
	char comm[16]; /* of the process, NUL-terminated; chosen by that process, so print it with care */
	__u64 nodes;   /* bit n: node n */
	__s32 node;    /* -1: not known */
	__u32 policy;  /* enum dmemfs_policy */
};

#define DMEMFS_IOC_MAGIC 0xDE

#define DMEMFS_IOC_HELLO          _IOWR(DMEMFS_IOC_MAGIC, 0x00, struct dmemfs_hello)
#define DMEMFS_IOC_MARK_SET       _IOW(DMEMFS_IOC_MAGIC, 0x08, struct dmemfs_mark)
#define DMEMFS_IOC_MARK_GET       _IOWR(DMEMFS_IOC_MAGIC, 0x09, struct dmemfs_mark)
#define DMEMFS_IOC_REGION_CLAIM   _IOWR(DMEMFS_IOC_MAGIC, 0x10, struct dmemfs_region)
#define DMEMFS_IOC_REGION_NEXT    _IOWR(DMEMFS_IOC_MAGIC, 0x11, struct dmemfs_region)
#define DMEMFS_IOC_REGION_RELEASE _IOW(DMEMFS_IOC_MAGIC, 0x12, struct dmemfs_region)
#define DMEMFS_IOC_OBJECT_CREATE  _IOWR(DMEMFS_IOC_MAGIC, 0x20, struct dmemfs_object_op)
#define DMEMFS_IOC_OBJECT_OPEN    _IOW(DMEMFS_IOC_MAGIC, 0x21, struct dmemfs_object_op)
#define DMEMFS_IOC_OBJECT_DROP    _IOWR(DMEMFS_IOC_MAGIC, 0x22, struct dmemfs_object_op)
#define DMEMFS_IOC_OBJECT_REAP    _IOW(DMEMFS_IOC_MAGIC, 0x23, struct dmemfs_object_op)
#define DMEMFS_IOC_OBJECT_NEXT    _IOWR(DMEMFS_IOC_MAGIC, 0x24, struct dmemfs_object_info)
#define DMEMFS_IOC_OBJECT_RESIZE  _IOW(DMEMFS_IOC_MAGIC, 0x25, struct dmemfs_object_resize)
#define DMEMFS_IOC_OBJECT_ZERO    _IOW(DMEMFS_IOC_MAGIC, 0x26, struct dmemfs_object_zero)
#define DMEMFS_IOC_OBJECT_MODE    _IOW(DMEMFS_IOC_MAGIC, 0x27, struct dmemfs_object_mode)
#define DMEMFS_IOC_EXTENT_ADD     _IOW(DMEMFS_IOC_MAGIC, 0x30, struct dmemfs_extent)
#define DMEMFS_IOC_EXTENT_REMOVE  _IOW(DMEMFS_IOC_MAGIC, 0x31, struct dmemfs_extent)
#define DMEMFS_IOC_EXTENT_NEXT    _IOWR(DMEMFS_IOC_MAGIC, 0x32, struct dmemfs_extent)
#define DMEMFS_IOC_FAULT_ANSWER   _IOW(DMEMFS_IOC_MAGIC, 0x38, struct dmemfs_fault_answer)
#define DMEMFS_IOC_POISON_ADD     _IOW(DMEMFS_IOC_MAGIC, 0x40, struct dmemfs_poison)
#define DMEMFS_IOC_POISON_NEXT    _IOWR(DMEMFS_IOC_MAGIC, 0x41, struct dmemfs_poison)
#define DMEMFS_IOC_PINNED_NEXT    _IOWR(DMEMFS_IOC_MAGIC, 0x42, struct dmemfs_pinned)
#define DMEMFS_IOC_REGION_LEND    _IOW(DMEMFS_IOC_MAGIC, 0x50, struct dmemfs_lend)
#define DMEMFS_IOC_REGION_TAKE    _IOW(DMEMFS_IOC_MAGIC, 0x51, struct dmemfs_lend)
#define DMEMFS_IOC_LENT_NEXT      _IOWR(DMEMFS_IOC_MAGIC, 0x52, struct dmemfs_lend)

/* The layout of the structs is part of the protocol. */
#if defined(__cplusplus)
#define DMEMFS_ASSERT_SIZE(type, bytes) static_assert(sizeof(struct type) == (bytes), #type)
#else
#define DMEMFS_ASSERT_SIZE(type, bytes) _Static_assert(sizeof(struct type) == (bytes), #type)
#endif
DMEMFS_ASSERT_SIZE(dmemfs_hello, 80);
DMEMFS_ASSERT_SIZE(dmemfs_mark, 16);
DMEMFS_ASSERT_SIZE(dmemfs_region, 56);
DMEMFS_ASSERT_SIZE(dmemfs_object_op, 16);
DMEMFS_ASSERT_SIZE(dmemfs_object_resize, 24);
DMEMFS_ASSERT_SIZE(dmemfs_object_mode, 24);
DMEMFS_ASSERT_SIZE(dmemfs_object_zero, 32);
DMEMFS_ASSERT_SIZE(dmemfs_object_info, 96);
DMEMFS_ASSERT_SIZE(dmemfs_extent, 40);
DMEMFS_ASSERT_SIZE(dmemfs_fault_answer, 32);
DMEMFS_ASSERT_SIZE(dmemfs_poison, 24);
DMEMFS_ASSERT_SIZE(dmemfs_pinned, 24);
DMEMFS_ASSERT_SIZE(dmemfs_lend, 32);
DMEMFS_ASSERT_SIZE(dmemfs_event, 80);
#undef DMEMFS_ASSERT_SIZE

#endif

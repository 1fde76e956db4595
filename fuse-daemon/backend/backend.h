/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The interface of the backends, which hold the bytes of files. The caller decides which run of memory is which part of which
 * file; a backend only does what it is told. backend_memory.c keeps each file in tmpfs, backend_pfn.c in reserved RAM by
 * dmemfs.ko.
 *
 * An object is the memory of one file. Its id is the file's inode number. Its life:
 *   create -> give, resize, take, ... -> drop -> (until no process maps it) -> idle callback
 * An object outlives the daemon: release() leaves it, and attach() of the next daemon finds it.
 *
 * Memory that is in the object at drop() may not be used again before the idle callback was called for the object: processes
 * may still map it, and another file's bytes would be visible to them. take(), in contrast, is synchronous: when it
 * returns, no process maps the memory.
 *
 * An object gets memory when its file grows or, with the mode BACKEND_DEMAND, when it is touched.
 *
 * Calls for one object are serialised by its file's lock, except that read(), write() and zero() may run concurrently.
 * Calls for different objects run concurrently. Callbacks are called by dispatch(), which holds no lock of the backend.
 *
 * All offsets and lengths are bytes. Errors are negative errno values.
 */
#ifndef DMEMFS_BACKEND_H
#define DMEMFS_BACKEND_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <unistd.h>

#include "base/extent_map.h"
#include "config/config.h"
#include "pool/numa_policy.h"
#include "store/store.h"

struct backend;
struct backend_object;

/* backend_fd declares a descriptor that is closed at the end of its block, unless it is negative. */
static inline void backend_fd_close(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}
#define backend_fd __attribute__((cleanup(backend_fd_close))) int

typedef void (*backend_idle_fn)(uint64_t id, void *data);
typedef void (*backend_leftover_fn)(uint64_t id, struct extent extent, void *data);

/* Modes of an object; flags. */
enum backend_mode {
	BACKEND_DEMAND = 1,  /* a touch of a hole inside the size is a fault that asks for memory */
	BACKEND_DISCARD = 2, /* mappings that are made from now on allow MADV_DONTNEED */
};

/* How an object gets its memory, and which memory that is. */
struct object_kind {
	unsigned mode;  /* flags of enum backend_mode */
	uint64_t unit;  /* the allocation unit of the file, for the ranges of faults: whole compound pages */
	unsigned order; /* of the compound pages of its memory: page_order.h */
};

/* A thread touched a hole, and waits for memory. */
struct backend_fault {
	uint64_t id;
	uint64_t offset; /* offset and length of the allocation unit that was touched */
	uint64_t length;
	int pid;
	char comm[17];
	int node;                   /* the node of the thread's CPU; -1: unknown */
	struct numa_policy *policy; /* of the mapping; NULL: none. The callee unrefs it. */
};

/* A process made a mapping. */
struct backend_mapping {
	uint64_t id;
	uint64_t length; /* bytes */
	int pid;
	char comm[17];
	uint64_t page_size; /* the largest page that the mapping can have */
};

/* Callbacks for demand allocation. dispatch() calls them, and holds no lock of the backend. */
struct backend_demand_fns {
	void (*fault)(const struct backend_fault *fault, void *data);
	/* A process punched memory in this range of its mapping. */
	void (*punched)(uint64_t id, uint64_t offset, uint64_t length, void *data);
	/* Also for files without demand allocation: the mapping's address keeps larger pages away. */
	void (*unaligned)(const struct backend_mapping *mapping, void *data);
	/* Also for those files: a private mapping was refused. */
	void (*refused)(const struct backend_mapping *mapping, void *data);
};

struct backend_ops {
	const char *name;

	/*
	 * Claims the memory that @config asks for, and appends its regions to @regions (GArray of struct memory_region).
	 * Does not zero it. On failure NULL, and the error names the object and the remedy.
	 */
	struct backend *(*open)(const struct config *config, GArray *regions, GError **error);
	/* Frees the backend. Objects and mappings stay. */
	void (*close)(struct backend *backend);
	/* To be called before an object is created. */
	void (*set_idle_callback)(struct backend *backend, backend_idle_fn idle, void *data);
	/*
	 * The mark of the database whose files the memory holds: the last one that was set, all 0 when none was set since
	 * the contents of the memory were lost. 0 or a negative errno.
	 */
	int (*get_mark)(struct backend *backend, struct store_mark *mark);
	int (*set_mark)(struct backend *backend, const struct store_mark *mark);
	/*
	 * Drops all objects of an earlier daemon for which @is_known returns false. To be called before an object is
	 * created. Calls @leftover for each run of memory that a process still maps; the idle callback of that object
	 * follows. Returns the highest id of such objects, 0 when there are none.
	 */
	uint64_t (*give_up_unknown)(struct backend *backend, bool (*is_known)(uint64_t id, void *data),
	                            backend_leftover_fn leftover, void *data);
	/* A descriptor that is readable when dispatch() has work. The backend keeps it. */
	int (*event_fd)(struct backend *backend);
	/* Reads all events that are there, and calls the callbacks. Never blocks. */
	void (*dispatch)(struct backend *backend);

	/*
	 * Gets the object of a file on record: the one that an earlier daemon left, or a new one. Makes its memory exactly
	 * the @count @runs, and its size @size. Does not zero memory that it adds. *@object is NULL when there is no object,
	 * and @count is 0. -ESTALE: the id is in use by an object that was dropped. -ETXTBSY: the object has another order, and a
	 * process still maps it. @kind counts for its order and for a new object only: the caller calls set_mode() next.
	 */
	int (*attach)(struct backend *backend, uint64_t id, const struct object_kind *kind,
	              const struct extent_map_run *runs, guint count, uint64_t size, struct backend_object **object);
	/* As drop(), for an object of an earlier daemon, in any state. True also when there is none. */
	bool (*discard)(struct backend *backend, uint64_t id);
	/* Frees @object when the daemon ends. What it stands for stays, for the next daemon. */
	void (*release)(struct backend_object *object);

	/* Creates an empty object of size 0. -EEXIST: the id is in use, also by a dropped object that is not idle yet. */
	int (*create)(struct backend *backend, uint64_t id, const struct object_kind *kind,
	              struct backend_object **object);
	/*
	 * Gives up the object of a removed file, and frees @object. True: no process maps its memory. False: one may, and
	 * the idle callback is called when none does.
	 */
	bool (*drop)(struct backend_object *object);
	/*
	 * Opens the object O_RDWR, to register it for FUSE passthrough; the caller closes the descriptor after that. Negative
	 * errno on failure. Objects keep no descriptor open, and an operation opens at most one while it runs. So the
	 * number of descriptors depends on the number of threads, not on the number of open files.
	 */
	int (*open_fd)(struct backend_object *object);

	/* Can free memory contain bytes of a former owner? NULL: no, and clean() is never called. */
	bool (*needs_zeroing)(const struct backend *backend);
	/* Zeroes memory that is in no object. Thread-safe. */
	int (*clean)(struct backend *backend, struct extent extent);
	/*
	 * Makes @extent, which must be zero, the memory of the file from @offset on, where it must have none. -ENOSPC, and
	 * nothing has changed: the machine has not enough RAM.
	 */
	int (*give)(struct backend_object *object, uint64_t offset, struct extent extent);
	/*
	 * Takes the memory of [offset, offset + length) from the object. When it returns, no process maps that memory. A device
	 * may still hold it: list_pinned().
	 */
	int (*take)(struct backend_object *object, uint64_t offset, uint64_t length);
	/*
	 * Sets the size. When it returns, touching a page past @size is SIGBUS. Bytes between the smaller of the two sizes
	 * and @allocated (the end of the object's memory) read zero when the file grows over them later.
	 */
	int (*resize)(struct backend_object *object, uint64_t old_size, uint64_t size, uint64_t allocated);
	/* Zeroes a range inside the size, without a change of memory. */
	int (*zero)(struct backend_object *object, uint64_t offset, uint64_t length);
	/* Ranges are inside the size. Return the bytes done (fewer only at the end of the memory), or a negative errno. */
	ssize_t (*read)(struct backend_object *object, void *buffer, size_t length, uint64_t offset);
	ssize_t (*write)(struct backend_object *object, const void *buffer, size_t length, uint64_t offset);
	/*
	 * Demand allocation. All are NULL when the backend does not support it.
	 *
	 * A process can punch memory of its mapping at any time. Punched memory is not mapped any more, but stays in the
	 * object until take(). dispatch() reports a fault again, also to the next daemon, until memory was given for it or
	 * answer() was called: with @err 0 the thread touches the memory again, else the fault fails (SIGBUS).
	 */
	void (*set_demand)(struct backend *backend, const struct backend_demand_fns *fns, void *data);
	/* -EBUSY: @kind has another order than the object, which has memory, or is open or mapped. */
	int (*set_mode)(struct backend_object *object, const struct object_kind *kind);
	int (*answer)(struct backend *backend, uint64_t id, uint64_t offset, uint64_t length, int err);
	/* Finds the first punched run that ends after @from. False when there is none. */
	bool (*next_punched)(struct backend_object *object, uint64_t from, struct extent_map_run *run);
	/* A dropped object that a process still maps: for give(), take(), next_punched() and release() only. */
	struct backend_object *(*follow)(struct backend *backend, uint64_t id);
	/*
	 * Memory errors. All are NULL when the kernel handles them. dispatch() calls @poisoned when there may be new bad
	 * memory; list_poison() appends all bad memory (GArray of struct extent). Bad memory stays in its object. Touching
	 * it through a mapping is SIGBUS, read() and write() fail with -EIO, and zeroing skips it. add_poison() tells the
	 * backend of memory inside one region that an earlier daemon recorded as bad.
	 */
	void (*set_poison)(struct backend *backend, void (*poisoned)(void *data), void *data);
	int (*list_poison)(struct backend *backend, GArray *runs);
	int (*add_poison)(struct backend *backend, struct extent extent);
	/*
	 * Appends the runs of @range that no object has, but that a device still holds, by address (GArray of struct extent).
	 * Such memory can be neither given nor cleaned. No event tells when the device lets go: the caller asks again. NULL:
	 * no memory of this backend can be held.
	 */
	int (*list_pinned)(struct backend *backend, struct extent range, GArray *runs);
	/*
	 * Releases, in the background, the regions of an earlier configuration that files or devices had memory of until now.
	 * Returns how many were claimed before; 0: the caller need not call again. To be called by one thread. NULL: regions of
	 * this backend are never claimed.
	 */
	unsigned (*release_former)(struct backend *backend);
	/* Do the kernel's own page tables have the region at @start only while it accesses some of it? NULL: no. */
	bool (*is_unmapped)(struct backend *backend, uint64_t start);
	/*
	 * Memory that no object has can be lent to the host's kernel, in units of lend_unit() bytes; 0: this machine cannot. After
	 * lend() all its bytes are undefined. lend() of a unit that is lent does what is left of that, after a crash. Its error -EINPROGRESS:
	 * the unit is lent, but the host cannot use all of it, and it cannot be taken back now. After all others it is not lent. Errors of take_lent(),
	 * after which it is lent as before: -EBUSY, a process has pinned some of it; -ENOMEM, the host needs it; -ETIME. -ENOENT: it is
	 * not lent. What is lent outlives the daemon: list_lent() appends all units (GArray of struct extent), also in regions
	 * that are not in the configuration. All are NULL when the backend does not support it.
	 */
	uint64_t (*lend_unit)(struct backend *backend);
	int (*lend)(struct backend *backend, struct extent unit);
	int (*take_lent)(struct backend *backend, struct extent unit, unsigned timeout_ms);
	void (*list_lent)(struct backend *backend, GArray *units);
	/* How many faults were served with each page size, in lines "SIZE COUNT"; the caller frees it. NULL: not known. */
	char *(*describe_faults)(struct backend_object *object);
};

extern const struct backend_ops backend_memory_ops;
extern const struct backend_ops backend_pfn_ops;

#endif

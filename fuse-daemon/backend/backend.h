/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What holds the bytes of the files. A backend obeys: it is told which run of memory is which part of which file,
 * and never decides. backend_memory.c keeps each file in tmpfs, backend_pfn.c in reserved RAM through dmemfs.ko.
 *
 * An object is the memory of one file. Its id is the file's inode number.
 *
 * Life of an object and of its memory:
 *   create -> give, resize, take, ... -> drop -> (nobody can reach it any more) -> idle callback
 * An object outlives the daemon: release() leaves it, the next daemon's attach() finds it.
 * Runs still in the object at drop() belong to nobody until the idle callback has named the object: a process that
 * holds a mapping keeps the bytes, so giving them to another file earlier would show one guest's RAM to another.
 * take() is synchronous instead: when it returns, no mapping reaches the runs.
 *
 * Memory comes to an object as it is sized, or, in the mode BACKEND_DEMAND, as it is touched.
 *
 * Calls on one object are serialised by its file's lock, except read(), write() and zero(), which may run at the same
 * time as each other. Calls on different objects run at the same time. The idle callback comes from dispatch(),
 * with no lock of the backend held.
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

/* A descriptor, or negative, that is closed at the end of its block. */
static inline void backend_fd_close(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}
#define backend_fd __attribute__((cleanup(backend_fd_close))) int

typedef void (*backend_idle_fn)(uint64_t id, void *data);
typedef void (*backend_leftover_fn)(uint64_t id, struct extent extent, void *data);

/* What an object is, or-ed. */
enum backend_mode {
	BACKEND_DEMAND = 1,  /* holes inside the size ask for memory when they are touched */
	BACKEND_DISCARD = 2, /* mappings made from now on allow MADV_DONTNEED */
};

/* Somebody touched a hole and waits. */
struct backend_fault {
	uint64_t id;
	uint64_t offset; /* of the unit that is asked for */
	uint64_t length;
	int pid;
	char comm[17];
	int node;                   /* of the CPU, -1 unknown */
	struct numa_policy *policy; /* of the mapping; NULL: none. The receiver unrefs it. */
};

/* From dispatch(), with no lock of the backend held. */
struct backend_demand_fns {
	void (*fault)(const struct backend_fault *fault, void *data);
	/* Some of the memory in the range became punched. */
	void (*punched)(uint64_t id, uint64_t offset, uint64_t length, void *data);
};

struct backend_ops {
	const char *name;

	/*
	 * Claims what @config asks for and reports the regions (GArray of struct memory_region). On failure NULL, and
	 * the error names the thing and the remedy. The memory is not zeroed.
	 */
	struct backend *(*open)(const struct config *config, GArray *regions, GError **error);
	/* Objects that are still alive stay so for those who map them. */
	void (*close)(struct backend *backend);
	/* Before any object is created. */
	void (*set_idle_callback)(struct backend *backend, backend_idle_fn idle, void *data);
	/*
	 * Whose files the memory holds: the mark of the database that set it last, all 0 when nobody did since the
	 * memory was last lost or its keeper replaced. 0 or a negative errno.
	 */
	int (*get_mark)(struct backend *backend, struct store_mark *mark);
	int (*set_mark)(struct backend *backend, const struct store_mark *mark);
	/*
	 * Before any object is made: gives up the objects that an earlier daemon left and @is_known does not want. Calls
	 * @leftover for each run of memory that somebody still reaches; its idle callback follows. Returns the highest id
	 * of those, 0 for none.
	 */
	uint64_t (*give_up_unknown)(struct backend *backend, bool (*is_known)(uint64_t id, void *data),
	                            backend_leftover_fn leftover, void *data);
	/* Readable when dispatch() has work: it consumes the events that are there and never blocks. */
	int (*event_fd)(struct backend *backend);
	void (*dispatch)(struct backend *backend);

	/*
	 * The object of a file on record: made when there is none, else what an earlier daemon left; afterwards it has
	 * the @count @runs and the @size, no more and no less. Memory that it gets is not zeroed. Without runs and object it
	 * stays without: *@object is NULL. -ESTALE: the id is in use by an object that was given up.
	 */
	int (*attach)(struct backend *backend, uint64_t id, const struct extent_map_run *runs, guint count,
	              uint64_t size, struct backend_object **object);
	/* As drop(), of an object that an earlier daemon left, in whatever state; true when there is none. */
	bool (*discard)(struct backend *backend, uint64_t id);
	/* The daemon ends: frees @object, but leaves all that it stands for. */
	void (*release)(struct backend_object *object);

	/* An empty object of size 0. -EEXIST: the id is in use, or its last holder is not idle yet. */
	int (*create)(struct backend *backend, uint64_t id, struct backend_object **object);
	/*
	 * The object's file is gone; frees @object. True: nobody can reach its memory any more. False: somebody may, and
	 * the idle callback follows when nobody can.
	 */
	bool (*drop)(struct backend_object *object);
	/*
	 * A descriptor of the object, O_RDWR, for FUSE passthrough, which needs it only until it has registered the object: the
	 * caller closes it soon. Negative errno on failure. No object keeps one, and an operation has one at most while it is
	 * at work: so many as there are threads, however many files are open.
	 */
	int (*open_fd)(struct backend_object *object);

	/* Can memory that nobody owns have bytes of a former owner in it? NULL: it cannot, and clean() is never called. */
	bool (*needs_zeroing)(const struct backend *backend);
	/* Zeroes memory that nobody owns. Several threads at once. */
	int (*clean)(struct backend *backend, struct extent extent);
	/*
	 * Makes @extent, which is clean, the memory of the file from @offset on; the range was empty. -ENOSPC when the
	 * machine cannot back it, with nothing changed.
	 */
	int (*give)(struct backend_object *object, uint64_t offset, struct extent extent);
	/* Takes the memory of [offset, offset + length) away: unmapped everywhere when it returns. */
	int (*take)(struct backend_object *object, uint64_t offset, uint64_t length);
	/*
	 * The bytes that exist: touching pages past @size is SIGBUS when it returns, and no stale byte past it ever
	 * shows: those between the smaller of the sizes and @allocated (the end of its memory) read zero later.
	 */
	int (*resize)(struct backend_object *object, uint64_t old_size, uint64_t size, uint64_t allocated);
	/* Zeroes a range inside the size, in place. */
	int (*zero)(struct backend_object *object, uint64_t offset, uint64_t length);
	/* Inside the size. Bytes done (short only at the end of the memory), or a negative errno. */
	ssize_t (*read)(struct backend_object *object, void *buffer, size_t length, uint64_t offset);
	ssize_t (*write)(struct backend_object *object, const void *buffer, size_t length, uint64_t offset);
	/*
	 * Demand allocation; all NULL where a backend does not have it, and cannot tell when memory is touched.
	 *
	 * Memory of an object in that mode can become punched at any time: nobody sees it any more, but it stays the object's
	 * until it is taken. A fault comes again, from the next dispatch() of the next daemon too, until memory was
	 * given for it or it was answered: @err 0 has it look again, else it is refused.
	 */
	void (*set_demand)(struct backend *backend, const struct backend_demand_fns *fns, void *data);
	int (*set_mode)(struct backend_object *object, unsigned mode, uint64_t unit);
	int (*answer)(struct backend *backend, uint64_t id, uint64_t offset, uint64_t length, int err);
	/* The first punched run that ends after @from: false when there is none. */
	bool (*next_punched)(struct backend_object *object, uint64_t from, struct extent_map_run *run);
	/* An object that was dropped and somebody still reaches: for give(), take(), next_punched() and release(). */
	struct backend_object *(*follow)(struct backend *backend, uint64_t id);
	/*
	 * Memory errors; all NULL where they are the kernel's to deal with. The callback, from dispatch(), says that there may
	 * be more bad memory than before; list_poison() appends all of it (GArray of struct extent). What is bad is not
	 * seen through mappings, which get SIGBUS; read() and write() of it are -EIO; zeroing leaves it out. It stays with
	 * its object. add_poison(): memory inside one region that is known to be bad from before.
	 */
	void (*set_poison)(struct backend *backend, void (*poisoned)(void *data), void *data);
	int (*list_poison)(struct backend *backend, GArray *runs);
	int (*add_poison)(struct backend *backend, struct extent extent);
	/* "SIZE COUNT" lines: how often a page of each size served a fault; g_malloc'ed. NULL: not known. */
	char *(*describe_faults)(struct backend_object *object);
};

extern const struct backend_ops backend_memory_ops;
extern const struct backend_ops backend_pfn_ops;

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A backend in ordinary memory, for unit tests. It keeps the contents of each object, and asserts that its callers obey the
 * rules of backend.h (given runs are zero and free; taken ones were given). Tests can make calls fail, and decide when
 * objects become idle.
 */
#ifndef DMEMFS_FAKE_BACKEND_H
#define DMEMFS_FAKE_BACKEND_H

#include "backend/backend.h"
#include "file/file.h"

struct fake {
	struct storage storage;
	struct backend_object *last; /* the object that was made last, while it is alive */
	unsigned objects;            /* how many are alive */
	unsigned registrations;      /* backing ids in use */
	uint64_t given;              /* bytes in live objects */
	unsigned fail_give_in;       /* n: the n-th give() from now fails with -ENOSPC; 0: none */
	int fail_cleans;             /* so many calls of clean() fail with -ENOMEM; atomic */
	bool hold;                   /* drop() and discard() report that a process still maps the object */
	int attach_error;            /* of attach(): -ESTALE, -ETXTBSY; 0: none */
	GArray *held;                /* ids of those objects: no idle event yet */
	unsigned mode;               /* the last argument of set_mode(): enum backend_mode */
	int next_backing_id;
	uint64_t capacity; /* bytes */
	uint64_t released; /* bytes of released objects, whose files are on record */
	unsigned former; /* regions of an earlier configuration that are still claimed, while a device holds anything */
	GArray *pinned;  /* struct extent by address: what a device holds */
	unsigned asked;  /* number of calls of list_pinned() */
	unsigned order;  /* of the compound pages of all memory */
	GByteArray *dirty;  /* for each 4 KiB page of the pool: has an object had it since it was zeroed? */
	char *state_dir;    /* a temporary directory with the store */
	uint64_t lend_unit; /* bytes; 0: nothing can be lent */
	GMutex lending;     /* guards the members below, which the lender's thread uses */
	GArray *lent;       /* struct extent: what is lent */
	GArray *stuck;      /* struct extent: units that take_lent() cannot have */
	int lend_error;     /* of lend(): 0 or a negative errno */
	int lends, takes;   /* number of calls of lend() and take_lent() */
	unsigned take_ms;   /* what take_lent() was given last */
	/* The last arguments of set_demand(); the last error of answer() and the number of its calls, which is atomic. */
	const struct backend_demand_fns *demand;
	void *demand_data;
	int answer;
	int answers;
};

/* A pool of @capacity bytes in units of @page_size. */
struct fake *fake_new(uint64_t capacity, uint64_t page_size);
/* As fake_new(), with memory that has compound pages of @order. */
struct fake *fake_new_paged(uint64_t capacity, uint64_t page_size, unsigned order);
/* A device holds @extent from now on, until fake_unpin() ends all such holds. */
void fake_pin(struct fake *fake, struct extent extent);
void fake_unpin(struct fake *fake);
/* From now on the pool can lend memory in units of @bytes. */
void fake_allow_lending(struct fake *fake, uint64_t bytes);
/* Does what a new daemon does: opens the store again, and makes a new pool. */
void fake_restart(struct fake *fake);
/* Asserts that nothing is left: no object, descriptor or registration, and all memory free. */
void fake_destroy(struct fake *fake);
/* Makes all objects idle that were dropped while hold was set. */
void fake_release_held(struct fake *fake);
uint64_t fake_free_bytes(struct fake *fake);
uint64_t fake_promised_bytes(struct fake *fake);
/* A process punches part of its mapping of the object that was made last. */
void fake_punch(struct fake *fake, uint64_t offset, uint64_t length);

#endif

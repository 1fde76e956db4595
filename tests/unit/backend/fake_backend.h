/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A backend in plain memory for unit tests: keeps the bytes of each object, checks that it is obeyed (runs are given once and
 * zero, taken when given, inside the size), fails on demand, and becomes idle when the test says so.
 */
#ifndef DMEMFS_FAKE_BACKEND_H
#define DMEMFS_FAKE_BACKEND_H

#include "backend/backend.h"
#include "file/file.h"

struct fake {
	struct storage storage;
	struct backend_object *last; /* that was made and is alive */
	unsigned objects;            /* alive */
	unsigned registrations;      /* backing ids in use */
	uint64_t given;              /* bytes in live objects */
	unsigned fail_give_in;       /* n: the n-th give() from now fails with -ENOSPC; 0: none */
	bool hold;                   /* drop() says that somebody still maps the object */
	GArray *held;                /* ids whose idle event the test owes */
	unsigned mode;               /* what the last object was told to be: enum backend_mode */
	int next_backing_id;
	uint64_t capacity; /* bytes */
	uint64_t released; /* bytes of files that are on record, but in no namespace any more */
	GByteArray *dirty; /* of each 4 KiB page of the pool: has somebody had it since it was zeroed? */
	char *state_dir;   /* of the store, in a directory of its own */
};

/* A pool of @capacity bytes in units of @page_size. */
struct fake *fake_new(uint64_t capacity, uint64_t page_size);
/* As the start of the next daemon: pool and store are new, but for what is on record. */
void fake_restart(struct fake *fake);
/* Asserts that nothing is left: no object, descriptor or registration, and all memory free. */
void fake_destroy(struct fake *fake);
/* Everything dropped while hold was set becomes idle now. */
void fake_release_held(struct fake *fake);
uint64_t fake_free_bytes(struct fake *fake);
uint64_t fake_promised_bytes(struct fake *fake);
/* A process punches part of its mapping of the object that was made last. */
void fake_punch(struct fake *fake, uint64_t offset, uint64_t length);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The lender: a thread that lends idle memory to the host's kernel, and takes it back. The pool says what is to be done
 * (pool/pool_lent.h), the backend does it.
 *
 * The kernel writes to all bytes of what is lent. So memory goes off the record of clean memory before it is lent, and is dirty when it
 * is back. What is lent is not on record: the module knows it, and tells the next daemon. So the daemon may die at any instruction.
 *
 * Taking memory back takes seconds and may fail, because any user can pin lent memory. The lender holds no lock meanwhile. After a failure
 * it goes on with the next unit.
 */
#ifndef DMEMFS_LENDER_H
#define DMEMFS_LENDER_H

#include <stdbool.h>

#include "file/file.h"
#include "pool/lend_policy.h"

struct lender;

/*
 * Starts the lender, also with rules.on false: what earlier daemons have lent is then taken back. @take_timeout in seconds: requests that
 * lack memory wait until nothing came back for so long. NULL: the backend cannot lend, or has nothing to take back. @storage must live
 * longer. Sets .most of the rules from the host's own memory.
 */
struct lender *lender_start(const struct storage *storage, const struct lend_rules *rules, unsigned take_timeout);
/* Requests and faults wait for lent memory no more, but are left to the next daemon. NULL is fine. */
void lender_leave(struct lender *lender);
/*
 * lender_leave(), then ends the thread after its present step, and frees the lender; NULL is fine. @take_back: takes all back that
 * comes within 20 s, and logs what does not.
 */
void lender_stop(struct lender *lender, bool take_back);

#endif

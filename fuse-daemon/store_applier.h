/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Between the redo log and the database: transactions are durable in the log, and a thread applies them to the database,
 * all that have come meanwhile in one transaction of SQLite's, which costs a fraction of one each.
 *
 * What is where: a transaction is in one half of the log and in memory from its commit until a transaction of the database that
 * has its number is committed; that half is overwritten only after that. Those in memory are @fresh, as long as more join
 * them, then @batch, which is being applied or has to be tried again.
 *
 * Who uses the database: the applying thread, or whoever has drained and lets nobody commit meanwhile (the store's lock).
 *
 * A database that cannot be written (its disk is full) refuses commits from then on, until a later try works: each
 * commit is one. What was committed before is not lost: it stays in the log, and the next start applies it.
 *
 * Internal to store*.c.
 */
#ifndef DMEMFS_STORE_APPLIER_H
#define DMEMFS_STORE_APPLIER_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct redo;
struct store;
struct store_applier;

/* @applied: the number of the last transaction in the database. Takes @redo over. */
struct store_applier *store_applier_start(struct store *store, struct redo *redo, uint64_t applied);
/* Applies all; the log stays where that does not work. NULL is fine. */
void store_applier_stop(struct store_applier *applier);
/* The rows of one transaction are durable, or a negative errno and they are nowhere. One call at a time. */
int store_applier_commit(struct store_applier *applier, const GByteArray *rows);
/* All that was committed is in the database: 0 or a negative errno. */
int store_applier_drain(struct store_applier *applier);
/* From now on a commit waits for the database, which waits for the disk (store_sync()). */
void store_applier_bypass(struct store_applier *applier);

#endif

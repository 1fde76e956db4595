/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The redo log: what was committed and is not in the database yet, in a file beside it (store_applier.c says when which is
 * true). One write(2) into space that the file has already makes a transaction durable.
 *
 * The file is a header and two halves. Transactions are appended to one half while those of the other are applied, which
 * may then be overwritten. They are numbered from 1 on without a gap, and the database holds the number of the last one
 * that was applied to it, in the same transaction: so which of those in the file are missing in the database is certain, however
 * the process ended.
 *
 * A process that dies leaves a file that ends in a transaction which is whole or was not answered. A machine that dies may
 * leave anything: what follows the first hole is dropped then. The header has the boot's id, so the two are told apart,
 * and a hole that no machine's death explains is damage.
 *
 * Not thread-safe. Functions that return int: 0 or a negative errno.
 */
#ifndef DMEMFS_STORE_REDO_H
#define DMEMFS_STORE_REDO_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "store.h"

struct redo;

/*
 * Reads what the log at @path has after transaction @applied of the database with @mark. Appends the rows of all to @rows,
 * and @last is the number of the last one, @applied if there is none. No file is an empty log.
 */
bool redo_read(const char *path, const struct store_mark *mark, uint64_t applied, GByteArray *rows, uint64_t *last,
               GError **error);
/* Makes the file, or an existing one empty, with all the space it will need. */
struct redo *redo_create(const char *path, const struct store_mark *mark, GError **error);
/* Has the half that is appended to room for so many bytes of rows? */
bool redo_fits(const struct redo *redo, size_t size);
/* Could it have, if it was empty? */
bool redo_could_fit(size_t size);
/* Is more than half of that half used? */
bool redo_is_busy(const struct redo *redo);
/* Transaction @number is durable after this. -EIO, -ENOSPC: it is not there. */
int redo_append(struct redo *redo, uint64_t number, const GByteArray *rows);
/* Goes on with the other half, all of whose transactions are in the database. */
void redo_switch(struct redo *redo);
/* Closes the file, and removes it unless @keep. */
void redo_close(struct redo *redo, bool keep);

#endif

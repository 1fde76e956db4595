/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keeps the contents of files through a kexec. Reserved memory survives a kexec; every other boot loses it.
 *
 * kexec_prepare() works on the record of a stopped daemon. It writes a random token to the record and syncs the
 * record to disk. The next kernel's command line must have the token. The next daemon takes the contents for kept
 * when all of this holds: another kernel runs than at the preparation, it was started by kexec, its command line has
 * the token, and all regions of the preparation still exist. In any case the daemon then deletes the token: a
 * preparation is good for one boot, and void once a daemon has used the memory again.
 */
#ifndef DMEMFS_KEXEC_H
#define DMEMFS_KEXEC_H

#include <glib.h>
#include <stdbool.h>

#include "pool/pool.h"
#include "store/store.h"

/*
 * Not "dmemfs.kexec=": the kernel takes an argument that begins with a module's name and a dot for that module's
 * parameter.
 */
#define KEXEC_PARAMETER "dmemfs_kexec="

/* *@argument: for the next kernel's command line, g_malloc'ed. False and @error when the record cannot be written. */
bool kexec_prepare(struct store *store, char **argument, GError **error);
/*
 * Checks whether the contents were kept through a kexec, with @regions (GArray of struct pool_region) as the regions of
 * today. *@why_not: NULL when they were, else the reason, static text. False and @error when the record cannot be read.
 */
bool kexec_was_prepared(struct store *store, const GArray *regions, const char **why_not, GError **error);
/*
 * The memory is in use again: deletes the preparation from the record, and notes there which backend, by its name, has the memory.
 * 0 or a negative errno.
 */
int kexec_forget(struct store *store, const char *backend);
/*
 * *@backend: the name that kexec_forget() noted, g_malloc'ed; NULL: an earlier version wrote the record. False and @error when the
 * record cannot be read.
 */
bool kexec_get_backend(struct store *store, char **backend, GError **error);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Contents that outlive the kernel: reserved memory is as it was after a kexec, and lost after every other boot.
 *
 * kexec_prepare(), on the record of a stopped daemon, makes the record safe from the end of this kernel and adds a random
 * token, which the next kernel's command line must carry. The next daemon believes in the contents when all of this
 * holds: the kernel is another one than at the preparation, it was started by kexec, its command line has the token, and
 * the regions of then are still there. Whatever it finds, it deletes the token: a preparation is good for one boot, and
 * void as soon as a daemon has used the memory again.
 */
#ifndef DMEMFS_KEXEC_H
#define DMEMFS_KEXEC_H

#include <glib.h>
#include <stdbool.h>

#include "pool/pool.h"
#include "store/store.h"

/* Not "dmemfs.kexec=": what has a module's name and a dot is taken for a parameter of that module. */
#define KEXEC_PARAMETER "dmemfs_kexec="

/* @argument: for the next kernel's command line, g_malloc'ed. False and @error when the record cannot be made safe. */
bool kexec_prepare(struct store *store, char **argument, GError **error);
/*
 * Is this the boot that was prepared for, with @regions (GArray of struct pool_region)? @why_not: static text, NULL when it is.
 * False and @error when the record cannot be read.
 */
bool kexec_was_prepared(struct store *store, const GArray *regions, const char **why_not, GError **error);
/* 0 or a negative errno. */
int kexec_forget(struct store *store);

#endif

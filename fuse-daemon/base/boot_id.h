/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The id of the kernel's current boot. State that was recorded under another boot id may no longer be true. */
#ifndef DMEMFS_BOOT_ID_H
#define DMEMFS_BOOT_ID_H

/* The random id of this boot (random(4)); the caller frees it. NULL when it cannot be read from /proc. */
char *boot_id(void);

#endif

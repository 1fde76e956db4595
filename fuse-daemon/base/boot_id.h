/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which boot of the kernel this is: what was written down in another one may not hold any more. */
#ifndef DMEMFS_BOOT_ID_H
#define DMEMFS_BOOT_ID_H

/* The kernel's random id of this boot (random(4)), for the caller to free; NULL where /proc does not tell. */
char *boot_id(void);

#endif

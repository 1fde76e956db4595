/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which processes are QEMU, by their names. */
#ifndef DMEMFS_BASE_QEMU_NAME_H
#define DMEMFS_BASE_QEMU_NAME_H

#include <glib.h>
#include <stdbool.h>

/*
 * Is @comm (proc_pid_comm(5)) a name that QEMU has by default, that Red Hat gives to it, or that libvirt does (set_process_name in
 * qemu.conf)? A process chooses its name: this decides about advice only.
 */
static inline bool qemu_name_is(const char *comm)
{
	return g_str_has_prefix(comm, "qemu-system-") || g_str_has_prefix(comm, "qemu-kvm") ||
	       g_str_has_prefix(comm, "qemu:");
}

#endif

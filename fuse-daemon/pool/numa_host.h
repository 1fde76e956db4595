/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NUMA of the machine, through libnuma, which neither prints nor exits here: what it has to say goes to the log. */
#ifndef DMEMFS_NUMA_HOST_H
#define DMEMFS_NUMA_HOST_H

/*
 * The node of the CPU on which the thread that asks (current_request.h) runs or ran last, NODE_UNKNOWN when that cannot be told.
 */
int numa_host_caller_node(void);

/* The calling thread runs on the CPUs of @node from now on; anywhere, as before, when there are none. */
void numa_host_bind_thread(int node);

#endif

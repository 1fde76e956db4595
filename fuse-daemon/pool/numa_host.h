/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NUMA nodes of this machine, by libnuma, whose messages go to the log. Thread-safe. */
#ifndef DMEMFS_NUMA_HOST_H
#define DMEMFS_NUMA_HOST_H

/*
 * The node of the CPU on which the caller of the current request (current_request.h) runs or last ran. NODE_UNKNOWN when it
 * cannot be found out.
 */
int numa_host_caller_node(void);

/* From now on this thread runs on the CPUs of @node only. When the node has none, it runs on any CPU. */
void numa_host_bind_thread(int node);

#endif

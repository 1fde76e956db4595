/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A policy says from which NUMA nodes a file gets memory. It is the value of the extended attribute "dmemfs.node". A policy
 * is immutable and has a reference count, so that it needs no lock.
 *
 *   0          only node 0: ENOSPC when it is full, although others have room
 *   0,1        interleaved: the nodes of the list in turn, by the offset in the file. One turn is a unit, at least 2 MiB, so
 *              that large pages fit. When a node is full, the others of the list replace it; ENOSPC when all are full
 *   prefer:1   node 1, and any other when it is full
 *   local      as prefer: with the node on whose CPU the calling thread runs when it grows or writes the file
 */
#ifndef DMEMFS_NUMA_POLICY_H
#define DMEMFS_NUMA_POLICY_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

/* Each node needs a region, and there are at most DMEMFS_MAX_REGIONS (base/extent.h). */
#define NUMA_POLICY_NODES_MAX 64
/* The largest node number of any kernel: CONFIG_NODES_SHIFT is at most 10. */
#define NODE_NUMBER_MAX 1023
#define NODE_UNKNOWN    (-1)

enum node_mode { NODE_STRICT, NODE_PREFER, NODE_LOCAL };

struct numa_policy {
	enum node_mode mode;
	unsigned count;                   /* NODE_PREFER: 1, NODE_LOCAL: 0 */
	int nodes[NUMA_POLICY_NODES_MAX]; /* in the order of the text */
};

/* Parses @text of @size bytes, which may end in a line feed. The caller unrefs the result. NULL: it is not a policy. */
struct numa_policy *numa_policy_parse(const void *text, size_t size);
/* @policy may be NULL in both. */
struct numa_policy *numa_policy_ref(struct numa_policy *policy);
void numa_policy_unref(struct numa_policy *policy);
typedef struct numa_policy numa_policy_t;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(numa_policy_t, numa_policy_unref)

/* The policy as text that numa_policy_parse() reads; the caller frees it. */
char *numa_policy_format(const struct numa_policy *policy);

#endif

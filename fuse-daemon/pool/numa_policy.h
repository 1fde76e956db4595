/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From which NUMA nodes a file gets memory: the value of the extended attribute "dmemfs.node". Pure, immutable, shared.
 *
 *   0          node 0 and no other: ENOSPC when it is full, though others have room
 *   0,1        units in turn from the nodes of the list, by their place in the file; when one is full the others of the
 *              list serve, ENOSPC when all are. In turns of 2 MiB where units are smaller, so that large pages fit
 *   prefer:1   node 1, the rest from where there is room
 *   local      as prefer: of the node whose CPU the calling thread runs on when it sizes or writes
 */
#ifndef DMEMFS_NUMA_POLICY_H
#define DMEMFS_NUMA_POLICY_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

/* Each needs a region, so there are no more of them: allocator.h. */
#define NUMA_POLICY_NODES_MAX 64
/* Of a kernel with CONFIG_NODES_SHIFT=10, the largest there is. */
#define NODE_NUMBER_MAX 1023
#define NODE_UNKNOWN    (-1)

enum node_mode { NODE_STRICT, NODE_PREFER, NODE_LOCAL };

struct numa_policy {
	enum node_mode mode;
	unsigned count;                   /* NODE_PREFER: 1, NODE_LOCAL: 0 */
	int nodes[NUMA_POLICY_NODES_MAX]; /* in the order of the text */
};

/* NULL: @text, of @size bytes and perhaps with a line feed at its end, is no policy. */
struct numa_policy *numa_policy_parse(const void *text, size_t size);
/* NULL is fine, in both. */
struct numa_policy *numa_policy_ref(struct numa_policy *policy);
void numa_policy_unref(struct numa_policy *policy);
typedef struct numa_policy numa_policy_t;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(numa_policy_t, numa_policy_unref)

/* What numa_policy_parse() reads; g_malloc'ed. */
char *numa_policy_format(const struct numa_policy *policy);

#endif

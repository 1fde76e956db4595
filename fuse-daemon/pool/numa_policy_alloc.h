/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Allocation by NUMA node: a policy (numa_policy.h) made into requests to the allocator. Pure; pool.c holds the lock. */
#ifndef DMEMFS_NUMA_POLICY_ALLOC_H
#define DMEMFS_NUMA_POLICY_ALLOC_H

#include "pool/allocator.h"
#include "pool/numa_policy.h"

/* Nodes of the allocator's regions, by their index. */
struct node_map {
	unsigned count;
	int nodes[DMEMFS_MAX_REGIONS]; /* NODE_UNKNOWN: served only where the policy has room for any */
};

/* The regions of @node, as in struct allocator_request; 0: there are none. */
uint64_t node_map_regions(const struct node_map *map, int node);

/*
 * As allocator_alloc(), which decides where in the regions; @request->regions does not matter. @policy NULL: anywhere.
 * @local: the node of the caller, NODE_UNKNOWN when it is not known.
 */
int numa_policy_alloc(struct allocator *allocator, const struct node_map *map, const struct numa_policy *policy,
                      int local, const struct allocator_request *request, GArray *out);
/* What it could give in units of @unit, in bytes. */
uint64_t numa_policy_available(const struct allocator *allocator, const struct node_map *map,
                               const struct numa_policy *policy, uint64_t unit);

#endif

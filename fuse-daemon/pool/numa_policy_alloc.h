/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Allocation by a policy of NUMA nodes (numa_policy.h): turns one request into requests to the allocator. No I/O and no locks:
 * the caller holds the pool's lock.
 */
#ifndef DMEMFS_NUMA_POLICY_ALLOC_H
#define DMEMFS_NUMA_POLICY_ALLOC_H

#include "pool/allocator.h"
#include "pool/numa_policy.h"

/* The node of each of the allocator's regions, by the region's index. */
struct node_map {
	unsigned count;
	int nodes[DMEMFS_MAX_REGIONS]; /* NODE_UNKNOWN: used only where the policy allows any node */
};

/* The mask of the regions of @node, as in struct allocator_request; 0: there are none. */
uint64_t node_map_regions(const struct node_map *map, int node);

/* Those of @regions that @policy (NULL: none) allows. */
uint64_t numa_policy_regions(const struct node_map *map, const struct numa_policy *policy, uint64_t regions);

/*
 * As allocator_alloc(), from those of request->regions that @policy allows (NULL: all). @local: the node of the caller, or
 * NODE_UNKNOWN.
 */
int numa_policy_alloc(struct allocator *allocator, const struct node_map *map, const struct numa_policy *policy,
                      int local, const struct allocator_request *request, GArray *out);
/* The bytes that numa_policy_alloc() can allocate from @regions in units of @unit. */
uint64_t numa_policy_available(const struct allocator *allocator, const struct node_map *map,
                               const struct numa_policy *policy, uint64_t regions, uint64_t unit);

#endif

// SPDX-License-Identifier: GPL-2.0-or-later
/* The NUMA policy of a file, and the nodes that its memory is on. */
#include <string.h>

#include "base/current_request.h"
#include "file/file_internal.h"

struct numa_policy *file_get_policy(struct file *file)
{
	pthread_rwlock_rdlock(&file->lock);
	struct numa_policy *policy = numa_policy_ref(file->policy);

	pthread_rwlock_unlock(&file->lock);
	return policy;
}

void file_restore_policy(struct file *file, struct numa_policy *policy)
{
	numa_policy_unref(file->policy);
	file->policy = numa_policy_ref(policy);
}

void file_record_policy(struct store *store, uint64_t ino, const struct numa_policy *policy)
{
	g_autofree char *text = policy ? numa_policy_format(policy) : NULL;

	store_put_text(store, ino, FILE_RECORD_POLICY, text);
}

int file_set_policy(struct file *file, struct numa_policy *policy, int flags)
{
	struct store *store = file->storage->store;
	int err;

	pthread_rwlock_wrlock(&file->lock);
	err = current_request_may_set(file->policy, policy, flags);
	if (!err) {
		store_begin(store);
		file_record_policy(store, file->ino, policy);
		err = store_commit(store);
	}
	if (!err)
		file_restore_policy(file, policy);
	pthread_rwlock_unlock(&file->lock);
	return err;
}

struct node_bytes {
	int node;
	uint64_t bytes;
};

static gint compare_nodes(gconstpointer a, gconstpointer b)
{
	const struct node_bytes *first = a, *second = b;

	return first->node - second->node;
}

/* Adds up the bytes of regions by node. The result is in the order of node numbers. */
static GArray *sum_by_node(const GArray *regions, const uint64_t *bytes)
{
	GArray *nodes = g_array_new(FALSE, FALSE, sizeof(struct node_bytes));

	for (guint i = 0; i < regions->len; i++) {
		struct node_bytes part = { g_array_index(regions, struct pool_region, i).node, bytes[i] };

		if (part.bytes)
			g_array_append_val(nodes, part);
	}
	g_array_sort(nodes, compare_nodes);
	for (guint i = 0; i + 1 < nodes->len;) {
		struct node_bytes *part = &g_array_index(nodes, struct node_bytes, i);

		if (part[0].node == part[1].node) {
			part[0].bytes += part[1].bytes;
			g_array_remove_index(nodes, i + 1);
		} else {
			i++;
		}
	}
	return nodes;
}

char *file_describe_nodes(struct file *file)
{
	struct pool *pool = file->storage->pool;
	g_autoptr(GArray) regions = pool_get_regions(pool);
	g_autoptr(GArray) nodes = NULL;
	uint64_t bytes[DMEMFS_MAX_REGIONS] = { 0 };
	GString *text = g_string_new(NULL);
	struct extent_map_run run;

	pthread_rwlock_rdlock(&file->lock);
	for (uint64_t offset = 0; extent_map_lookup(file->map, offset, &run); offset = run.offset + run.extent.length)
		pool_add_bytes(pool, run.extent, bytes);
	pthread_rwlock_unlock(&file->lock);
	nodes = sum_by_node(regions, bytes);
	for (guint i = 0; i < nodes->len; i++) {
		const struct node_bytes *part = &g_array_index(nodes, struct node_bytes, i);

		g_string_append_printf(text, "%s%d %" G_GUINT64_FORMAT, i ? "\n" : "", part->node, part->bytes);
	}
	return g_string_free(text, FALSE);
}

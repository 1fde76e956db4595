// SPDX-License-Identifier: GPL-2.0-or-later
/* Chooses RAM to reserve. No I/O. */
#include "base/page_order.h"
#include "dmemfsctl/command.h"
#include "dmemfsctl/plan.h"
#include "dmemfsctl/text.h"

/* The RAM of a node, or all RAM whose node is not known. */
struct pool {
	int node;
	uint64_t ram;     /* bytes, aligned or not */
	uint64_t most;    /* bytes that can be reserved */
	uint64_t planned; /* bytes to reserve */
	GArray *ranges;   /* struct extent: aligned, and above PLAN_LOWEST */
};

static void pool_clear(gpointer pool)
{
	g_array_unref(((struct pool *)pool)->ranges);
}

static struct pool *pool_of(GArray *pools, int node)
{
	for (guint i = 0; i < pools->len; i++) {
		struct pool *pool = &g_array_index(pools, struct pool, i);

		if (pool->node == node)
			return pool;
	}

	struct pool pool = { .node = node, .ranges = g_array_new(FALSE, FALSE, sizeof(struct extent)) };

	g_array_append_val(pools, pool);
	return &g_array_index(pools, struct pool, pools->len - 1);
}

static bool is_wanted(const struct plan_request *request, int node)
{
	for (guint i = 0; i < request->nodes->len; i++) {
		if (g_array_index(request->nodes, int, i) == node)
			return true;
	}
	return request->nodes->len == 0;
}

static GArray *find_pools(const struct machine *machine, const struct plan_request *request)
{
	GArray *pools = g_array_new(FALSE, FALSE, sizeof(struct pool));

	g_array_set_clear_func(pools, pool_clear);
	for (guint i = 0; i < machine->ram->len; i++) {
		const struct machine_range *range = &g_array_index(machine->ram, struct machine_range, i);
		struct pool *pool = pool_of(pools, range->node);
		uint64_t from = MAX(range->extent.start, PLAN_LOWEST);
		uint64_t end = range->extent.start + range->extent.length;
		struct extent high = { from, end > from ? end - from : 0 };
		struct extent aligned = page_order_fit(high, request->alignment);

		pool->ram += range->extent.length;
		if (aligned.length && is_wanted(request, range->node)) {
			g_array_append_val(pool->ranges, aligned);
			pool->most += aligned.length;
		}
	}
	for (guint i = 0; i < pools->len; i++) {
		struct pool *pool = &g_array_index(pools, struct pool, i);
		uint64_t kept = request->leave / machine->nodes->len;
		uint64_t rest = pool->ram > kept ? pool->ram - kept : 0;

		pool->most = MIN(pool->most, rest / request->alignment * request->alignment);
	}
	return pools;
}

uint64_t plan_alignment(unsigned order)
{
	/* The sections matter for raw memory, too: the kernel would keep struct pages. */
	return page_order_alignment(MAX(order, PAGE_ORDER_2M));
}

/* Gives each part of @size to the node that has the least planned so far. */
static bool spread(GArray *pools, uint64_t size, uint64_t part)
{
	for (; size > 0; size -= part) {
		struct pool *next = NULL;

		for (guint i = 0; i < pools->len; i++) {
			struct pool *pool = &g_array_index(pools, struct pool, i);

			if (pool->planned < pool->most && (!next || pool->planned < next->planned))
				next = pool;
		}
		if (!next)
			return false;
		next->planned += part;
	}
	return true;
}

/* The smallest of @ranges that has @size bytes; if none has, the largest. @ranges must not be empty. */
static struct extent *best_range(GArray *ranges, uint64_t size)
{
	struct extent *best = &g_array_index(ranges, struct extent, 0);

	for (guint i = 1; i < ranges->len; i++) {
		struct extent *range = &g_array_index(ranges, struct extent, i);

		if (best->length < size ? range->length > best->length
		                        : range->length >= size && range->length <= best->length)
			best = range;
	}
	return best;
}

/* Takes memory from the top of a range, so that the kernel keeps the part that is contiguous with low memory. */
static void take(struct pool *pool, GArray *chosen)
{
	for (uint64_t left = pool->planned; left > 0;) {
		struct extent *range = best_range(pool->ranges, left);
		uint64_t length = MIN(range->length, left);
		struct machine_range taken = { { range->start + range->length - length, length }, pool->node };

		g_array_append_val(chosen, taken);
		range->length -= length;
		left -= length;
	}
}

static GArray *too_large(const GArray *pools, const struct plan_request *request, GError **error)
{
	g_autofree char *wanted = text_size(request->size);
	g_autofree char *left = text_size(request->leave);
	g_autoptr(GString) nodes = g_string_new(NULL);
	uint64_t most = 0;

	for (guint i = 0; i < pools->len; i++) {
		const struct pool *pool = &g_array_index(pools, struct pool, i);
		g_autofree char *size = text_size(pool->most);

		most += pool->most;
		if (pool->node < 0)
			g_string_append_printf(nodes, "%s%s on an unknown node", i ? ", " : "", size);
		else
			g_string_append_printf(nodes, "%s%s on node %d", i ? ", " : "", size, pool->node);
	}

	g_autofree char *possible = text_size(most);
	g_autofree char *alignment = text_size(request->alignment);

	command_fail(
		error, STATUS_FAILED,
		"%s cannot be reserved: there is %s in ranges aligned to %s above 4 GiB (%s), when %s stays with the "
		"kernel: lower --size or --leave",
		wanted, possible, alignment, nodes->str, left);
	return NULL;
}

GArray *plan_choose(const struct machine *machine, const struct plan_request *request, GError **error)
{
	g_autoptr(GArray) pools = find_pools(machine, request);
	GArray *chosen;

	if (!spread(pools, request->size, request->alignment))
		return too_large(pools, request, error);
	chosen = g_array_new(FALSE, FALSE, sizeof(struct machine_range));
	for (guint i = 0; i < pools->len; i++)
		take(&g_array_index(pools, struct pool, i), chosen);
	g_array_sort(chosen, extents_compare);
	return chosen;
}

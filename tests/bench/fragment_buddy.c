// SPDX-License-Identifier: GPL-2.0-or-later
/* A binary buddy allocator (Knuth, The Art of Computer Programming, 2.5), with lists as the kernel's page allocator has. */
#include "fragment.h"

#define ORDERS   15 /* granules of 64 KiB up to 1 GiB */
#define GRANULES (FRAGMENT_BYTES / FRAGMENT_GRANULE)
#define NONE     UINT32_MAX

struct block {
	uint32_t next;
	uint32_t previous;
	int8_t order; /* of the free block that begins here, -1: none does */
};

struct buddy {
	struct block *blocks; /* by granule */
	uint32_t heads[ORDERS];
	uint64_t free[ORDERS]; /* granules in free blocks of each order */
};

static void push(struct buddy *buddy, uint32_t granule, int order)
{
	uint32_t head = buddy->heads[order];

	buddy->blocks[granule] = (struct block){ head, NONE, (int8_t)order };
	if (head != NONE)
		buddy->blocks[head].previous = granule;
	buddy->heads[order] = granule;
	buddy->free[order] += UINT64_C(1) << order;
}

static void pull(struct buddy *buddy, uint32_t granule)
{
	struct block *block = &buddy->blocks[granule];
	int order = block->order;

	if (block->previous == NONE)
		buddy->heads[order] = block->next;
	else
		buddy->blocks[block->previous].next = block->next;
	if (block->next != NONE)
		buddy->blocks[block->next].previous = block->previous;
	block->order = -1;
	buddy->free[order] -= UINT64_C(1) << order;
}

static int order_of(uint64_t bytes)
{
	return g_bit_nth_msf((gulong)(bytes / FRAGMENT_GRANULE), -1);
}

/* A free block of @order, from the smallest larger one if need be; NONE: there is none. */
static uint32_t take_block(struct buddy *buddy, int order)
{
	int from = order;
	uint32_t granule;

	while (from < ORDERS && buddy->heads[from] == NONE)
		from++;
	if (from == ORDERS)
		return NONE;
	granule = buddy->heads[from];
	pull(buddy, granule);
	while (from > order) {
		from--;
		push(buddy, granule + (UINT32_C(1) << from), from);
	}
	return granule;
}

static bool buddy_take(void *state, uint64_t unit, uint64_t length, GArray *runs)
{
	struct buddy *buddy = state;
	int smallest = MAX(order_of(unit), 0);
	uint64_t free = 0;

	for (int order = smallest; order < ORDERS; order++)
		free += buddy->free[order];
	if (free * FRAGMENT_GRANULE < length)
		return false;
	while (length > 0) {
		int order = MIN(order_of(length), ORDERS - 1);
		uint32_t granule = take_block(buddy, order);

		while (granule == NONE)
			granule = take_block(buddy, --order);

		struct extent run = { FRAGMENT_START + granule * FRAGMENT_GRANULE, FRAGMENT_GRANULE << order };

		g_array_append_val(runs, run);
		length -= run.length;
	}
	return true;
}

static void buddy_give(void *state, const struct extent *runs, guint count)
{
	struct buddy *buddy = state;

	for (guint i = 0; i < count; i++) {
		uint32_t granule = (uint32_t)((runs[i].start - FRAGMENT_START) / FRAGMENT_GRANULE);
		int order = order_of(runs[i].length);

		for (; order < ORDERS - 1; order++) {
			uint32_t other = granule ^ (UINT32_C(1) << order);

			if (buddy->blocks[other].order != order)
				break;
			pull(buddy, other);
			granule = MIN(granule, other);
		}
		push(buddy, granule, order);
	}
}

static void *buddy_create(void)
{
	struct buddy *buddy = g_new0(struct buddy, 1);
	uint32_t step = UINT32_C(1) << (ORDERS - 1);

	buddy->blocks = g_new(struct block, GRANULES);
	for (uint32_t granule = 0; granule < GRANULES; granule++)
		buddy->blocks[granule].order = -1;
	for (int order = 0; order < ORDERS; order++)
		buddy->heads[order] = NONE;
	for (uint32_t granule = GRANULES; granule > 0; granule -= step) /* so that the lowest comes first */
		push(buddy, granule - step, ORDERS - 1);
	return buddy;
}

static void buddy_destroy(void *state)
{
	struct buddy *buddy = state;

	g_free(buddy->blocks);
	g_free(buddy);
}

const struct fragment_scheme fragment_buddy = {
	.name = "buddy",
	.create = buddy_create,
	.destroy = buddy_destroy,
	.take = buddy_take,
	.give = buddy_give,
};

// SPDX-License-Identifier: GPL-2.0-or-later
/* The firmware's table of which memory is near which processors (ACPI, System Resource Affinity Table). */
#include <string.h>

#include "dmemfsctl/machine.h"

/* Offsets in bytes; all numbers are little-endian. */
#define HEADER         48 /* size of the table's header; the entries follow */
#define TYPE_MEMORY    1
#define MEMORY_LENGTH  40
#define MEMORY_DOMAIN  2
#define MEMORY_BASE    8
#define MEMORY_SIZE    16
#define MEMORY_FLAGS   28
#define MEMORY_ENABLED 1

static uint32_t get_32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return GUINT32_FROM_LE(value);
}

static uint64_t get_64(const uint8_t *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return GUINT64_FROM_LE(value);
}

GArray *machine_parse_srat(const uint8_t *table, size_t size)
{
	GArray *ranges = g_array_new(FALSE, FALSE, sizeof(struct machine_range));

	for (size_t at = HEADER; at + 2 <= size && table[at + 1] >= 2; at += table[at + 1]) {
		const uint8_t *entry = table + at;
		struct machine_range range;

		if (entry[0] != TYPE_MEMORY || entry[1] < MEMORY_LENGTH || at + MEMORY_LENGTH > size ||
		    !(get_32(entry + MEMORY_FLAGS) & MEMORY_ENABLED))
			continue;
		range.extent.start = get_64(entry + MEMORY_BASE);
		range.extent.length = get_64(entry + MEMORY_SIZE);
		range.node = (int)(get_32(entry + MEMORY_DOMAIN) & G_MAXINT);
		if (range.extent.length && range.extent.start <= UINT64_MAX - range.extent.length)
			g_array_append_val(ranges, range);
	}
	g_array_sort(ranges, extents_compare);
	return ranges;
}

static gboolean overlap(const struct extent *a, const struct extent *b)
{
	return a->start < b->start + b->length && b->start < a->start + a->length;
}

/* The node of the first block that lies in a range of @domain; -1: there is none. */
static int node_of_domain(const GArray *srat, int domain, const GArray *blocks)
{
	for (guint i = 0; i < srat->len; i++) {
		const struct machine_range *range = &g_array_index(srat, struct machine_range, i);

		for (guint k = 0; range->node == domain && k < blocks->len; k++) {
			const struct machine_range *block = &g_array_index(blocks, struct machine_range, k);

			if (block->node >= 0 && overlap(&range->extent, &block->extent))
				return block->node;
		}
	}
	return -1;
}

GArray *machine_number_domains(const GArray *srat, const GArray *blocks)
{
	GArray *ranges = g_array_new(FALSE, FALSE, sizeof(struct machine_range));

	for (guint i = 0; i < srat->len; i++) {
		struct machine_range range = g_array_index(srat, struct machine_range, i);

		range.node = node_of_domain(srat, range.node, blocks);
		g_array_append_val(ranges, range);
	}
	return ranges;
}

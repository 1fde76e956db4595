// SPDX-License-Identifier: GPL-2.0-or-later
/* How dmemfsctl plan reads the machine's RAM and chooses ranges. */
#include <stdbool.h>
#include <string.h>

#include "backend/memmap_cmdline.h"
#include "base/page_order.h"
#include "dmemfsctl/plan.h"

#define GIB (UINT64_C(1) << 30)
#define MIB (UINT64_C(1) << 20)

static GArray *extents(const struct extent *from, guint count)
{
	GArray *array = g_array_new(FALSE, FALSE, sizeof(struct extent));

	g_array_append_vals(array, from, count);
	return array;
}

static GArray *ranges(const struct machine_range *from, guint count)
{
	GArray *array = g_array_new(FALSE, FALSE, sizeof(struct machine_range));

	g_array_append_vals(array, from, count);
	return array;
}

static void assert_ranges(const GArray *found, const struct machine_range *expected, guint count)
{
	g_assert_cmpuint(found->len, ==, count);
	for (guint i = 0; i < count; i++) {
		const struct machine_range *range = &g_array_index(found, struct machine_range, i);

		g_assert_cmphex(range->extent.start, ==, expected[i].extent.start);
		g_assert_cmphex(range->extent.length, ==, expected[i].extent.length);
		g_assert_cmpint(range->node, ==, expected[i].node);
	}
}

static void iomem(void)
{
	g_autoptr(GArray) found = machine_parse_iomem("00001000-0009ffff : System RAM\n"
	                                              "000a0000-000fffff : Reserved\n"
	                                              "00100000-3fffffff : System RAM\n"
	                                              "  01000000-01ffffff : Kernel code\n"
	                                              "  02000000-02ffffff : System RAM\n"
	                                              "40000000-4fffffff : System RAM (kmem)\n"
	                                              "100000000-27fffffff : System RAM\n"
	                                              "nonsense : System RAM\n",
	                                              "System RAM");
	const struct extent *first = (const struct extent *)found->data;

	g_assert_cmpuint(found->len, ==, 3);
	g_assert_cmphex(first[0].length, ==, 0x9f000);
	g_assert_cmphex(first[1].start, ==, 0x100000);
	g_assert_cmphex(first[1].length, ==, 0x3ff00000);
	g_assert_cmphex(first[2].length, ==, 6 * GIB);
}

static void intersection(void)
{
	const struct extent some[] = { { 0, 4 }, { 8, 8 } }, others[] = { { 2, 8 }, { 12, 100 } };
	g_autoptr(GArray) first = extents(some, 2), second = extents(others, 2);
	g_autoptr(GArray) common = machine_intersect(first, second);
	const struct extent *found = (const struct extent *)common->data;

	g_assert_cmpuint(common->len, ==, 3);
	g_assert_cmpuint(found[0].start, ==, 2);
	g_assert_cmpuint(found[1].start, ==, 8);
	g_assert_cmpuint(found[1].length, ==, 2);
	g_assert_cmpuint(found[2].length, ==, 4);
}

/* Node 0 has [0, 8G), node 1 [8G, 16G); parts are reserved, so that the kernel has no blocks there. */
static void nodes_of_ranges(void)
{
	const struct extent ram[] = { { 0, 3 * GIB }, { 4 * GIB, 14 * GIB } };
	const struct machine_range blocks[] = {
		{ { 0, 2 * GIB }, 0 }, { { 5 * GIB, GIB }, 0 }, { { 8 * GIB, GIB }, 1 }, { { 12 * GIB, 2 * GIB }, 1 }
	};
	const struct machine_range expected[] = {
		{ { 0, 3 * GIB }, 0 },
		{ { 4 * GIB, 2 * GIB }, 0 },
		{ { 6 * GIB, 2 * GIB }, -1 },
		{ { 8 * GIB, 10 * GIB }, 1 },
	};
	g_autoptr(GArray) all = extents(ram, 2), known = ranges(blocks, 4), none = ranges(blocks, 0);
	g_autoptr(GArray) found = machine_assign_nodes(all, known);
	g_autoptr(GArray) unknown = machine_assign_nodes(all, none);

	assert_ranges(found, expected, G_N_ELEMENTS(expected));
	g_assert_cmpuint(unknown->len, ==, 2);
	g_assert_cmpint(g_array_index(unknown, struct machine_range, 0).node, ==, -1);
}

static void put_memory(GByteArray *table, uint32_t domain, uint64_t start, uint64_t length, uint32_t flags)
{
	uint8_t entry[40] = { 1, sizeof(entry) };

	memcpy(entry + 2, &domain, 4);
	memcpy(entry + 8, &start, 8);
	memcpy(entry + 16, &length, 8);
	memcpy(entry + 28, &flags, 4);
	g_byte_array_append(table, entry, sizeof(entry));
}

/* Domains 7 and 3 are the kernel's nodes 0 and 1. Most of both is reserved. */
static void firmware_knows_more(void)
{
	g_autoptr(GByteArray) table = g_byte_array_new();
	static const uint8_t header[48], processor[16] = { 0, 16 }, bad[2] = { 1, 0 };
	const struct machine_range blocks[] = { { { 0, 2 * GIB }, 0 }, { { 16 * GIB, GIB }, 1 } };
	const struct machine_range expected[] = { { { 0, 3 * GIB }, 0 },
		                                  { { 4 * GIB, 12 * GIB }, 0 },
		                                  { { 16 * GIB, 16 * GIB }, 1 },
		                                  { { 64 * GIB, GIB }, -1 } };
	g_autoptr(GArray) known = ranges(blocks, 2);

	g_byte_array_append(table, header, sizeof(header));
	put_memory(table, 3, 16 * GIB, 16 * GIB, 1);
	g_byte_array_append(table, processor, sizeof(processor));
	put_memory(table, 7, 0, 3 * GIB, 1);
	put_memory(table, 7, 4 * GIB, 12 * GIB, 3);
	put_memory(table, 5, 64 * GIB, GIB, 1);
	put_memory(table, 5, 128 * GIB, GIB, 0); /* not enabled */
	g_byte_array_append(table, bad, sizeof(bad));

	g_autoptr(GArray) srat = machine_parse_srat(table->data, table->len);
	g_autoptr(GArray) found = machine_number_domains(srat, known);

	assert_ranges(found, expected, G_N_ELEMENTS(expected));
	/* A table that is cut off at any length is read up to there. */
	for (gsize size = 0; size < table->len; size++) {
		g_autofree uint8_t *copy = g_memdup2(table->data, size);
		g_autoptr(GArray) part = machine_parse_srat(copy, size);

		g_assert_cmpuint(part->len, <=, 4);
	}
}

static void assert_plan(const struct machine_range *ram, guint ram_count, struct plan_request request, int only_node,
                        const struct machine_range *expected, guint count)
{
	struct machine machine = { .ram = ranges(ram, ram_count), .nodes = g_array_new(FALSE, FALSE, sizeof(int)) };
	g_autoptr(GArray) wanted = g_array_new(FALSE, FALSE, sizeof(int));
	g_autoptr(GError) error = NULL;
	const int two[] = { 0, 1 };

	g_array_append_vals(machine.nodes, two, 2);
	if (only_node >= 0)
		g_array_append_val(wanted, only_node);
	request.nodes = wanted;
	request.alignment = request.alignment ?: plan_alignment(PAGE_ORDER_1G);

	g_autoptr(GArray) found = plan_choose(&machine, &request, &error);

	if (count) {
		g_assert_no_error(error);
		assert_ranges(found, expected, count);
	} else {
		g_assert_nonnull(error);
		g_assert_null(found);
	}
	g_array_unref(machine.ram);
	g_array_unref(machine.nodes);
}

static void choice(void)
{
	/* Two nodes of 16 GiB, the first with the hole below 4 GiB, the second with an odd end. */
	const struct machine_range ram[] = { { { MIB, 3 * GIB - MIB }, 0 },
		                             { { 4 * GIB, 13 * GIB }, 0 },
		                             { { 17 * GIB, 4 * GIB + MIB }, 1 },
		                             { { 22 * GIB - MIB, 12 * GIB + 3 * MIB }, 1 } };
	const struct machine_range evenly[] = { { { 13 * GIB, 4 * GIB }, 0 }, { { 17 * GIB, 4 * GIB }, 1 } };
	const struct machine_range odd[] = { { { 15 * GIB, 2 * GIB }, 0 }, { { 20 * GIB, GIB }, 1 } };
	const struct machine_range second[] = { { { 29 * GIB, 5 * GIB }, 1 } };
	const struct machine_range both[] = { { { 20 * GIB, GIB }, 1 }, { { 22 * GIB, 12 * GIB }, 1 } };

	assert_plan(ram, 4, (struct plan_request){ .size = 8 * GIB }, -1, evenly, 2);
	assert_plan(ram, 4, (struct plan_request){ .size = 3 * GIB }, -1, odd, 2);
	assert_plan(ram, 4, (struct plan_request){ .size = 5 * GIB }, 1, second, 1);
	assert_plan(ram, 4, (struct plan_request){ .size = 13 * GIB }, 1, both, 2);
	/* 2 x 16 GiB, less 4 GiB each. */
	assert_plan(ram, 4, (struct plan_request){ .size = 25 * GIB, .leave = 8 * GIB }, -1, NULL, 0);
	assert_plan(ram, 4, (struct plan_request){ .size = 13 * GIB, .leave = 8 * GIB }, 1, NULL, 0);
	assert_plan(ram, 4, (struct plan_request){ .size = GIB, .leave = UINT64_MAX }, -1, NULL, 0);
	assert_plan(ram, 4, (struct plan_request){ .size = UINT64_C(1) << 60 }, -1, NULL, 0);
}

/* For random machines: ranges are aligned, in RAM, do not overlap, and have the size that was asked for. */
static void any_machine(void)
{
	for (int round = 0; round < 2000; round++) {
		struct machine machine = { .ram = ranges(NULL, 0), .nodes = g_array_new(FALSE, FALSE, sizeof(int)) };
		g_autoptr(GArray) anywhere = g_array_new(FALSE, FALSE, sizeof(int));
		struct plan_request request = { .size = (uint64_t)g_test_rand_int_range(1, 40) * GIB,
			                        .nodes = anywhere };
		uint64_t at = 0, end = 0, sum = 0;
		int nodes = g_test_rand_int_range(1, 4);

		for (int node = 0; node < nodes; node++) {
			g_array_append_val(machine.nodes, node);
			for (int i = g_test_rand_int_range(1, 4); i > 0; i--) {
				struct machine_range range = {
					{ at, (uint64_t)g_test_rand_int_range(1, 20 * 64) * 16 * MIB }, node
				};

				g_array_append_val(machine.ram, range);
				at += range.extent.length + (uint64_t)g_test_rand_int_range(0, 3) * 48 * MIB;
			}
		}
		request.leave = (uint64_t)g_test_rand_int_range(0, 4) * GIB;

		request.alignment = plan_alignment(PAGE_ORDER_1G);

		g_autoptr(GArray) found = plan_choose(&machine, &request, NULL);

		for (guint i = 0; found && i < found->len; i++) {
			const struct machine_range *range = &g_array_index(found, struct machine_range, i);
			bool inside = false;

			g_assert_cmphex((range->extent.start | range->extent.length) % GIB, ==, 0);
			g_assert_cmphex(range->extent.start, >=, MAX(end, PLAN_LOWEST));
			for (guint k = 0; k < machine.ram->len; k++) {
				const struct machine_range *ram = &g_array_index(machine.ram, struct machine_range, k);

				inside |= ram->node == range->node && range->extent.start >= ram->extent.start &&
				          range->extent.start + range->extent.length <=
				                  ram->extent.start + ram->extent.length;
			}
			g_assert_true(inside);
			end = range->extent.start + range->extent.length;
			sum += range->extent.length;
		}
		g_assert_true(!found || sum == request.size);
		g_array_unref(machine.ram);
		g_array_unref(machine.nodes);
	}
}

static void arguments_read_back(void)
{
	const struct machine_range some[] = { { { 4 * GIB, 3 * GIB }, 0 }, { { 100 * GIB, GIB }, 1 } };
	g_autoptr(GArray) chosen = ranges(some, 2);
	g_autofree char *text = plan_arguments(chosen);
	g_autoptr(GArray) parsed = memmap_cmdline_parse(text);
	g_autofree char *grub = plan_grub(chosen);

	g_assert_cmpstr(text, ==, "memmap=3G$0x100000000 memmap=1G$0x1900000000");
	g_assert_cmpuint(parsed->len, ==, 2);
	g_assert_cmphex(g_array_index(parsed, struct extent, 1).start, ==, 100 * GIB);
	g_assert_nonnull(strstr(grub, " memmap=3G\\\\\\$0x100000000 memmap=1G\\\\\\$0x1900000000\"\n"));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/plan/iomem", iomem);
	g_test_add_func("/plan/intersection", intersection);
	g_test_add_func("/plan/nodes", nodes_of_ranges);
	g_test_add_func("/plan/firmware", firmware_knows_more);
	g_test_add_func("/plan/choice", choice);
	g_test_add_func("/plan/any_machine", any_machine);
	g_test_add_func("/plan/arguments", arguments_read_back);
	return g_test_run();
}

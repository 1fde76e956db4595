// SPDX-License-Identifier: GPL-2.0-or-later
/* The RAM of this machine. */
#include "dmemfsctl/machine.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/memmap_cmdline.h"
#include "dmemfsctl/command.h"

/* Lines are "START-END : NAME", END included; ranges inside of another range are indented (proc(5)). */
GArray *machine_parse_iomem(const char *iomem, const char *name)
{
	GArray *ranges = g_array_new(FALSE, FALSE, sizeof(struct extent));
	g_auto(GStrv) lines = g_strsplit(iomem, "\n", -1);

	for (char **line = lines; *line; line++) {
		const char *found = strstr(*line, " : ");
		uint64_t start, end;

		if (!found || strcmp(found + 3, name) != 0 || g_ascii_isspace(**line) ||
		    sscanf(*line, "%" SCNx64 "-%" SCNx64, &start, &end) != 2 || end <= start)
			continue;

		struct extent range = { start, end - start + 1 };

		g_array_append_val(ranges, range);
	}
	extents_merge(ranges);
	return ranges;
}

GArray *machine_intersect(const GArray *first, const GArray *second)
{
	GArray *common = g_array_new(FALSE, FALSE, sizeof(struct extent));

	for (guint i = 0; i < first->len; i++) {
		const struct extent *a = &g_array_index(first, struct extent, i);

		for (guint k = 0; k < second->len; k++) {
			const struct extent *b = &g_array_index(second, struct extent, k);
			uint64_t start = MAX(a->start, b->start);
			uint64_t end = MIN(a->start + a->length, b->start + b->length);
			struct extent both = { start, end - start };

			if (start < end)
				g_array_append_val(common, both);
		}
	}
	return common;
}

static void append_range(GArray *ranges, uint64_t start, uint64_t end, int node)
{
	struct machine_range *last = ranges->len ? &g_array_index(ranges, struct machine_range, ranges->len - 1) : NULL;
	struct machine_range range = { { start, end - start }, node };

	if (start >= end)
		return;
	if (last && last->node == node && last->extent.start + last->extent.length == start)
		last->extent.length += end - start;
	else
		g_array_append_val(ranges, range);
}

/* Appends one range of RAM, split where the node changes. */
static void assign_range(GArray *assigned, const struct extent *extent, const GArray *blocks)
{
	uint64_t at = extent->start, end = extent->start + extent->length;
	int before = -1;
	bool first = true;

	for (guint i = 0; i < blocks->len; i++) {
		const struct machine_range *block = &g_array_index(blocks, struct machine_range, i);
		uint64_t block_end = block->extent.start + block->extent.length;

		/* The gap before the block. */
		if (at < block->extent.start) {
			uint64_t gap_end = MIN(end, block->extent.start);

			append_range(assigned, at, gap_end, first || before == block->node ? block->node : -1);
			at = MAX(at, gap_end);
		}
		if (at < block_end && at >= block->extent.start) {
			append_range(assigned, at, MIN(end, block_end), block->node);
			at = MAX(at, MIN(end, block_end));
		}
		if (at >= end)
			return;
		before = block->node;
		first = false;
	}
	append_range(assigned, at, end, before);
}

GArray *machine_assign_nodes(const GArray *ram, const GArray *blocks)
{
	GArray *assigned = g_array_new(FALSE, FALSE, sizeof(struct machine_range));

	for (guint i = 0; i < ram->len; i++)
		assign_range(assigned, &g_array_index(ram, struct extent, i), blocks);
	return assigned;
}

static char *read_file(const char *root, const char *path, GError **error)
{
	g_autofree char *full = g_strconcat(root, path, NULL);
	char *text = NULL;

	g_file_get_contents(full, &text, NULL, error);
	return text;
}

bool machine_is_locked_down(const char *root)
{
	g_autofree char *levels = read_file(root, "/sys/kernel/security/lockdown", NULL);

	return levels && !strstr(levels, "[none]");
}

static bool is_on(const char *root, const char *parameter)
{
	g_autofree char *value = read_file(root, parameter, NULL);

	return value && (*value == 'Y' || *value == '1');
}

/* The kernel's version as a number that rises; 0: not known. */
#define KERNEL(version, patchlevel) ((version) << 16 | (patchlevel))
static unsigned read_kernel(const char *root)
{
	g_autofree char *release = read_file(root, "/proc/sys/kernel/osrelease", NULL);
	unsigned version, patchlevel;

	return release && sscanf(release, "%u.%u", &version, &patchlevel) == 2 ? KERNEL(version, patchlevel) : 0;
}

bool machine_can_reserve(const char *root)
{
	unsigned kernel = read_kernel(root);

	return !kernel || kernel >= KERNEL(6, 12);
}

bool machine_can_have_pages(const char *root)
{
	unsigned kernel = read_kernel(root);

	return !kernel || kernel == KERNEL(6, 12) || kernel == KERNEL(7, 3);
}

char *machine_advise_pages(const char *root, const char *whom)
{
	return g_strdup_printf("%sgive %s memory with pages=1G or 2M: dmemfs.pages of its directory",
	                       machine_can_have_pages(root) ? "" : "boot Linux 6.12 or 7.3, then ", whom);
}

/* Does KVM look at struct pages, as it does from Linux 6.13 on? */
static bool has_safe_kvm(const char *root, bool *known)
{
	unsigned kernel = read_kernel(root);

	*known = kernel;
	return kernel >= KERNEL(6, 13);
}

#define UNSAFE_MAPPINGS "/sys/module/kvm/parameters/allow_unsafe_mappings"

bool machine_has_unsafe_nesting(const char *root)
{
	bool known, safe = has_safe_kvm(root, &known);

	return known && is_on(root, "/sys/module/kvm_intel/parameters/nested") &&
	       (!safe || is_on(root, UNSAFE_MAPPINGS));
}

/* The parameter nested is 1 by default, so KVM that is not loaded counts as on. */
static bool runs_nested_guests(const char *root)
{
	g_autofree char *intel = read_file(root, "/sys/module/kvm_intel/parameters/nested", NULL);
	g_autofree char *amd = read_file(root, "/sys/module/kvm_amd/parameters/nested", NULL);
	const char *value = intel ? intel : amd;

	return !value || *value == 'Y' || *value == '1';
}

bool machine_refuses_nesting(const char *root)
{
	bool known;

	return has_safe_kvm(root, &known) && !is_on(root, UNSAFE_MAPPINGS) && runs_nested_guests(root);
}

char *machine_refusal_remedy(const char *root)
{
	g_autofree char *advice = machine_advise_pages(root, "guests that run guests");

	return g_strconcat(
		advice,
		"; only if all guests may be trusted, put kvm.allow_unsafe_mappings=1 on the kernel's command line: "
		"then such a guest may reach single pages after a punched hole or a shrink took them from its file",
		NULL);
}

/*
 * The RAM that the firmware reported at boot. KVM takes RAM that was plugged in later, or set apart, for device
 * memory.
 */
static GArray *read_firmware(const char *root)
{
	g_autofree char *directory = g_strconcat(root, "/sys/firmware/memmap", NULL);
	g_autoptr(GDir) entries = g_dir_open(directory, 0, NULL);
	GArray *ranges;
	const char *name;

	if (!entries)
		return NULL;
	ranges = g_array_new(FALSE, FALSE, sizeof(struct extent));
	while ((name = g_dir_read_name(entries))) {
		g_autofree char *base = g_strdup_printf("/sys/firmware/memmap/%s/", name);
		g_autofree char *start_path = g_strconcat(base, "start", NULL);
		g_autofree char *end_path = g_strconcat(base, "end", NULL);
		g_autofree char *type_path = g_strconcat(base, "type", NULL);
		g_autofree char *start = read_file(root, start_path, NULL);
		g_autofree char *end = read_file(root, end_path, NULL);
		g_autofree char *type = read_file(root, type_path, NULL);
		struct extent range;

		if (!start || !end || !type || strcmp(g_strchomp(type), "System RAM") != 0)
			continue;
		range.start = g_ascii_strtoull(start, NULL, 0);
		range.length = g_ascii_strtoull(end, NULL, 0) - range.start + 1;
		g_array_append_val(ranges, range);
	}
	extents_merge(ranges);
	return ranges;
}

/* System RAM, and RAM that memmap= reserves now. */
static GArray *read_ram(const char *root, GError **error)
{
	g_autofree char *iomem = read_file(root, "/proc/iomem", error);
	g_autofree char *cmdline = iomem ? read_file(root, "/proc/cmdline", error) : NULL;
	g_autoptr(GArray) ram = cmdline ? machine_parse_iomem(iomem, "System RAM") : NULL;
	g_autoptr(GArray) reserved = NULL;
	g_autoptr(GArray) firmware = NULL;

	if (!ram)
		return NULL;
	if (ram->len == 0) {
		/* The kernel shows zeroes to all users but root. */
		command_fail(error, STATUS_FAILED, "%s/proc/iomem: shows no System RAM: run as root", root);
		return NULL;
	}
	reserved = memmap_cmdline_parse(cmdline);
	g_array_append_vals(ram, reserved->data, reserved->len);
	extents_merge(ram);
	firmware = read_firmware(root);
	return firmware ? machine_intersect(ram, firmware) : g_steal_pointer(&ram);
}

static gint by_number(gconstpointer a, gconstpointer b)
{
	return *(const int *)a - *(const int *)b;
}

/* Memory blocks are links in the directory of their node: nodeN/memoryM, M in units of the size of a block. */
static void read_node(const char *root, int node, uint64_t block_size, GArray *blocks)
{
	g_autofree char *directory = g_strdup_printf("%s/sys/devices/system/node/node%d", root, node);
	g_autoptr(GDir) entries = g_dir_open(directory, 0, NULL);
	const char *name;

	while (entries && (name = g_dir_read_name(entries))) {
		if (!g_str_has_prefix(name, "memory") || !g_ascii_isdigit(name[strlen("memory")]))
			continue;

		struct machine_range block = {
			{ g_ascii_strtoull(name + strlen("memory"), NULL, 10) * block_size, block_size }, node
		};

		g_array_append_val(blocks, block);
	}
}

/* Drops blocks that two nodes share, because their node is not known. */
static GArray *join_blocks(GArray *blocks)
{
	GArray *joined = g_array_new(FALSE, FALSE, sizeof(struct machine_range));

	g_array_sort(blocks, extents_compare);
	for (guint i = 0; i < blocks->len; i++) {
		const struct machine_range *block = &g_array_index(blocks, struct machine_range, i);
		int node = block->node;

		while (i + 1 < blocks->len &&
		       g_array_index(blocks, struct machine_range, i + 1).extent.start == block->extent.start) {
			node = -1;
			i++;
		}
		append_range(joined, block->extent.start, block->extent.start + block->extent.length, node);
	}
	return joined;
}

/* Uses the firmware's table, which also covers reserved memory; the kernel has no blocks there. */
static GArray *ask_firmware(const char *root, GArray *blocks)
{
	g_autofree char *path = g_strconcat(root, "/sys/firmware/acpi/tables/SRAT", NULL);
	g_autofree char *table = NULL;
	g_autoptr(GArray) srat = NULL;
	gsize size;

	if (!g_file_get_contents(path, &table, &size, NULL))
		return blocks;
	srat = machine_parse_srat((const uint8_t *)table, size);
	if (srat->len == 0)
		return blocks;

	GArray *ranges = machine_number_domains(srat, blocks);

	g_array_unref(blocks);
	return ranges;
}

/* Fills in the nodes, and returns the memory of each as far as it is known. */
static GArray *read_nodes(const char *root, GArray *nodes)
{
	g_autofree char *directory = g_strconcat(root, "/sys/devices/system/node", NULL);
	g_autoptr(GDir) entries = g_dir_open(directory, 0, NULL);
	g_autofree char *size = read_file(root, "/sys/devices/system/memory/block_size_bytes", NULL);
	g_autoptr(GArray) blocks = g_array_new(FALSE, FALSE, sizeof(struct machine_range));
	const char *name;

	while (entries && (name = g_dir_read_name(entries))) {
		int node;

		if (!g_str_has_prefix(name, "node") || !g_ascii_isdigit(name[strlen("node")]))
			continue;
		node = atoi(name + strlen("node"));
		g_array_append_val(nodes, node);
		if (size)
			read_node(root, node, g_ascii_strtoull(size, NULL, 16), blocks);
	}
	/* The kernel has no NUMA support. */
	if (nodes->len == 0) {
		int node = 0;

		g_array_append_val(nodes, node);
	}
	g_array_sort(nodes, by_number);
	/* There is one node only, so it has all memory. */
	if (nodes->len == 1 && blocks->len == 0) {
		struct machine_range all = { { 0, UINT64_C(1) << 52 }, g_array_index(nodes, int, 0) };

		g_array_append_val(blocks, all);
	}
	return ask_firmware(root, join_blocks(blocks));
}

struct machine *machine_read(const char *root, GError **error)
{
	g_autoptr(GArray) ram = read_ram(root, error);
	g_autoptr(GArray) blocks = NULL;
	struct machine *machine;

	if (!ram)
		return NULL;
	machine = g_new0(struct machine, 1);
	machine->nodes = g_array_new(FALSE, FALSE, sizeof(int));
	blocks = read_nodes(root, machine->nodes);
	machine->ram = machine_assign_nodes(ram, blocks);
	machine->bytes = extents_bytes(ram);
	return machine;
}

void machine_destroy(struct machine *machine)
{
	if (!machine)
		return;
	g_array_unref(machine->ram);
	g_array_unref(machine->nodes);
	g_free(machine);
}

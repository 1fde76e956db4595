// SPDX-License-Identifier: GPL-2.0-or-later
/* Checks of reserved memory and the module: lockdown, ranges, the loaded module, memory types. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "backend/automatic_regions.h"
#include "backend/memmap_cmdline.h"
#include "backend/pfn_device.h"
#include "base/page_order.h"
#include "dmemfs_ioctl.h"
#include "dmemfsctl/doctor.h"
#include "dmemfsctl/machine.h"
#include "dmemfsctl/plan.h"
#include "dmemfsctl/text.h"
#include "dmemfsctl/view.h"

static uint64_t overlap(const GArray *ranges, const struct extent *extent)
{
	g_autoptr(GArray) one = g_array_new(FALSE, FALSE, sizeof(*extent));
	g_autoptr(GArray) common = NULL;
	uint64_t sum = 0;

	g_array_append_val(one, *extent);
	common = machine_intersect(ranges, one);
	for (guint i = 0; i < common->len; i++)
		sum += g_array_index(common, struct extent, i).length;
	return sum;
}

/* Does the kernel manage a memory block in @extent that is not lent? It has a struct page for each page of such a block. */
static bool has_memory_block(const struct doctor *doctor, const struct extent *extent)
{
	g_autofree char *text = doctor_read(doctor, "/sys/devices/system/memory/block_size_bytes");
	uint64_t size = text ? g_ascii_strtoull(text, NULL, 16) : 0;
	g_autoptr(GArray) lent = doctor_list_lent(doctor);

	if (!size)
		return false;
	for (uint64_t block = (extent->start + size - 1) / size; (block + 1) * size <= extent->start + extent->length;
	     block++) {
		g_autofree char *path = g_strdup_printf("/sys/devices/system/memory/memory%" G_GUINT64_FORMAT, block);

		const struct extent whole = { block * size, size };

		if (overlap(lent, &whole) < size && doctor_exists(doctor, path))
			return true;
	}
	return false;
}

/* The order of the pages that a range with these @ends shall fit: the largest pages= of the configuration, else what may fit. */
static unsigned wanted_order(const struct doctor *doctor, uint64_t ends)
{
	const GPtrArray *regions =
		doctor->config && doctor->config->backend == BACKEND_PFN ? doctor->config->regions : NULL;
	unsigned order = PAGE_ORDER_NONE;
	bool given = false;

	for (guint i = 0; regions && i < regions->len; i++) {
		const struct region_config *region = g_ptr_array_index(regions, i);

		given |= !region->any_order;
		order = MAX(order, region->any_order ? PAGE_ORDER_NONE : region->order);
	}
	if (given)
		return order;
	return ends % plan_alignment(PAGE_ORDER_2M) ? PAGE_ORDER_2M : PAGE_ORDER_1G;
}

static void check_range(struct doctor *doctor, const GArray *ram, const struct extent *extent)
{
	uint64_t ends = extent->start | extent->length;
	unsigned order = wanted_order(doctor, ends);
	uint64_t alignment = plan_alignment(order);
	g_autofree char *size = text_size(extent->length);
	g_autofree char *name = g_strdup_printf("memmap=0x%" PRIx64 "$0x%" PRIx64, extent->length, extent->start);
	g_autofree char *unit = text_size(alignment);
	g_autofree char *advice = page_order_advice(*extent, alignment);

	if (overlap(ram, extent) > 0)
		doctor_add(doctor, LEVEL_PROBLEM,
		           "reboot; if that does not help, check in /proc/cmdline how the boot loader quotes the $",
		           "%s: the kernel uses some of it as System RAM", name);
	else if (has_memory_block(doctor, extent))
		doctor_add(doctor, LEVEL_PROBLEM, "reboot", "%s: the kernel has struct pages for some of it", name);
	else if (ends % alignment)
		doctor_add(doctor, LEVEL_NOTE, "let dmemfsctl plan propose ranges",
		           "%s: is not aligned to %s%s; the next range for pages=%s is %s", name, unit,
		           ends % plan_alignment(PAGE_ORDER_NONE) ? ": the kernel keeps struct pages at its ends"
		                                                  : ": the pages do not fit at its ends",
		           page_order_name(order), advice);
	else
		doctor_add(doctor, LEVEL_OK, NULL,
		           "%s at 0x%" PRIx64 " are reserved, and the kernel does not manage them", size,
		           extent->start);
}

/* Do the pages of a region with start=auto fit the reserved ranges? The configuration is checked by itself for other regions. */
static void check_automatic_region(struct doctor *doctor)
{
	const struct region_config *first;
	g_autoptr(GArray) wanted = g_array_new(FALSE, FALSE, sizeof(struct memory_region));
	g_autoptr(GError) error = NULL;

	if (!doctor->config || doctor->config->backend != BACKEND_PFN)
		return;
	first = g_ptr_array_index(doctor->config->regions, 0);
	if (first->automatic && !automatic_regions(doctor->config, first, doctor->reserved, wanted, &error))
		doctor_add(doctor, LEVEL_PROBLEM, NULL, "%s", error->message);
}

void doctor_check_lockdown(struct doctor *doctor)
{
	if (machine_is_locked_down(doctor->root))
		doctor_add(
			doctor, doctor->pfn ? LEVEL_PROBLEM : LEVEL_NOTE,
			"turn Secure Boot off in the firmware, or lockdown= on the kernel's command line; or use backend=memory",
			"the kernel is locked down: reserved memory cannot be used");
}

/* The remedy when no memory is reserved. A plan may have been written, but not be in effect before a reboot. */
static const char *remedy_of_none(const struct doctor *doctor)
{
	g_autofree char *cmdline = doctor_read(doctor, PLAN_KERNEL_CMDLINE);
	g_autoptr(GArray) planned = memmap_cmdline_parse(cmdline ? cmdline : "");

	if (doctor_exists(doctor, PLAN_GRUB_DROP_IN))
		return "run update-grub, then reboot: " PLAN_GRUB_DROP_IN " is not in effect yet";
	if (planned->len > 0)
		return "run " PLAN_KERNEL_INSTALL ", then reboot: " PLAN_KERNEL_CMDLINE " is not in effect yet";
	return "run dmemfsctl plan --size SIZE, which says how to reserve memory";
}

void doctor_check_reserved(struct doctor *doctor)
{
	g_autofree char *iomem = doctor_read(doctor, "/proc/iomem");
	g_autoptr(GArray) ram = machine_parse_iomem(iomem ? iomem : "", "System RAM");

	if (doctor->reserved->len == 0) {
		doctor_add(doctor, doctor->pfn ? LEVEL_PROBLEM : LEVEL_NOTE, remedy_of_none(doctor),
		           "no memory is reserved on the kernel's command line: only the memory backend works");
		return;
	}
	if (ram->len == 0)
		doctor_add(doctor, LEVEL_NOTE, "run as root",
		           "/proc/iomem cannot be read: reserved ranges were not checked");
	for (guint i = 0; ram->len > 0 && i < doctor->reserved->len; i++)
		check_range(doctor, ram, &g_array_index(doctor->reserved, struct extent, i));
	check_automatic_region(doctor);
}

/* Is the module installed for the running kernel? */
static bool is_installed(const struct doctor *doctor)
{
	g_autofree char *release = doctor_read(doctor, "/proc/sys/kernel/osrelease");
	g_autofree char *path = g_strdup_printf("/lib/modules/%s/modules.dep", release ? release : "");
	g_autofree char *modules = doctor_read(doctor, path);

	return modules && strstr(modules, "/dmemfs.ko");
}

static void check_loaded(struct doctor *doctor)
{
	g_autofree char *version = doctor_read(doctor, "/sys/module/dmemfs/version");
	g_autofree char *huge = NULL;

	if (version && strcmp(version, DMEMFS_VERSION) != 0) {
		doctor_add(doctor, LEVEL_PROBLEM,
		           "install module and daemon of the same release, then reload the module",
		           "module dmemfs is %s, this program " DMEMFS_VERSION, version);
		return;
	}
	if (!doctor_exists(doctor, DMEMFS_DEVICE)) {
		doctor_add(doctor, LEVEL_PROBLEM, "start systemd-udevd, or reload the module",
		           "the module is loaded, but " DMEMFS_DEVICE " does not exist");
		return;
	}
	huge = doctor_read(doctor, "/sys/module/dmemfs/parameters/huge_pages");
	if (g_strcmp0(huge, "N") == 0)
		doctor_add(doctor, LEVEL_NOTE, "run dmesg | grep dmemfs, which says why; then reload the module",
		           "the module maps with pages of 4 KiB only");
	doctor_add(doctor, LEVEL_OK, NULL, "module dmemfs %s is loaded", version ? version : "(without a version)");
}

void doctor_check_module(struct doctor *doctor)
{
	bool installed = is_installed(doctor);

	if (doctor_exists(doctor, "/sys/module/dmemfs"))
		check_loaded(doctor);
	else if (!doctor->pfn)
		doctor_add(doctor, LEVEL_NOTE, NULL,
		           "module dmemfs is not loaded: the memory backend does not need it");
	else
		doctor_add(doctor, LEVEL_PROBLEM,
		           installed ? "run modprobe dmemfs; if that fails, dmesg says why"
		                     : "install dmemfs-dkms, or run make -C kmod install, then modprobe dmemfs",
		           "module dmemfs is not %s", installed ? "loaded" : "installed for this kernel");
}

/* The line of @list that is about the byte at @at: its end and type. */
static bool find_type(char **list, uint64_t at, uint64_t *end, char type[static DOCTOR_TYPE_ROOM])
{
	uint64_t start;

	for (char **line = list; *line; line++) {
		if (sscanf(*line, "PAT: [mem 0x%" SCNx64 "-0x%" SCNx64 "] %31s", &start, end, type) == 3 &&
		    start <= at && *end > at)
			return true;
	}
	return false;
}

int doctor_parse_type(const char *list, struct extent range, char type[static DOCTOR_TYPE_ROOM])
{
	g_auto(GStrv) lines = g_strsplit(list, "\n", -1);
	uint64_t at = range.start;

	/* A region with compound pages has an entry for each gigabyte. */
	while (at < range.start + range.length) {
		uint64_t end;

		if (!find_type(lines, at, &end, type))
			return -1;
		if (strcmp(type, "write-back") != 0)
			return 0;
		at = end;
	}
	return 1;
}

static void check_type(struct doctor *doctor, const char *list, const struct extent *region)
{
	char type[DOCTOR_TYPE_ROOM];
	int found = doctor_parse_type(list, *region, type);

	if (found == 1)
		doctor_add(doctor, LEVEL_OK, NULL, "the region at 0x%" PRIx64 " is write-back", region->start);
	else if (found == 0)
		doctor_add(doctor, LEVEL_PROBLEM,
		           "find out which driver mapped it before the module (/proc/iomem, dmesg)",
		           "the region at 0x%" PRIx64 " is %s, not write-back: guests are a hundred times slower",
		           region->start, type);
	else
		doctor_add(doctor, LEVEL_PROBLEM, "restart the daemon, and report this if it stays so",
		           "the region at 0x%" PRIx64 " has no memory type: it would be mapped uncached",
		           region->start);
}

void doctor_check_write_back(struct doctor *doctor)
{
	g_autofree char *list = doctor_read(doctor, "/sys/kernel/debug/x86/pat_memtype_list");

	for (guint i = 0; i < doctor->views->len; i++) {
		const struct view *view = g_ptr_array_index(doctor->views, i);

		if (g_strcmp0(g_hash_table_lookup(view->daemon, "backend"), "pfn") != 0)
			continue;
		if (!list) {
			doctor_add(
				doctor, LEVEL_NOTE, "run mount -t debugfs debugfs /sys/kernel/debug",
				"the memory types cannot be read; the module checked them when it claimed its regions");
			return;
		}
		for (guint k = 0; k < view->regions->len; k++)
			check_type(doctor, list, &g_array_index(view->regions, struct view_region, k).extent);
	}
}

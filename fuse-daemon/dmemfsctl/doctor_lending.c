// SPDX-License-Identifier: GPL-2.0-or-later
/* Checks of what lending memory to the host needs, and what it costs. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "backend/pfn_lending.h"
#include "dmemfsctl/doctor.h"
#include "dmemfsctl/text.h"
#include "dmemfsctl/view.h"

#define MIB (UINT64_C(1) << 20)
/* The name of lent memory in /proc/iomem. */
#define LENT_NAME "System RAM (dmemfs)"
/* Bytes of struct page for a gigabyte of memory that the kernel manages. */
#define STRUCT_PAGES (16 * MIB)
/* The last kernel whose partly used pools of huge pages keep memory. */
#define HUGETLB_VERSION    6
#define HUGETLB_PATCHLEVEL 12

GArray *doctor_list_lent(const struct doctor *doctor)
{
	GArray *lent = g_array_new(FALSE, FALSE, sizeof(struct extent));
	g_autofree char *iomem = doctor_read(doctor, "/proc/iomem");
	g_auto(GStrv) lines = g_strsplit(iomem ? iomem : "", "\n", -1);

	for (char **line = lines; *line; line++) {
		const char *name = strstr(*line, " : ");
		uint64_t start, end;

		if (name && strcmp(name + 3, LENT_NAME) == 0 &&
		    sscanf(*line, " %" SCNx64 "-%" SCNx64, &start, &end) == 2 && end > start) {
			struct extent range = { start, end - start + 1 };

			g_array_append_val(lent, range);
		}
	}
	return lent;
}

/* Counts the whole units in the reserved ranges, which have the regions. */
static uint64_t count_units(const struct doctor *doctor, uint64_t unit)
{
	uint64_t units = 0;

	for (guint i = 0; i < doctor->reserved->len; i++) {
		const struct extent *range = &g_array_index(doctor->reserved, struct extent, i);
		uint64_t first = (range->start + unit - 1) / unit, end = (range->start + range->length) / unit;

		units += end > first ? end - first : 0;
	}
	return units;
}

/* How many units the host can have at a time, for its own memory. */
static uint64_t most_units(const struct doctor *doctor, uint64_t unit, uint64_t lent)
{
	g_autofree char *text = doctor_read(doctor, "/proc/meminfo");
	uint64_t total = 0;

	if (!text || sscanf(text, "MemTotal: %" SCNu64 " kB", &total) != 1)
		return UINT64_MAX;
	total <<= 10;
	return (total - MIN(total, lent)) * LENDING_RATIO / unit;
}

static void check_units(struct doctor *doctor, uint64_t lent)
{
	g_autofree char *text = doctor_read(doctor, "/sys/devices/system/memory/block_size_bytes");
	uint64_t unit = MAX(text ? g_ascii_strtoull(text, NULL, 16) : 0, DMEMFS_PAGE_1G);
	uint64_t units = count_units(doctor, unit), most = MIN(units, most_units(doctor, unit, lent));
	g_autofree char *size = text_size(unit);
	g_autofree char *cost = text_size(most * (unit / DMEMFS_PAGE_1G) * STRUCT_PAGES);
	g_autofree char *limit =
		g_strdup_printf(", %" PRIu64
	                        " of them at a time, because no more is lent than %d times the host's own memory",
	                        most, LENDING_RATIO);

	if (!text)
		doctor_add(doctor, LEVEL_PROBLEM, "boot a kernel with CONFIG_MEMORY_HOTPLUG=y, or set lend=off",
		           "the kernel has no memory blocks (/sys/devices/system/memory): no memory can be lent");
	else if (!units)
		doctor_add(
			doctor, LEVEL_PROBLEM, "reserve whole units, aligned to their size, or set lend=off",
			"memory is lent in units of %s, which is the size of the kernel's memory blocks if that is more than "
			"1 GiB: no reserved range has a whole one",
			size);
	else
		doctor_add(
			doctor, LEVEL_OK, NULL,
			"%" PRIu64
			" units of %s can be lent, but for lend-reserve%s; then the kernel needs %s for their struct "
			"pages",
			units, size, most < units ? limit : "", cost);
}

static void check_onlining(struct doctor *doctor)
{
	g_autofree char *policy = doctor_read(doctor, "/sys/devices/system/memory/auto_online_blocks");

	if (policy && strcmp(policy, "offline") != 0 && strcmp(policy, "online_movable") != 0)
		doctor_add(
			doctor, LEVEL_OK, NULL,
			"the kernel brings new memory online by itself (auto_online_blocks is %s): the module refuses "
			"that for lent memory, and the daemon does it",
			policy);
}

/* A pool of huge pages is a user that gives nothing back while some of its pages are free and others are not. */
static void check_hugetlb(struct doctor *doctor)
{
	g_autofree char *release = doctor_read(doctor, "/proc/sys/kernel/osrelease");
	g_autofree char *pages = doctor_read(doctor, "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages");
	unsigned version, patchlevel;

	if (release && doctor_parse_release(release, &version, &patchlevel) && version == HUGETLB_VERSION &&
	    patchlevel <= HUGETLB_PATCHLEVEL && pages && strcmp(pages, "0") != 0)
		doctor_add(
			doctor, LEVEL_NOTE,
			"reserve the pool on the kernel's command line (hugepages=), so that none of it is lent memory",
			"Linux %s, and a pool of %s huge pages of 2 MiB: if the pool grew while memory was lent, that memory "
			"may not come back",
			release, pages);
}

/* The list of what a crash kernel dumps is not made anew when lent memory has been taken back. */
static void check_crash_kernel(struct doctor *doctor)
{
	g_autofree char *loaded = doctor_read(doctor, "/sys/kernel/kexec_crash_loaded");

	if (loaded && strcmp(loaded, "1") == 0)
		doctor_add(
			doctor, LEVEL_NOTE,
			"see that it is loaded again after lent memory was taken back, as by the rule of Debian's kdump-tools "
			"for udev: dmemfs-guests(7), \"CRASH DUMPS OF THE HOST\"",
			"a crash kernel is loaded: it dumps memory that was lent when the list of what it dumps was made, "
			"whatever a guest has there since");
}

void doctor_check_lending(struct doctor *doctor)
{
	g_autoptr(GArray) lent = doctor_list_lent(doctor);
	bool on = doctor->config && doctor->config->backend == BACKEND_PFN && doctor->config->lend == LEND_ON;
	g_autofree char *size = text_size(extents_bytes(lent));

	if (!on && lent->len == 0)
		return;
	if (lent->len > 0)
		doctor_add(doctor, LEVEL_OK, NULL, "%s are lent to the host", size);
	if (on && doctor->reserved->len > 0)
		check_units(doctor, extents_bytes(lent));
	check_onlining(doctor);
	check_hugetlb(doctor);
	check_crash_kernel(doctor);
}

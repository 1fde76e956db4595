// SPDX-License-Identifier: GPL-2.0-or-later
/* Checks of the kernel: version, FUSE, huge pages, KVM. */
#include <stdio.h>
#include <string.h>

#include "base/page_order.h"
#include "dmemfsctl/doctor.h"
#include "dmemfsctl/machine.h"
#include "dmemfsctl/view.h"

/* FUSE passthrough came with 6.9. */
#define VERSION_MIN    6
#define PATCHLEVEL_MIN 9
#define BOOT(version)  "boot Linux " version " or later; Debian 12 has one in bookworm-backports: linux-image-amd64"

bool doctor_parse_release(const char *release, unsigned *version, unsigned *patchlevel)
{
	return sscanf(release, "%u.%u", version, patchlevel) == 2;
}

char *doctor_parse_choice(const char *text)
{
	const char *begin = strchr(text, '[');
	const char *end = begin ? strchr(begin, ']') : NULL;

	return end ? g_strndup(begin + 1, (gsize)(end - begin - 1)) : NULL;
}

/* The regions that the configuration wants of reserved RAM; NULL: none. */
static const GPtrArray *configured_regions(const struct doctor *doctor)
{
	return doctor->config && doctor->config->backend == BACKEND_PFN ? doctor->config->regions : NULL;
}

/* Compound pages that the configuration asks for are missing. Without pages=, or a configuration, the host gets pages=none. */
static void check_pages(struct doctor *doctor, const char *release)
{
	const GPtrArray *regions = configured_regions(doctor);
	guint before = doctor->findings->len;

	for (guint i = 0; regions && i < regions->len; i++) {
		const struct region_config *region = g_ptr_array_index(regions, i);

		if (!region->any_order && region->order != PAGE_ORDER_NONE)
			doctor_add(doctor, LEVEL_PROBLEM, MACHINE_PAGES_REMEDY,
			           "Linux %s: [region %s] has pages=%s, but " MACHINE_PAGES, release, region->name,
			           page_order_name(region->order));
	}
	if (doctor->findings->len == before)
		doctor_add(doctor, LEVEL_NOTE, MACHINE_PAGES_REMEDY, "Linux %s: " MACHINE_PAGES, release);
}

/* Reserved RAM may be wanted, and compound pages of it, unless the configuration says otherwise. */
static bool may_want_reserved(const struct doctor *doctor)
{
	return doctor->pfn || !doctor->config;
}

static bool may_want_pages(const struct doctor *doctor)
{
	const GPtrArray *regions = configured_regions(doctor);

	for (guint i = 0; regions && i < regions->len; i++) {
		const struct region_config *region = g_ptr_array_index(regions, i);

		if (region->any_order || region->order != PAGE_ORDER_NONE)
			return true;
	}
	return !regions && may_want_reserved(doctor);
}

void doctor_check_kernel(struct doctor *doctor)
{
	g_autofree char *release = doctor_read(doctor, "/proc/sys/kernel/osrelease");
	unsigned version, patchlevel;

	if (!release || !doctor_parse_release(release, &version, &patchlevel))
		doctor_add(doctor, LEVEL_NOTE, NULL, "cannot read the kernel's version");
	else if (version < VERSION_MIN || (version == VERSION_MIN && patchlevel < PATCHLEVEL_MIN))
		doctor_add(doctor, LEVEL_PROBLEM, doctor->pfn ? BOOT("6.12") : BOOT("6.9"),
		           "Linux %s has no FUSE passthrough", release);
	else if (!machine_can_reserve(doctor->root) && may_want_reserved(doctor))
		doctor_add(doctor, doctor->pfn ? LEVEL_PROBLEM : LEVEL_NOTE, BOOT("6.12") "; or use backend=memory",
		           "Linux %s: " MACHINE_RESERVE, release);
	else if (machine_can_reserve(doctor->root) && !machine_can_have_pages(doctor->root) && may_want_pages(doctor))
		check_pages(doctor, release);
	else
		doctor_add(doctor, LEVEL_OK, NULL, "Linux %s", release);
}

/*
 * Distributions install the kernel's configuration in /boot. Without that file only the daemon's mount shows what
 * FUSE lacks.
 */
void doctor_check_fuse(struct doctor *doctor)
{
	g_autofree char *release = doctor_read(doctor, "/proc/sys/kernel/osrelease");
	g_autofree char *path = g_strdup_printf("/boot/config-%s", release ? release : "");
	g_autofree char *config = doctor_read(doctor, path);
	bool has_passthrough = config && strstr(config, "\nCONFIG_FUSE_PASSTHROUGH=y");

	if (config && !has_passthrough)
		doctor_add(doctor, LEVEL_PROBLEM, "boot a kernel with CONFIG_FUSE_PASSTHROUGH=y",
		           "%s: FUSE passthrough is not built in", path);
	if (!doctor_exists(doctor, "/dev/fuse"))
		doctor_add(doctor, LEVEL_PROBLEM, "run modprobe fuse", "/dev/fuse does not exist");
	else if (!config || has_passthrough)
		doctor_add(doctor, LEVEL_OK, NULL, "/dev/fuse exists%s",
		           has_passthrough ? ", and the kernel has FUSE passthrough" : "");
}

void doctor_check_huge_pages(struct doctor *doctor)
{
	g_autofree char *text = doctor_read(doctor, "/sys/kernel/mm/transparent_hugepage/enabled");
	g_autofree char *choice = text ? doctor_parse_choice(text) : NULL;
	g_autofree char *shmem_text = doctor_read(doctor, "/sys/kernel/mm/transparent_hugepage/shmem_enabled");
	g_autofree char *shmem = shmem_text ? doctor_parse_choice(shmem_text) : NULL;

	if (!choice)
		doctor_add(doctor, doctor->pfn ? LEVEL_PROBLEM : LEVEL_NOTE,
		           "boot a kernel with CONFIG_TRANSPARENT_HUGEPAGE=y",
		           "the kernel has no transparent huge pages: memory is mapped with pages of 4 KiB");
	else if (strcmp(choice, "never") == 0)
		doctor_add(doctor, doctor->pfn ? LEVEL_PROBLEM : LEVEL_NOTE,
		           "run echo madvise > /sys/kernel/mm/transparent_hugepage/enabled, and set "
		           "transparent_hugepage=madvise on the kernel's command line",
		           "transparent huge pages are \"never\": memory is mapped with pages of 4 KiB");
	else
		doctor_add(doctor, LEVEL_OK, NULL, "transparent huge pages: %s", choice);
	if (doctor_has_backend(doctor, "memory") && shmem &&
	    (strcmp(shmem, "never") == 0 || strcmp(shmem, "deny") == 0))
		doctor_add(doctor, LEVEL_NOTE, "run echo advise > /sys/kernel/mm/transparent_hugepage/shmem_enabled",
		           "shmem_enabled is \"%s\": the memory backend gets pages of 4 KiB", shmem);
}

/* Is there a region with pages=none, or will there be one by the configuration? */
static bool has_raw_region(const struct doctor *doctor)
{
	const GPtrArray *regions = configured_regions(doctor);

	for (guint i = 0; regions && i < regions->len; i++) {
		const struct region_config *region = g_ptr_array_index(regions, i);

		if (region->any_order ? !machine_can_have_pages(doctor->root) : region->order == PAGE_ORDER_NONE)
			return true;
	}
	for (guint i = 0; i < doctor->views->len; i++) {
		const struct view *view = g_ptr_array_index(doctor->views, i);
		bool pfn = g_strcmp0(g_hash_table_lookup(view->daemon, "backend"), "pfn") == 0;

		for (guint k = 0; pfn && k < view->regions->len; k++) {
			if (g_strcmp0(g_array_index(view->regions, struct view_region, k).pages, "none") == 0)
				return true;
		}
	}
	return false;
}

void doctor_check_kvm(struct doctor *doctor)
{
	if (doctor_exists(doctor, "/dev/kvm"))
		doctor_add(doctor, LEVEL_OK, NULL, "/dev/kvm exists");
	else
		doctor_add(doctor, LEVEL_PROBLEM,
		           "enable virtualization in the firmware, then run modprobe kvm_intel or modprobe kvm_amd",
		           "/dev/kvm does not exist: guests would be emulated");
	if (doctor->pfn && machine_has_unsafe_nesting(doctor->root))
		doctor_add(doctor, LEVEL_NOTE, MACHINE_NESTING_REMEDY, MACHINE_NESTING);
	if (has_raw_region(doctor) && machine_refuses_nesting(doctor->root)) {
		g_autofree char *remedy = machine_refusal_remedy(doctor->root);

		doctor_add(doctor, LEVEL_NOTE, remedy, MACHINE_REFUSAL);
	}
}

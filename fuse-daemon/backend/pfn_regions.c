// SPDX-License-Identifier: GPL-2.0-or-later
/* Which regions the daemon claims of the module, and which of an earlier daemon's it keeps or releases. */
#include "backend/pfn_regions.h"

#include <errno.h>

#include "backend/automatic_regions.h"
#include "backend/backend.h"
#include "backend/memmap_cmdline.h"
#include "backend/pfn_device.h"
#include "backend/pfn_lending.h"
#include "base/log.h"
#include "base/page_order.h"

/* How long a unit of lent memory may take to come back, in ms. */
#define TAKE_TIMEOUT 10000

/* Has an earlier daemon claimed exactly this range, with other pages? Then @order is that of those pages. */
static bool has_other_pages(int device, const struct memory_region *wanted, unsigned *order)
{
	struct dmemfs_region region = { .start = wanted->start };

	if (pfn_call(device, DMEMFS_IOC_REGION_NEXT, &region) < 0 || region.start != wanted->start ||
	    region.length != wanted->length || region.order == wanted->order)
		return false;
	*order = region.order;
	return true;
}

static char *overlap_reason(int device, const struct memory_region *wanted)
{
	unsigned order;

	if (has_other_pages(device, wanted, &order))
		return g_strdup_printf(
			"it has pages=%s, which cannot change while files are in it, a device holds memory of it, or some of it stays "
			"lent to the host: keep pages=%s, or remove those files first",
			page_order_name(order), page_order_name(order));
	return g_strdup(
		"files of an earlier configuration are in a region that overlaps it, or a device holds memory of it: keep start, "
		"size and pages= as they were (with start=auto also page-size, which was 2M by default in dmemfs 0.1), or unload "
		"the module, which loses the contents of those files");
}

static char *alignment_reason(const struct memory_region *wanted)
{
	const struct extent range = { wanted->start, wanted->length };
	uint64_t alignment = page_order_alignment(wanted->order);
	g_autofree char *advice = page_order_advice(range, alignment);

	if ((range.start | range.length) % alignment == 0)
		return g_strdup("it is not physical memory of this machine: choose another range");
	return g_strdup_printf("it is not aligned for pages=%s: use %s, or pages=none", page_order_name(wanted->order),
	                       advice);
}

/* Why the range cannot be claimed, and the remedy. The caller frees it. */
static char *claim_reason(int device, int err, const struct memory_region *wanted)
{
	g_autofree char *argument = memmap_cmdline_argument(wanted->start, wanted->length);

	switch (err) {
	case ENXIO:
		return g_strdup_printf(
			"the kernel uses it as System RAM: reserve it with %s on the kernel's command line and "
			"reboot",
			argument);
	case ENODEV:
		return g_strdup_printf(
			"memmap= did not reserve all of it: put %s on the kernel's command line and reboot", argument);
	case EADDRNOTAVAIL:
		return g_strdup(
			"the firmware does not call all of it RAM (/sys/firmware/memmap): choose another range, as dmemfsctl "
			"plan does");
	case EOPNOTSUPP:
		return g_strdup(
			"this machine encrypts its memory (SME, SEV, TDX), which mappings of such memory do not: switch that "
			"off (mem_encrypt=off), or use backend=memory");
	case EPERM:
		return g_strdup(
			"the kernel is locked down (see kernel_lockdown(7)) and does not allow access to raw memory: use "
			"backend=memory");
	case EEXIST:
		return overlap_reason(device, wanted);
	case EBUSY:
		return g_strdup("another driver holds some of it, see /proc/iomem: choose another range");
	case EIO:
		return wanted->order == PAGE_ORDER_NONE
		               ? g_strdup(
					 "it cannot be mapped write-back, so that guests would be a hundred times slower: choose "
					 "another range")
		               : g_strdup(
					 "it cannot be mapped write-back, or the kernel refuses to make its struct pages, see "
					 "dmesg: choose another range, or pages=none");
	case ENOMEM:
		if (wanted->order == PAGE_ORDER_NONE)
			return g_strdup(
				"the kernel has not enough memory to map it for a moment: leave the kernel more memory");
		return g_strdup_printf(
			"the kernel has not enough memory for its struct pages, which take %s a gigabyte with pages=%s: "
			"leave the kernel more memory, or use pages=1G or none",
			wanted->order == PAGE_ORDER_2M ? "4 MiB" : "40 KiB", page_order_name(wanted->order));
	case EUNATCH:
		return g_strdup(
			"the module cannot hook the kernel functions by which devices reach raw memory (dmesg says why): use "
			"pages=1G or 2M, which need no hook but Linux 6.12 or 7.3");
	case EINVAL:
		return alignment_reason(wanted);
	default:
		return g_strdup(g_strerror(err));
	}
}

static bool is_same(const struct memory_region *wanted, const struct dmemfs_region *region)
{
	return region->start == wanted->start && region->length == wanted->length && region->order == wanted->order;
}

/* Has an earlier daemon claimed exactly this range, with these pages? */
static bool is_claimed(int device, const struct memory_region *wanted, struct dmemfs_region *region)
{
	*region = (struct dmemfs_region){ .start = wanted->start };
	return pfn_call(device, DMEMFS_IOC_REGION_NEXT, region) == 0 && is_same(wanted, region);
}

static bool claim(int device, const char *name, const struct memory_region *wanted, GArray *regions, GError **error)
{
	struct dmemfs_region region;

	if (!is_claimed(device, wanted, &region)) {
		region = (struct dmemfs_region){ .start = wanted->start,
			                         .length = wanted->length,
			                         .order = wanted->order };

		int err = pfn_call(device, DMEMFS_IOC_REGION_CLAIM, &region);

		if (err) {
			g_autofree char *reason = claim_reason(device, -err, wanted);

			g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(-err),
			            "[region %s]: 0x%" G_GINT64_MODIFIER "x+0x%" G_GINT64_MODIFIER "x: %s", name,
			            wanted->start, wanted->length, reason);
			return false;
		}
	}
	if (region.node_length < region.length)
		log_warning("[region %s]: spans several NUMA nodes: give each node a region of its own", name);

	struct memory_region claimed = { region.start, region.length, region.node, wanted->order };

	g_array_append_val(regions, claimed);
	return true;
}

/*
 * -EBUSY: files or devices have memory of it, or some is lent; the bytes that only devices have are in *@held. @take_ms: takes back first
 * what is lent, each unit within this time, until *@stop (NULL: to the end).
 */
static int release(int device, struct extent range, unsigned take_ms, const gint *stop, uint64_t *held)
{
	struct dmemfs_region region = { .start = range.start, .length = range.length };
	g_autoptr(GArray) pins = extents_new();

	/* The module does not look at pinned memory again by itself. */
	pfn_list_pinned(device, range, pins);
	*held = 0;
	for (guint i = 0; i < pins->len; i++)
		*held += g_array_index(pins, struct extent, i).length;
	if (take_ms && pfn_take_all(device, range, take_ms, stop, NULL) < 0)
		return -EBUSY;
	return pfn_call(device, DMEMFS_IOC_REGION_RELEASE, &region);
}

static bool overlaps_any(const GArray *wanted, struct extent range)
{
	for (guint i = 0; i < wanted->len; i++) {
		const struct memory_region *region = &g_array_index(wanted, struct memory_region, i);
		const struct extent extent = { region->start, region->length };

		if (extent_overlap(&extent, &range).length)
			return true;
	}
	return false;
}

/*
 * Releases regions of an earlier configuration that are not in @wanted, if no object uses them. The start waits for lent memory only
 * where a region of today needs it.
 */
static void release_others(int device, const GArray *wanted)
{
	struct dmemfs_region region = { 0 };
	uint64_t held;

	while (pfn_call(device, DMEMFS_IOC_REGION_NEXT, &region) == 0) {
		uint64_t next = region.start + region.length;
		bool keep = false;

		for (guint i = 0; i < wanted->len; i++)
			keep |= is_same(&g_array_index(wanted, struct memory_region, i), &region);
		/* On failure keep_pages() may keep it, or list_former() tells of it. */
		if (!keep) {
			const struct extent range = { region.start, region.length };

			release(device, range, overlaps_any(wanted, range) ? TAKE_TIMEOUT : 0, NULL, &held);
		}
		region = (struct dmemfs_region){ .start = next };
	}
}

/* The regions that the configuration asks for: GArray of struct memory_region. NULL and @error when start=auto finds none. */
static GArray *wanted_regions(const struct config *config, const GArray *reserved, GError **error)
{
	const struct region_config *first = g_ptr_array_index(config->regions, 0);
	g_autoptr(GArray) wanted = g_array_new(FALSE, FALSE, sizeof(struct memory_region));

	if (first->automatic && !automatic_regions(config, first, reserved, wanted, error))
		return NULL;
	for (guint i = 0; i < config->regions->len && !first->automatic; i++) {
		const struct region_config *region = g_ptr_array_index(config->regions, i);
		struct memory_region range = { region->start, region->size, -1, region->order };

		g_array_append_val(wanted, range);
	}
	return g_steal_pointer(&wanted);
}

/* The group that element @index of wanted_regions() is of. start=auto makes several elements of its only group. */
static struct region_config *group_of(const struct config *config, guint index)
{
	return g_ptr_array_index(config->regions, MIN(index, config->regions->len - 1));
}

static bool has_raw(const GArray *regions)
{
	for (guint i = 0; i < regions->len; i++) {
		if (g_array_index(regions, struct memory_region, i).order == PAGE_ORDER_NONE)
			return true;
	}
	return false;
}

/*
 * The module that is loaded may be an older one, or the kernel cannot have compound pages. Then regions without pages= have none,
 * because a daemon that is upgraded under running guests must start. False and @error when the configuration asks for pages.
 */
static bool check_pages(const struct dmemfs_hello *hello, const struct config *config, GError **error)
{
	if (hello->features & DMEMFS_FEATURE_PAGES)
		return true;
	for (guint i = 0; i < config->regions->len; i++) {
		struct region_config *region = g_ptr_array_index(config->regions, i);

		if (region->order == PAGE_ORDER_NONE)
			continue;
		if (!region->any_order) {
			g_set_error(
				error, G_FILE_ERROR, G_FILE_ERROR_NOSYS,
				"[region %s] pages: the module that is loaded cannot make compound pages on this kernel: "
				"use pages=none, which has the limitations of dmemfs(7), or another kernel or module",
				region->name);
			return false;
		}
		region->order = PAGE_ORDER_NONE;
		log_warning(
			"[region %s]: no compound pages, because the module that is loaded cannot make them on this kernel: "
			"devices cannot use the memory, see LIMITATIONS in dmemfs(7); with pages=none this is no warning",
			region->name);
	}
	return true;
}

/* Has an earlier daemon claimed memory of @wanted, with other pages, so that it could not be released? */
static bool find_claimed(int device, const struct memory_region *wanted, struct dmemfs_region *claimed)
{
	*claimed = (struct dmemfs_region){ 0 };
	while (pfn_call(device, DMEMFS_IOC_REGION_NEXT, claimed) == 0) {
		uint64_t end = claimed->start + claimed->length;

		if (claimed->start < wanted->start + wanted->length && end > wanted->start)
			return claimed->order != wanted->order;
		*claimed = (struct dmemfs_region){ .start = end };
	}
	return false;
}

static bool is_lent(int device, struct extent range)
{
	g_autoptr(GArray) units = extents_new();

	pfn_list_lent(device, range, units);
	return units->len > 0;
}

/* Why the region could not be released, and what ends that. */
static const char *keep_reason(int device, const struct dmemfs_region *claimed)
{
	if (!claimed->owned && is_lent(device, (struct extent){ claimed->start, claimed->length }))
		return "because lent memory of it could not be taken back, see dmemfsctl status for the reason: the next start of the "
		       "daemon tries again";
	return "because files are in it or a device holds memory of it: it gets its default when the daemon starts without "
	       "these";
}

/*
 * Regions without pages= keep the pages that they have while they cannot be released. With start=auto all of them get these pages:
 * files of one kind use the memory of all nodes. True: the configuration asks for other regions now.
 */
static bool keep_pages(int device, const struct config *config, const GArray *wanted)
{
	bool changed = false;

	for (guint i = 0; i < wanted->len; i++) {
		struct region_config *group = group_of(config, i);
		struct dmemfs_region claimed;

		if (!group->any_order ||
		    !find_claimed(device, &g_array_index(wanted, struct memory_region, i), &claimed) ||
		    claimed.order == group->order ||
		    (!config->any_page_size && config->page_size % page_order_bytes(claimed.order)))
			continue;
		group->order = claimed.order;
		changed = true;
		log_warning("[region %s]: keeps pages=%s, %s", group->name, page_order_name(group->order),
		            keep_reason(device, &claimed));
	}
	return changed;
}

static bool is_in_use(const struct dmemfs_region *region, const GArray *regions)
{
	for (guint i = 0; i < regions->len; i++) {
		if (g_array_index(regions, struct memory_region, i).start == region->start)
			return true;
	}
	return false;
}

static void say_former(int device, struct extent range, uint64_t held)
{
	if (is_lent(device, range))
		log_info(
			"region 0x%" G_GINT64_MODIFIER "x+0x%" G_GINT64_MODIFIER
			"x of an earlier configuration stays claimed until its lent memory is taken back, which the daemon tries each "
			"minute",
			range.start, range.length);
	else if (held)
		log_warning(
			"region 0x%" G_GINT64_MODIFIER "x+0x%" G_GINT64_MODIFIER
			"x of an earlier configuration stays claimed: a device holds %" G_GUINT64_FORMAT
			" MiB of it that no file has any more (see dmemfsctl status): end the process that uses the device; the "
			"daemon then releases the region within a minute",
			range.start, range.length, held >> 20);
	else
		log_warning(
			"region 0x%" G_GINT64_MODIFIER "x+0x%" G_GINT64_MODIFIER
			"x of an earlier configuration stays claimed: files have memory in it, which processes may still map after the "
			"files were removed: restore the [region], or end those processes; the daemon then releases the region within "
			"a minute",
			range.start, range.length);
}

/* Appends the claimed regions that are not in @regions to @former. */
static void list_former(int device, const GArray *regions, GArray *former)
{
	struct dmemfs_region region = { 0 };
	uint64_t held;

	while (pfn_call(device, DMEMFS_IOC_REGION_NEXT, &region) == 0) {
		const struct extent range = { region.start, region.length };

		if (!is_in_use(&region, regions) && release(device, range, 0, NULL, &held)) {
			say_former(device, range, held);
			g_array_append_val(former, range);
		}
		region = (struct dmemfs_region){ .start = range.start + range.length };
	}
}

void pfn_release_former(int device, GArray *former, const gint *stop)
{
	for (guint i = former->len; i-- > 0;) {
		const struct extent range = g_array_index(former, struct extent, i);
		uint64_t held;
		int err = release(device, range, TAKE_TIMEOUT, stop, &held);

		if (err && err != -ENOENT)
			continue;
		log_info("region 0x%" G_GINT64_MODIFIER "x+0x%" G_GINT64_MODIFIER
		         "x of an earlier configuration is released: nothing uses it any more",
		         range.start, range.length);
		g_array_remove_index(former, i);
	}
}

static void say_unused(const struct config *config, const GArray *reserved, const GArray *regions)
{
	const struct region_config *first = g_ptr_array_index(config->regions, 0);

	if (first->automatic)
		automatic_regions_say_unused(config, first, reserved, regions);
}

static bool claim_all(int device, const struct config *config, const GArray *reserved, GArray *regions, GError **error)
{
	g_autoptr(GArray) wanted = wanted_regions(config, reserved, error);

	if (!wanted)
		return false;
	release_others(device, wanted);
	if (keep_pages(device, config, wanted)) {
		g_array_unref(wanted);
		wanted = wanted_regions(config, reserved, error);
	}
	for (guint i = 0; wanted && i < wanted->len; i++) {
		if (!claim(device, group_of(config, i)->name, &g_array_index(wanted, struct memory_region, i), regions,
		           error))
			return false;
	}
	return wanted;
}

/* The kernel lacks memory for struct pages. Regions without pages= then have none: a daemon that is upgraded must start. */
static bool give_up_pages(const struct config *config, const GError *reason)
{
	bool changed = false;

	for (guint i = 0; i < config->regions->len; i++) {
		struct region_config *region = g_ptr_array_index(config->regions, i);

		if (!region->any_order || region->order == PAGE_ORDER_NONE)
			continue;
		region->order = PAGE_ORDER_NONE;
		changed = true;
	}
	if (changed)
		log_warning("%s: regions without pages= have pages=none until the next start", reason->message);
	return changed;
}

bool pfn_claim_regions(int device, const struct config *config, const GArray *reserved, GArray *regions, GArray *former,
                       GError **error)
{
	g_autoptr(GError) reason = NULL;
	struct dmemfs_hello hello;

	/* Pages first: how much of a reserved range a region takes depends on them. */
	if (!pfn_hello(device, &hello, error) || !check_pages(&hello, config, error))
		return false;
	if (!claim_all(device, config, reserved, regions, &reason)) {
		if (!g_error_matches(reason, G_FILE_ERROR, G_FILE_ERROR_NOMEM) || !give_up_pages(config, reason)) {
			g_propagate_error(error, g_steal_pointer(&reason));
			return false;
		}
		g_array_set_size(regions, 0);
		if (!claim_all(device, config, reserved, regions, error))
			return false;
	}
	say_unused(config, reserved, regions);
	list_former(device, regions, former);
	/* The module sets its guards when the first raw region is claimed: only now it knows whether they work. */
	if (has_raw(regions) && pfn_hello(device, &hello, NULL) && hello.huge == DMEMFS_HUGE_NO_GUARD)
		log_warning(
			"module dmemfs: no large pages: another module, a live patch for example, has replaced the kernel's "
			"queue_folios_pte_range, which dmemfs must replace to make them safe: unload that one first");
	return true;
}

bool pfn_check_regions(const struct config *config, GError **error)
{
	g_autoptr(GArray) reserved = memmap_cmdline_read(NULL);
	g_autoptr(GArray) wanted = NULL;

	/* Nothing is reserved before the next boot. */
	if (!reserved || reserved->len == 0)
		return true;
	wanted = wanted_regions(config, reserved, error);
	if (wanted)
		say_unused(config, reserved, wanted);
	return wanted;
}

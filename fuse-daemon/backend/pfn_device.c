// SPDX-License-Identifier: GPL-2.0-or-later
/* The control device of dmemfs.ko. */
#include "backend/pfn_device.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "backend/backend.h"
#include "backend/memmap_cmdline.h"
#include "base/log.h"

int pfn_call(int device, unsigned long request, void *argument)
{
	int result = ioctl(device, request, argument);

	return result < 0 ? -errno : result;
}

static const char *open_remedy(int err)
{
	switch (err) {
	case ENOENT:
	case ENODEV:
	case ENXIO:
		return "the module is not loaded: run modprobe dmemfs, or use backend=memory";
	case EBUSY:
		return "another daemon controls the module: stop it first";
	case EPERM:
	case EACCES:
		return "CAP_SYS_RAWIO is needed: start the daemon as root";
	default:
		return g_strerror(err);
	}
}

static bool say_hello(int device, GError **error)
{
	struct dmemfs_hello hello = { .abi = DMEMFS_ABI_VERSION };
	int err = pfn_call(device, DMEMFS_IOC_HELLO, &hello);

	if (err == 0 && hello.abi == DMEMFS_ABI_VERSION) {
		if (hello.huge == DMEMFS_HUGE_NO_GUARD)
			log_warning(
				"module dmemfs: no large pages: another module, a live patch for example, has replaced the kernel's "
				"queue_folios_pte_range, which dmemfs must replace to make them safe: unload that one first");
		return true;
	}
	if (err == -EPROTO || err == 0)
		g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED,
		            DMEMFS_DEVICE
		            ": the module speaks version %u of the protocol, this daemon version %u: install "
		            "module and daemon of the same release",
		            hello.abi, DMEMFS_ABI_VERSION);
	else
		g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, DMEMFS_DEVICE ": hello: %s", g_strerror(-err));
	return false;
}

int pfn_device_open(GError **error)
{
	int device = open(DMEMFS_DEVICE, O_RDWR | O_CLOEXEC | O_NONBLOCK);

	if (device < 0) {
		g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(errno), DMEMFS_DEVICE ": %s",
		            open_remedy(errno));
		return -1;
	}
	if (!say_hello(device, error)) {
		close(device);
		return -1;
	}
	return device;
}

/* Why the range cannot be claimed, and the remedy. The caller frees it. */
static char *claim_reason(int err, struct extent range)
{
	g_autofree char *argument = memmap_cmdline_argument(range.start, range.length);

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
		return g_strdup(
			"files of an earlier configuration are in a region that overlaps it: keep start and size as "
			"they were, or unload the module, which loses the contents of those files");
	case EBUSY:
		return g_strdup("another driver holds some of it, see /proc/iomem: choose another range");
	case EIO:
		return g_strdup(
			"it cannot be mapped write-back, so that guests would be a hundred times slower: choose another range");
	case EINVAL:
		return g_strdup("it is not physical memory of this machine: choose another range");
	default:
		return g_strdup(g_strerror(err));
	}
}

/* Has an earlier daemon claimed exactly this range? */
static bool is_claimed(int device, uint64_t start, uint64_t length, struct dmemfs_region *region)
{
	*region = (struct dmemfs_region){ .start = start };
	return pfn_call(device, DMEMFS_IOC_REGION_NEXT, region) == 0 && region->start == start &&
	       region->length == length;
}

static bool claim(int device, const char *name, struct extent range, GArray *regions, GError **error)
{
	struct dmemfs_region region;

	if (!is_claimed(device, range.start, range.length, &region)) {
		region = (struct dmemfs_region){ .start = range.start, .length = range.length };

		int err = pfn_call(device, DMEMFS_IOC_REGION_CLAIM, &region);

		if (err) {
			g_autofree char *reason = claim_reason(-err, range);

			g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(-err),
			            "[region %s]: 0x%" G_GINT64_MODIFIER "x+0x%" G_GINT64_MODIFIER "x: %s", name,
			            range.start, range.length, reason);
			return false;
		}
	}
	if (region.node_length < region.length)
		log_warning("[region %s]: spans several NUMA nodes: give each node a region of its own", name);

	struct memory_region claimed = { region.start, region.length, region.node, region.order };

	g_array_append_val(regions, claimed);
	return true;
}

/* Releases regions of an earlier configuration that are not in @wanted, if no object uses them. */
static void release_others(int device, const GArray *wanted)
{
	struct dmemfs_region region = { 0 };

	while (pfn_call(device, DMEMFS_IOC_REGION_NEXT, &region) == 0) {
		uint64_t next = region.start + region.length;
		bool keep = false;

		for (guint i = 0; i < wanted->len; i++) {
			const struct extent *range = &g_array_index(wanted, struct extent, i);

			keep |= range->start == region.start && range->length == region.length;
		}
		if (!keep) {
			struct dmemfs_region release = { .start = region.start, .length = region.length };
			int err = pfn_call(device, DMEMFS_IOC_REGION_RELEASE, &release);

			if (err)
				log_warning("region 0x%" G_GINT64_MODIFIER
				            "x of an earlier configuration stays claimed: %s",
				            (guint64)region.start, g_strerror(-err));
		}
		region = (struct dmemfs_region){ .start = next };
	}
}

static struct extent trimmed(struct extent range, uint64_t unit)
{
	uint64_t start = (range.start + unit - 1) / unit * unit;
	uint64_t end = (range.start + range.length) / unit * unit;

	return (struct extent){ start, end > start ? end - start : 0 };
}

/* The ranges that the configuration asks for. NULL and @error when start=auto finds none. */
static GArray *wanted_ranges(const struct config *config, GError **error)
{
	const struct region_config *first = g_ptr_array_index(config->regions, 0);
	GArray *ranges = g_array_new(FALSE, FALSE, sizeof(struct extent));

	if (first->automatic) {
		g_autoptr(GArray) reserved = memmap_cmdline_read(error);

		for (guint i = 0; reserved && i < reserved->len; i++) {
			struct extent range = trimmed(g_array_index(reserved, struct extent, i), config->page_size);

			if (range.length)
				g_array_append_val(ranges, range);
		}
		if (reserved && ranges->len == 0)
			g_set_error(
				error, G_FILE_ERROR, G_FILE_ERROR_NOENT,
				"[region %s] start=auto: the kernel's command line reserves nothing: add memmap=SIZE$START "
				"and reboot",
				first->name);
	} else {
		for (guint i = 0; i < config->regions->len; i++) {
			const struct region_config *region = g_ptr_array_index(config->regions, i);
			struct extent range = { region->start, region->size };

			g_array_append_val(ranges, range);
		}
	}
	return ranges;
}

static const char *region_name(const struct config *config, guint index)
{
	const struct region_config *region = g_ptr_array_index(config->regions, MIN(index, config->regions->len - 1));

	return region->name;
}

bool pfn_claim_regions(int device, const struct config *config, GArray *regions, GError **error)
{
	g_autoptr(GArray) wanted = wanted_ranges(config, error);

	if (wanted->len == 0)
		return false;
	release_others(device, wanted);
	for (guint i = 0; i < wanted->len; i++) {
		if (!claim(device, region_name(config, i), g_array_index(wanted, struct extent, i), regions, error))
			return false;
	}
	return true;
}

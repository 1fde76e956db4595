// SPDX-License-Identifier: GPL-2.0-or-later
/* Trims reserved ranges to regions. */
#include "backend/automatic_regions.h"

#include "backend/backend.h"
#include "backend/memmap_cmdline.h"
#include "base/log.h"
#include "base/page_order.h"

static uint64_t alignment_of(const struct config *config, unsigned order)
{
	uint64_t page_size = config->any_page_size ? DMEMFS_PAGE_2M : config->page_size;

	return MAX(page_size, page_order_alignment(order));
}

struct extent automatic_region_fit(const struct config *config, struct extent reserved, unsigned order)
{
	return page_order_fit(reserved, alignment_of(config, order));
}

static void add_all(const struct config *config, const GArray *reserved, unsigned order, GArray *wanted)
{
	for (guint i = 0; i < reserved->len; i++) {
		struct extent fit = automatic_region_fit(config, g_array_index(reserved, struct extent, i), order);
		struct memory_region region = { fit.start, fit.length, -1, order };

		if (fit.length)
			g_array_append_val(wanted, region);
	}
}

static void say_unused_of(const struct config *config, const char *name, struct extent reserved, unsigned order)
{
	struct extent fit = automatic_region_fit(config, reserved, order);
	struct extent nearest = page_order_nearest(reserved, alignment_of(config, order));
	g_autofree char *argument = memmap_cmdline_argument(nearest.start, nearest.length);

	if (fit.length < reserved.length)
		log_warning(
			"[region %s] start=auto: %" G_GUINT64_FORMAT
			" MiB of the reserved range at 0x%" G_GINT64_MODIFIER
			"x are not used: with pages=%s and this page-size a region starts and ends at multiples of %" G_GUINT64_FORMAT
			" MiB: reserve %s instead, or use page-size=2M or pages=none",
			name, (reserved.length - fit.length) >> 20, reserved.start, page_order_name(order),
			alignment_of(config, order) >> 20, argument);
}

static void refuse(const struct config *config, const struct region_config *region, struct extent reserved,
                   unsigned order, GError **error)
{
	uint64_t alignment = alignment_of(config, order);
	struct extent nearest = page_order_nearest(reserved, alignment);
	g_autofree char *argument = memmap_cmdline_argument(nearest.start, nearest.length);

	g_set_error(
		error, G_FILE_ERROR, G_FILE_ERROR_NOENT,
		"[region %s] start=auto: no range that the kernel's command line reserves contains a whole multiple of %" G_GUINT64_FORMAT
		" MiB, as pages=%s and page-size need: reserve %s, for example, or use pages=none and a smaller page-size",
		region->name, alignment >> 20, page_order_name(order), argument);
}

bool automatic_regions(const struct config *config, const struct region_config *region, const GArray *reserved,
                       GArray *wanted, GError **error)
{
	unsigned order = region->order;

	if (reserved->len == 0) {
		g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_NOENT,
		            "[region %s] start=auto: the kernel's command line reserves nothing: add memmap=SIZE$START "
		            "and reboot",
		            region->name);
		return false;
	}
	add_all(config, reserved, order, wanted);
	while (wanted->len == 0 && region->any_order && order != PAGE_ORDER_NONE) {
		order -= PAGE_ORDER_STEP;
		add_all(config, reserved, order, wanted);
	}
	if (wanted->len == 0) {
		refuse(config, region, g_array_index(reserved, struct extent, 0), order, error);
		return false;
	}
	return true;
}

void automatic_regions_say_unused(const struct config *config, const struct region_config *region,
                                  const GArray *reserved, const GArray *wanted)
{
	for (guint i = 0; i < reserved->len; i++)
		say_unused_of(config, region->name, g_array_index(reserved, struct extent, i),
		              g_array_index(wanted, struct memory_region, 0).order);
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* Compares the files on record with the compound pages that a region has by default. */
#include "daemon/default_pages.h"

#include "backend/automatic_regions.h"
#include "base/log.h"
#include "base/page_order.h"

/* Counts the runs of files that lie in @range, but not only in @part of it. */
static int count_outside(struct store *store, struct extent range, struct extent part, unsigned *runs)
{
	uint64_t end = range.start + range.length;
	const struct extent before = { range.start, part.length ? part.start - range.start : range.length };
	const struct extent behind = { part.start + part.length, end - (part.start + part.length) };
	int err = before.length ? store_count_odd_runs(store, before, INT64_MAX, runs) : 0;

	if (!err && !*runs && part.length && behind.length)
		err = store_count_odd_runs(store, behind, INT64_MAX, runs);
	return err;
}

/* Counts the runs of files that @region with pages of @order could not hold. */
static int count_misfits(const struct config *config, const struct region_config *region, const GArray *reserved,
                         struct store *store, unsigned order, unsigned *runs)
{
	const struct extent all = { 0, INT64_MAX }, own = { region->start, region->size };
	int err = store_count_odd_runs(store, region->automatic ? all : own, page_order_bytes(order), runs);

	for (guint i = 0; reserved && i < reserved->len && region->automatic && !err && !*runs; i++) {
		const struct extent range = g_array_index(reserved, struct extent, i);

		err = count_outside(store, range, automatic_region_fit(config, range, order), runs);
	}
	return err;
}

bool default_pages_fit(const struct config *config, struct region_config *region, const GArray *reserved,
                       struct store *store, GError **error)
{
	unsigned runs = 0;
	int err = region->order == PAGE_ORDER_NONE
	                  ? 0
	                  : count_misfits(config, region, reserved, store, region->order, &runs);

	if (err) {
		g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(-err), "cannot read the metadata: %s",
		            g_strerror(-err));
		return false;
	}
	if (!runs)
		return true;
	log_warning(
		"[region %s]: pages=none, because files in it are not whole pages of %s, or lie where such pages do not fit: "
		"devices cannot use this memory until these files are removed and the daemon is started again; with pages=none this "
		"is no warning",
		region->name, page_order_name(region->order));
	region->order = PAGE_ORDER_NONE;
	return true;
}

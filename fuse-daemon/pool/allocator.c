// SPDX-License-Identifier: GPL-2.0-or-later
/* The allocator's interface: validates arguments, and finds the regions that a call is about. */
#include "pool/allocator.h"

#include <errno.h>

#include "pool/allocator_place.h"
#include "pool/allocator_private.h"

struct allocator *allocator_new(void)
{
	return g_new0(struct allocator, 1);
}

void allocator_destroy(struct allocator *alloc)
{
	if (!alloc)
		return;
	for (unsigned i = 0; i < alloc->count; i++)
		region_destroy(alloc->regions[i]);
	g_free(alloc);
}

/* Is this a range of whole pages, not empty, below ALLOCATOR_ADDRESS_END? */
static bool range_valid(uint64_t start, uint64_t length)
{
	return start % PAGE_BYTES == 0 && length % PAGE_BYTES == 0 && length > 0 && start < ALLOCATOR_ADDRESS_END &&
	       length <= ALLOCATOR_ADDRESS_END - start;
}

int allocator_add_region(struct allocator *alloc, uint64_t start, uint64_t length)
{
	if (!range_valid(start, length))
		return -EINVAL;
	for (unsigned i = 0; i < alloc->count; i++) {
		const struct region *other = alloc->regions[i];

		if (start < other->start + other->length && other->start < start + length)
			return -EEXIST;
	}
	if (alloc->count == DMEMFS_MAX_REGIONS)
		return -ENOSPC;
	alloc->regions[alloc->count] = region_new(start, length);
	return (int)alloc->count++;
}

static bool request_valid(const struct allocator_request *req)
{
	if (req->unit != DMEMFS_PAGE_4K && req->unit != DMEMFS_PAGE_2M && req->unit != DMEMFS_PAGE_1G)
		return false;
	return req->length > 0 && req->length % req->unit == 0 && req->file_offset % req->unit == 0 &&
	       req->length <= UINT64_MAX - req->file_offset;
}

static bool in_mask(uint64_t regions, unsigned index)
{
	return regions >> index & 1;
}

/* The region that contains @address, and its index in *@index. NULL when there is none. */
static struct region *region_of(const struct allocator *alloc, uint64_t address, unsigned *index)
{
	for (unsigned i = 0; i < alloc->count; i++) {
		struct region *region = alloc->regions[i];

		if (address >= region->start && address - region->start < region->length) {
			*index = i;
			return region;
		}
	}
	return NULL;
}

/* Takes memory that continues the file's last run (req->hint), where that is useful. Returns the bytes taken. */
static uint64_t serve_hint(struct allocator *alloc, const struct allocator_request *req, GArray *out, guint first)
{
	unsigned index;
	struct region *region = req->hint == ALLOCATOR_NO_HINT ? NULL : region_of(alloc, req->hint, &index);

	if (!region || !in_mask(req->regions, index))
		return 0;
	return place_behind(region, req->hint, req->unit, req->file_offset, req->length, out, first);
}

/* Takes the rest, from @done on: all from the first region that has enough, else from one region after the other. */
static void serve_rest(struct allocator *alloc, const struct allocator_request *req, uint64_t done, GArray *out,
                       guint first)
{
	bool whole = false;

	for (unsigned i = 0; i < alloc->count && !whole; i++)
		whole = in_mask(req->regions, i) &&
		        region_available(alloc->regions[i], req->unit) >= req->length - done;

	for (unsigned i = 0; i < alloc->count && done < req->length; i++) {
		uint64_t available = in_mask(req->regions, i) ? region_available(alloc->regions[i], req->unit) : 0;
		uint64_t part = MIN(available, req->length - done);

		if (part == 0 || (whole && part < req->length - done))
			continue;
		place_anywhere(alloc->regions[i], req->unit, req->file_offset + done, part, out, first);
		done += part;
	}
}

int allocator_alloc(struct allocator *alloc, const struct allocator_request *req, GArray *out)
{
	guint first = out->len;
	uint64_t done;

	if (!request_valid(req))
		return -EINVAL;
	/* All available memory can be allocated, possibly in many runs. Nothing below this line fails. */
	if (allocator_available(alloc, req->unit, req->regions) < req->length)
		return -ENOSPC;
	done = serve_hint(alloc, req, out, first);
	serve_rest(alloc, req, done, out, first);
	return 0;
}

/* Cuts off the part of [*@start, *@start + *@length) that is in the region of its first byte. NULL: it is in no region. */
static struct region *next_part(const struct allocator *alloc, uint64_t *start, uint64_t *length, uint64_t *page,
                                uint64_t *count)
{
	unsigned index;
	struct region *region = region_of(alloc, *start, &index);

	if (region) {
		uint64_t part = MIN(*length, region->start + region->length - *start);

		*page = region_page(region, *start);
		*count = part / PAGE_BYTES;
		*start += part;
		*length -= part;
	}
	return region;
}

/* Takes a range or, with @free, frees it. 0, -EINVAL (not inside regions) or -EBUSY (some of it has that state already). */
static int assign(struct allocator *alloc, uint64_t start, uint64_t length, bool free)
{
	uint64_t at = start, left = length, page, count;
	int err = 0;

	if (!range_valid(start, length))
		return -EINVAL;
	while (left > 0) {
		const struct region *region = next_part(alloc, &at, &left, &page, &count);

		if (!region)
			return -EINVAL;
		if (!region_is(region, page, count, !free))
			err = -EBUSY;
	}
	if (err)
		return err;
	while (length > 0) {
		struct region *region = next_part(alloc, &start, &length, &page, &count);

		region_assign(region, page, count, free);
	}
	return 0;
}

int allocator_claim(struct allocator *alloc, uint64_t start, uint64_t length)
{
	return assign(alloc, start, length, false);
}

int allocator_free(struct allocator *alloc, uint64_t start, uint64_t length)
{
	return assign(alloc, start, length, true) ? -EINVAL : 0;
}

uint64_t allocator_available(const struct allocator *alloc, uint64_t unit, uint64_t regions)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < alloc->count; i++) {
		if (in_mask(regions, i))
			bytes += region_available(alloc->regions[i], unit);
	}
	return bytes;
}

void allocator_get_stats(const struct allocator *alloc, struct allocator_stats *stats)
{
	*stats = (struct allocator_stats){ 0 };
	for (unsigned i = 0; i < alloc->count; i++) {
		const struct region *region = alloc->regions[i];

		stats->capacity += region->length;
		stats->free += region_available(region, DMEMFS_PAGE_4K);
		stats->free_2m += region_available(region, DMEMFS_PAGE_2M);
		stats->free_1g += region_available(region, DMEMFS_PAGE_1G);
	}
}

bool allocator_next_free(const struct allocator *alloc, uint64_t regions, uint64_t from, uint64_t to,
                         struct extent *run)
{
	const struct region *nearest = NULL;
	uint64_t page;

	/* Regions are in the order in which they were added. */
	for (unsigned i = 0; i < alloc->count; i++) {
		const struct region *region = alloc->regions[i];
		uint64_t first = MAX(from, region->start), end = MIN(to, region->start + region->length);

		if (!in_mask(regions, i) || first >= end)
			continue;
		page = region_page(region, first);
		if (!region_next_free(region, &page, region_page(region, end)))
			continue;
		if (!nearest || region_address(region, page) < run->start) {
			nearest = region;
			run->start = region_address(region, page);
		}
	}
	if (!nearest)
		return false;
	page = region_page(nearest, run->start);
	to = MIN(to, nearest->start + nearest->length);
	run->length = region_run_at(nearest, page, region_page(nearest, to) - page, REGION_ALL) * PAGE_BYTES;
	return true;
}

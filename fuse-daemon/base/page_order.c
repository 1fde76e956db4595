// SPDX-License-Identifier: GPL-2.0-or-later
/* Kinds of memory, by the order of their compound pages. */
#include "base/page_order.h"

#include <glib.h>
#include <string.h>

/*
 * Bytes. The kernel has struct pages for whole sections of memory: SECTION_SIZE_BITS of x86-64 (arch/x86/include/asm/sparsemem.h). It
 * would not initialise some of the struct pages of a section that the region shares with other memory.
 */
#define SECTION (UINT64_C(128) << 20)

const char *const page_order_names[] = { "none", "2M", "1G", NULL };

const char *page_order_name(unsigned order)
{
	return page_order_names[order / PAGE_ORDER_STEP];
}

bool page_order_parse(const char *text, unsigned *order)
{
	for (unsigned i = 0; page_order_names[i]; i++) {
		if (strcmp(text, page_order_names[i]) == 0) {
			*order = i * PAGE_ORDER_STEP;
			return true;
		}
	}
	return false;
}

uint64_t page_order_alignment(unsigned order)
{
	return order == PAGE_ORDER_NONE ? DMEMFS_PAGE_4K : MAX(page_order_bytes(order), SECTION);
}

uint64_t page_order_default_unit(unsigned order)
{
	return MAX(page_order_bytes(order), DMEMFS_PAGE_2M);
}

uint64_t page_order_wanted(unsigned order, uint64_t unit, uint64_t length)
{
	uint64_t largest = order == PAGE_ORDER_NONE ? DMEMFS_PAGE_1G : page_order_bytes(order);

	return length < unit ? DMEMFS_PAGE_2M : CLAMP(unit, DMEMFS_PAGE_2M, largest);
}

struct extent page_order_fit(struct extent range, uint64_t alignment)
{
	uint64_t start = (range.start + alignment - 1) / alignment * alignment;
	uint64_t end = (range.start + range.length) / alignment * alignment;

	return (struct extent){ start, end > start ? end - start : 0 };
}

struct extent page_order_nearest(struct extent range, uint64_t alignment)
{
	struct extent fit = page_order_fit(range, alignment);

	return (struct extent){ fit.start, MAX(fit.length, alignment) };
}

char *page_order_advice(struct extent range, uint64_t alignment)
{
	struct extent nearest = page_order_nearest(range, alignment);

	return g_strdup_printf("start=0x%" G_GINT64_MODIFIER "x size=%" G_GUINT64_FORMAT "M", nearest.start,
	                       nearest.length >> 20);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Kinds of memory, by the order of their compound pages (struct page). All memory of a region is of one kind, and so is all
 * memory of a file.
 *
 * A device that pins memory pins whole compound pages. So a file owns whole ones: its allocation unit is a multiple of them.
 */
#ifndef DMEMFS_PAGE_ORDER_H
#define DMEMFS_PAGE_ORDER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/extent.h"

#define PAGE_ORDER_NONE 0 /* raw page frames without struct page: no device can pin them */
#define PAGE_ORDER_2M   9
#define PAGE_ORDER_1G   18
/* The kinds are numbered by order / PAGE_ORDER_STEP, from 0 to PAGE_ORDER_KINDS - 1. */
#define PAGE_ORDER_STEP  9
#define PAGE_ORDER_KINDS 3

/* "none", "2M", "1G", by kind; NULL ends the array. */
extern const char *const page_order_names[];

const char *page_order_name(unsigned order);
/* False: @text is none of the names. */
bool page_order_parse(const char *text, unsigned *order);

/* The size of a compound page of @order in bytes; with PAGE_ORDER_NONE, of a page frame. */
static inline uint64_t page_order_bytes(unsigned order)
{
	return DMEMFS_PAGE_4K << order;
}

/* The default of page-size in bytes where the largest compound pages are of @order: one of them, but at least 2 MiB. */
uint64_t page_order_default_unit(unsigned order);
/*
 * The size of the pages that the address of a mapping of @length should allow, in bytes. 2 MiB are enough, unless the file's
 * @unit is larger, a whole one is mapped, and the memory, of @order, has larger pages.
 */
uint64_t page_order_wanted(unsigned order, uint64_t unit, uint64_t length);
/* Start and length of a region with such pages are multiples of this, in bytes. */
uint64_t page_order_alignment(unsigned order);
/* The part of @range between multiples of @alignment; length 0: there is none. */
struct extent page_order_fit(struct extent range, uint64_t alignment);
/* page_order_fit(), but at least one multiple, behind the start of @range. */
struct extent page_order_nearest(struct extent range, uint64_t alignment);
/* page_order_nearest() in the form of the configuration, "start=0x100000000 size=2048M"; the caller frees it. */
char *page_order_advice(struct extent range, uint64_t alignment);

#endif

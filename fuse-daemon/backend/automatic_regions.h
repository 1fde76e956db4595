/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The regions of a [region] group with start=auto, from the ranges that the kernel's command line reserves. No I/O. */
#ifndef DMEMFS_AUTOMATIC_REGIONS_H
#define DMEMFS_AUTOMATIC_REGIONS_H

#include <glib.h>
#include <stdbool.h>

#include "base/extent.h"
#include "config/config.h"

/*
 * The part of a reserved range that a region with pages of @order takes; length 0: none. It begins and ends at multiples of the pages,
 * and of page-size if that is given, else of 2 MiB: the default of page-size follows the pages.
 */
struct extent automatic_region_fit(const struct config *config, struct extent reserved, unsigned order);

/*
 * Appends the regions (struct memory_region) that @region takes of @reserved (GArray of struct extent) to @wanted. Their order is that of
 * @region; without pages=, a smaller one if nothing fits it. False and @error when nothing fits.
 */
bool automatic_regions(const struct config *config, const struct region_config *region, const GArray *reserved,
                       GArray *wanted, GError **error);
/* Warns of the parts of @reserved that the regions @wanted, as of automatic_regions(), leave out. */
void automatic_regions_say_unused(const struct config *config, const struct region_config *region,
                                  const GArray *reserved, const GArray *wanted);

#endif

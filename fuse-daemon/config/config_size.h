/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sizes in bytes, as people write them, and the errors of the configuration. */
#ifndef DMEMFS_CONFIG_SIZE_H
#define DMEMFS_CONFIG_SIZE_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define CONFIG_ERROR config_error_quark()
GQuark config_error_quark(void);

enum config_error {
	CONFIG_ERROR_INVALID, /* the text is wrong, or cannot be read */
	CONFIG_ERROR_HOST,    /* the machine, or this version, does not have what the text asks for */
};

/*
 * "4096", "2M", "64G", "0x100000000": bytes below 2^63; suffixes K M G T P, in either case, are powers of 1024. "1.5T",
 * "-1", " 1" and "1 G" are refused; the error says what is wrong and the remedy.
 */
bool config_parse_size(const char *text, uint64_t *bytes, GError **error);
/* The same for the size of a page: DMEMFS_PAGE_4K, _2M or _1G. */
bool config_parse_page_size(const char *text, uint64_t *bytes);
/* The shortest exact form of @bytes that config_parse_size() reads: "2M", "4097". */
char *config_format_size(uint64_t bytes);

#endif

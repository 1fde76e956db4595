/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Parses and formats sizes in bytes. Also has the configuration's error domain, which all of config*.c use. */
#ifndef DMEMFS_CONFIG_SIZE_H
#define DMEMFS_CONFIG_SIZE_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define CONFIG_ERROR config_error_quark()
GQuark config_error_quark(void);

enum config_error {
	CONFIG_ERROR_INVALID, /* the text is wrong, or cannot be read, or the machine does not have what it asks for */
};

/*
 * Parses a size below 2^63 bytes: "4096", "2M", "64G", "0x100000000". The suffixes K, M, G, T and P, in either case, are
 * powers of 1024. Refuses "1.5T", "-1", " 1" and "1 G"; the error says what is wrong, and the remedy.
 */
bool config_parse_size(const char *text, uint64_t *bytes, GError **error);
/* Parses the size of a page: DMEMFS_PAGE_4K, _2M or _1G. False for any other size. */
bool config_parse_page_size(const char *text, uint64_t *bytes);
/* The shortest text that config_parse_size() reads as @bytes: "2M", "4097". The caller frees it. */
char *config_format_size(uint64_t bytes);

#endif

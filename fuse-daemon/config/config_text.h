/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The text of a configuration file: its values, and the line number of each. Internal to config*.c.
 *
 * GKeyFile reads the values, but it merges groups and keys that are given twice; a scan of the lines finds those. Every
 * error has the form "FILE:LINE: [GROUP] KEY: what is wrong: remedy", without the parts that do not apply.
 */
#ifndef DMEMFS_CONFIG_TEXT_H
#define DMEMFS_CONFIG_TEXT_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* Bytes. A configuration is a page or two of text: a larger file is not one. */
#define CONFIG_TEXT_MAX (1 << 20)
/* Bytes. Enough for a path of PATH_MAX bytes with each byte escaped. */
#define CONFIG_LINE_MAX 8192

struct config_text {
	char *file;
	GKeyFile *keys;
	GHashTable *lines; /* "GROUP", or "GROUP\nKEY" -> line number, from 1 */
};

/* Reads @file; the caller frees the result. NULL and @error when it cannot be read, or is not a key file. */
struct config_text *config_text_load(const char *file, GError **error);
void config_text_destroy(struct config_text *text);
typedef struct config_text config_text_t;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(config_text_t, config_text_destroy)

/* Sets @error to the message, with file, line, @group and @key in front; both may be NULL. Always returns false. */
bool config_text_fail(const struct config_text *text, const char *group, const char *key, GError **error,
                      const char *format, ...) __attribute__((format(printf, 5, 6)));

bool config_text_has(const struct config_text *text, const char *group, const char *key);

/*
 * Each of these functions reads one value into @value. When the key is absent, @value keeps the default that the caller
 * put there, and that is no error. False and @error when the value is malformed. Strings are freed and replaced.
 */
bool config_text_get_string(const struct config_text *text, const char *group, const char *key, char **value,
                            GError **error);
/* An absolute path without "." and ".."; doubled and trailing slashes are removed. */
bool config_text_get_path(const struct config_text *text, const char *group, const char *key, char **value,
                          GError **error);
/* Bytes, as config_parse_size() reads them. */
bool config_text_get_size(const struct config_text *text, const char *group, const char *key, uint64_t *value,
                          GError **error);
/* As config_text_get_size(). The value, also a default, must not be zero, and must be a multiple of @page_size. */
bool config_text_get_pages(const struct config_text *text, const char *group, const char *key, uint64_t page_size,
                           uint64_t *value, GError **error);
/* The value of the key as it is written, in quotes, or @bytes where it is not; the caller frees it. */
char *config_text_quote(const struct config_text *text, const char *group, const char *key, uint64_t bytes);
/* Checks that @bytes, the value of the key, is a multiple of @page_size. */
bool config_text_check_multiple(const struct config_text *text, const char *group, const char *key, uint64_t bytes,
                                uint64_t page_size, GError **error);
/* A decimal number in [min, max]. */
bool config_text_get_number(const struct config_text *text, const char *group, const char *key, uint64_t min,
                            uint64_t max, uint64_t *value, GError **error);
/* A decimal fraction such as 1.5, above 0 and at most @max. */
bool config_text_get_factor(const struct config_text *text, const char *group, const char *key, double max,
                            double *value, GError **error);
bool config_text_get_bool(const struct config_text *text, const char *group, const char *key, bool *value,
                          GError **error);
/* One of @choices, an array that NULL ends; @value is its index. */
bool config_text_get_choice(const struct config_text *text, const char *group, const char *key,
                            const char *const *choices, unsigned *value, GError **error);
/* Is the key in the file, with exactly this value? */
bool config_text_is(const struct config_text *text, const char *group, const char *key, const char *value);

/* These write a value so that the functions above read the same; a path that is NULL is left out. */
void config_text_set_size(GKeyFile *keys, const char *group, const char *key, uint64_t bytes);
void config_text_set_path(GKeyFile *keys, const char *group, const char *key, const char *path);

#endif

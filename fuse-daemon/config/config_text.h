/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The text of a configuration file: values, and the lines where they stand. Internal to config.c.
 *
 * GKeyFile reads the values, but it merges groups and keys that are given twice; a scan of the lines finds those.
 * Every error is in the form "FILE:LINE: [GROUP] KEY: what is wrong: remedy", parts that do not apply left out.
 */
#ifndef DMEMFS_CONFIG_TEXT_H
#define DMEMFS_CONFIG_TEXT_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* A configuration is a page or two; anything larger is the wrong file. Bytes. */
#define CONFIG_TEXT_MAX (1 << 20)
/* A path of PATH_MAX bytes with every one escaped fits. Bytes. */
#define CONFIG_LINE_MAX 8192

struct config_text {
	char *file;
	GKeyFile *keys;
	GHashTable *lines; /* "GROUP", or "GROUP\nKEY" -> line number, from 1 */
};

/* Reads @file. NULL and @error when it cannot be read or is no key file. */
struct config_text *config_text_load(const char *file, GError **error);
void config_text_destroy(struct config_text *text);
typedef struct config_text config_text_t;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(config_text_t, config_text_destroy)

/* Sets @error, with the place in front; @group and @key may be NULL. Returns false. */
bool config_text_fail(const struct config_text *text, const char *group, const char *key, GError **error,
                      const char *format, ...) __attribute__((format(printf, 5, 6)));

bool config_text_has(const struct config_text *text, const char *group, const char *key);

/*
 * Each reads one value into @value. An absent key leaves @value, the default, as it is and is no error. False and
 * @error when the value is malformed.
 */
bool config_text_get_string(const struct config_text *text, const char *group, const char *key, char **value,
                            GError **error);
/* Absolute, without "." and ".."; doubled and trailing slashes are removed. @value is freed and replaced. */
bool config_text_get_path(const struct config_text *text, const char *group, const char *key, char **value,
                          GError **error);
bool config_text_get_size(const struct config_text *text, const char *group, const char *key, uint64_t *value,
                          GError **error);
/* As config_text_get_size(); the result, a default too, must not be zero and be a multiple of @page_size. */
bool config_text_get_pages(const struct config_text *text, const char *group, const char *key, uint64_t page_size,
                           uint64_t *value, GError **error);
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
/* The index of the value in @choices, which NULL ends. */
bool config_text_get_choice(const struct config_text *text, const char *group, const char *key,
                            const char *const *choices, unsigned *value, GError **error);
/* Is the key there with exactly this value? */
bool config_text_is(const struct config_text *text, const char *group, const char *key, const char *value);

#endif

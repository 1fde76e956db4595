/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The text of a configuration file: its values, and the line number of each. Internal to config*.c.
 *
 * GKeyFile reads the values, but it merges groups and keys that are given twice; a scan of the lines finds those. Every
 * mistake has the form "FILE:LINE: [GROUP] KEY: what is wrong: remedy", without the parts that do not apply. The reader goes on
 * after a mistake: the value keeps its default, and what depends on it is not checked.
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
/* More are not added: with another file as the configuration each of its lines could be a mistake. */
#define CONFIG_MISTAKES_MAX 100

struct config_text {
	char *file;
	GKeyFile *keys;
	GHashTable *lines;   /* "GROUP", or "GROUP\nKEY" -> line number, from 1 */
	GHashTable *failed;  /* the same names: config_text_fail() was called for them */
	GPtrArray *mistakes; /* the messages */
};

/* A text that is still empty; the caller frees it. */
struct config_text *config_text_new(const char *file);
/* The messages, separated by newlines; the caller frees the text. */
char *config_text_mistakes(const struct config_text *text);
/* Reads the file. False when it cannot be read, or is not a key file: there are no values then. */
bool config_text_read(const struct config_text *text);
void config_text_destroy(struct config_text *text);
typedef struct config_text config_text_t;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(config_text_t, config_text_destroy)

/* "FILE:LINE: [GROUP] KEY"; without the key when @key is NULL. The caller frees it. */
char *config_text_place(const struct config_text *text, const char *group, const char *key);
/*
 * Adds the message to the mistakes, with file, line, @group and @key in front; @key may be NULL. One mistake of a key is enough:
 * later ones would be its consequences, and are not added. Always returns false.
 */
bool config_text_fail(const struct config_text *text, const char *group, const char *key, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* Has the key, or with NULL the group, a mistake? Then its value is the default, from which nothing follows. */
bool config_text_failed(const struct config_text *text, const char *group, const char *key);

/* Notes that a group is not known: as config_text_failed() of the group "", a name that no group has. */
void config_text_lose_group(const struct config_text *text);

bool config_text_has(const struct config_text *text, const char *group, const char *key);

/*
 * Each of these functions reads one value into @value. When the key is absent, @value keeps the default that the caller
 * put there, and that is no mistake. False when the value is malformed. Strings are freed and replaced.
 */
bool config_text_get_string(const struct config_text *text, const char *group, const char *key, char **value);
/* An absolute path without "." and ".."; doubled and trailing slashes are removed. */
bool config_text_get_path(const struct config_text *text, const char *group, const char *key, char **value);
/* Bytes, as config_parse_size() reads them. */
bool config_text_get_size(const struct config_text *text, const char *group, const char *key, uint64_t *value);
/* As config_text_get_size(). The value, also a default, must not be zero, and must be a multiple of @page_size. */
bool config_text_get_pages(const struct config_text *text, const char *group, const char *key, uint64_t page_size,
                           uint64_t *value);
/* The value of the key as it is written, in quotes, or @bytes where it is not; the caller frees it. */
char *config_text_quote(const struct config_text *text, const char *group, const char *key, uint64_t bytes);
/* Checks that @bytes, the value of the key, is a multiple of @page_size; 0: it is not known. */
bool config_text_check_multiple(const struct config_text *text, const char *group, const char *key, uint64_t bytes,
                                uint64_t page_size);
/* A decimal number in [min, max]. */
bool config_text_get_number(const struct config_text *text, const char *group, const char *key, uint64_t min,
                            uint64_t max, uint64_t *value);
/* A decimal fraction such as 1.5, above 0 and at most @max. */
bool config_text_get_factor(const struct config_text *text, const char *group, const char *key, double max,
                            double *value);
bool config_text_get_bool(const struct config_text *text, const char *group, const char *key, bool *value);
/* One of @choices, an array that NULL ends; @value is its index. */
bool config_text_get_choice(const struct config_text *text, const char *group, const char *key,
                            const char *const *choices, unsigned *value);
/* Is the key in the file, with exactly this value? */
bool config_text_is(const struct config_text *text, const char *group, const char *key, const char *value);

/* These write a value so that the functions above read the same; a path that is NULL is left out. */
void config_text_set_size(GKeyFile *keys, const char *group, const char *key, uint64_t bytes);
void config_text_set_path(GKeyFile *keys, const char *group, const char *key, const char *path);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writes JSON (RFC 8259), indented, in the order of the calls. */
#ifndef DMEMFSCTL_JSON_H
#define DMEMFSCTL_JSON_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct json;

/* Begins the outermost object; json_finish() ends it. */
struct json *json_new(void);
void json_destroy(struct json *json);
typedef struct json json_t;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(json_t, json_destroy)

/* @key of all functions: NULL in an array. */
void json_begin_object(struct json *json, const char *key);
void json_begin_array(struct json *json, const char *key);
/* Ends the innermost object or array. */
void json_end(struct json *json);
/* Writes null when @value is NULL. Bytes that are not UTF-8 become U+FFFD. */
void json_string(struct json *json, const char *key, const char *value);
void json_strings(struct json *json, const char *key, const char *const *values);
/* Writes an array of the strings in @values. */
void json_list(struct json *json, const char *key, const GPtrArray *values);
/* Writes all digits: readers that use double lose precision above 2^53. */
void json_unsigned(struct json *json, const char *key, uint64_t value);
void json_signed(struct json *json, const char *key, int64_t value);
void json_bool(struct json *json, const char *key, bool value);
void json_null(struct json *json, const char *key);
/* Writes "node"; null when @node is negative. */
void json_node(struct json *json, int node);

/* Ends the outermost object. Returns the text, with a line feed at its end, owned by @json. */
const char *json_finish(struct json *json);

#endif

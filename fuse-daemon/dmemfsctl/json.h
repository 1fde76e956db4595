/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writes JSON (RFC 8259), indented, in the order of the calls. */
#ifndef DMEMFSCTL_JSON_H
#define DMEMFSCTL_JSON_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct json;

/* An object that is open already; json_finish() closes it. */
struct json *json_new(void);
void json_destroy(struct json *json);
typedef struct json json_t;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(json_t, json_destroy)

/* @key: NULL inside of an array. */
void json_begin_object(struct json *json, const char *key);
void json_begin_array(struct json *json, const char *key);
/* Of the innermost object or array. */
void json_end(struct json *json);
/* Bytes that are not UTF-8 become U+FFFD. @value NULL: null. */
void json_string(struct json *json, const char *key, const char *value);
void json_strings(struct json *json, const char *key, const char *const *values);
/* The same of a GPtrArray of strings. */
void json_list(struct json *json, const char *key, const GPtrArray *values);
/* Numbers are exact. */
void json_unsigned(struct json *json, const char *key, uint64_t value);
void json_signed(struct json *json, const char *key, int64_t value);
void json_bool(struct json *json, const char *key, bool value);
void json_null(struct json *json, const char *key);
/* "node": a NUMA node; negative: null. */
void json_node(struct json *json, int node);

/* The whole text with a line feed at its end; valid as long as @json. */
const char *json_finish(struct json *json);

#endif

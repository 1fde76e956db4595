// SPDX-License-Identifier: GPL-2.0-or-later
/* Writes JSON. */
#include "dmemfsctl/json.h"

struct json {
	GString *text;
	GString *closing; /* the closing brackets of open objects and arrays, the innermost last */
	bool first;       /* the innermost object or array is still empty */
};

static void new_line(struct json *json)
{
	g_string_append_c(json->text, '\n');
	for (gsize i = 0; i < json->closing->len; i++)
		g_string_append(json->text, "  ");
}

static void append_quoted(GString *text, const char *value)
{
	g_autofree char *valid = g_utf8_make_valid(value, -1);

	g_string_append_c(text, '"');
	for (const char *at = valid; *at; at++) {
		if (*at == '"' || *at == '\\')
			g_string_append_printf(text, "\\%c", *at);
		else if ((unsigned char)*at < 0x20 || *at == 0x7f)
			g_string_append_printf(text, "\\u%04x", (unsigned)*at);
		else
			g_string_append_c(text, *at);
	}
	g_string_append_c(text, '"');
}

static void begin_value(struct json *json, const char *key)
{
	if (!json->first)
		g_string_append_c(json->text, ',');
	json->first = false;
	new_line(json);
	if (key) {
		append_quoted(json->text, key);
		g_string_append(json->text, ": ");
	}
}

static void open_bracket(struct json *json, char opening, char closing)
{
	g_string_append_c(json->text, opening);
	g_string_append_c(json->closing, closing);
	json->first = true;
}

struct json *json_new(void)
{
	struct json *json = g_new0(struct json, 1);

	json->text = g_string_new(NULL);
	json->closing = g_string_new(NULL);
	open_bracket(json, '{', '}');
	return json;
}

void json_destroy(struct json *json)
{
	if (!json)
		return;
	g_string_free(json->text, TRUE);
	g_string_free(json->closing, TRUE);
	g_free(json);
}

void json_begin_object(struct json *json, const char *key)
{
	begin_value(json, key);
	open_bracket(json, '{', '}');
}

void json_begin_array(struct json *json, const char *key)
{
	begin_value(json, key);
	open_bracket(json, '[', ']');
}

void json_end(struct json *json)
{
	char closing = json->closing->str[json->closing->len - 1];

	g_string_truncate(json->closing, json->closing->len - 1);
	if (!json->first)
		new_line(json);
	g_string_append_c(json->text, closing);
	json->first = false;
}

void json_string(struct json *json, const char *key, const char *value)
{
	begin_value(json, key);
	if (value)
		append_quoted(json->text, value);
	else
		g_string_append(json->text, "null");
}

void json_strings(struct json *json, const char *key, const char *const *values)
{
	json_begin_array(json, key);
	for (; *values; values++)
		json_string(json, NULL, *values);
	json_end(json);
}

void json_list(struct json *json, const char *key, const GPtrArray *values)
{
	json_begin_array(json, key);
	for (guint i = 0; i < values->len; i++)
		json_string(json, NULL, g_ptr_array_index(values, i));
	json_end(json);
}

void json_unsigned(struct json *json, const char *key, uint64_t value)
{
	begin_value(json, key);
	g_string_append_printf(json->text, "%" G_GUINT64_FORMAT, value);
}

void json_signed(struct json *json, const char *key, int64_t value)
{
	begin_value(json, key);
	g_string_append_printf(json->text, "%" G_GINT64_FORMAT, value);
}

void json_bool(struct json *json, const char *key, bool value)
{
	begin_value(json, key);
	g_string_append(json->text, value ? "true" : "false");
}

void json_node(struct json *json, int node)
{
	if (node < 0)
		json_null(json, "node");
	else
		json_signed(json, "node", node);
}

void json_null(struct json *json, const char *key)
{
	json_string(json, key, NULL);
}

const char *json_finish(struct json *json)
{
	while (json->closing->len > 0)
		json_end(json);
	g_string_append_c(json->text, '\n');
	return json->text->str;
}

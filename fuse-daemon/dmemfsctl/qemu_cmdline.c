// SPDX-License-Identifier: GPL-2.0-or-later
/* The command line of a running QEMU. */
#include "dmemfsctl/qemu_cmdline.h"

#include <string.h>

static void memory_free(gpointer data)
{
	struct qemu_memory *memory = data;

	g_free(memory->id);
	g_free(memory->path);
	g_free(memory);
}

/* The value of @name in QEMU's "TYPE,NAME=VALUE,...", in which a comma of a value is written twice. NULL: it has none. */
static char *value_of_option(const char *text, const char *name)
{
	char *found = NULL;

	while (*text) {
		g_autoptr(GString) item = g_string_new(NULL);

		for (; *text && (*text != ',' || text[1] == ','); text++) {
			text += *text == ',';
			g_string_append_c(item, *text);
		}
		text += *text == ',';
		if (!g_str_has_prefix(item->str, name) || item->str[strlen(name)] != '=')
			continue;
		g_free(found);
		found = g_strdup(item->str + strlen(name) + 1);
	}
	return found;
}

/* The value of @name in a JSON object: of a string its text, of anything else as it is written. As libvirt writes it: no spaces. */
static char *value_of_json(const char *text, const char *name)
{
	g_autofree char *key = g_strdup_printf("\"%s\":", name);
	const char *at = strstr(text, key);
	GString *value;

	if (!at)
		return NULL;
	at += strlen(key);
	if (*at != '"')
		return g_strndup(at, strcspn(at, ",}"));
	value = g_string_new(NULL);
	for (at++; *at && *at != '"'; at++) {
		at += *at == '\\' && at[1];
		g_string_append_c(value, *at);
	}
	return g_string_free(value, FALSE);
}

static char *value_of(const char *object, const char *name)
{
	return *object == '{' ? value_of_json(object, name) : value_of_option(object, name);
}

static bool is_on(const char *value)
{
	return g_strcmp0(value, "on") == 0 || g_strcmp0(value, "yes") == 0 || g_strcmp0(value, "true") == 0;
}

static bool is_memory_file(const char *object)
{
	g_autofree char *type =
		*object == '{' ? value_of_json(object, "qom-type") : value_of_option(object, "qom-type");

	return g_strcmp0(type, "memory-backend-file") == 0 || g_str_has_prefix(object, "memory-backend-file,");
}

static void add_memory(GPtrArray *found, const char *object)
{
	g_autofree char *prealloc = value_of(object, "prealloc");
	struct qemu_memory *memory = g_new0(struct qemu_memory, 1);

	memory->id = value_of(object, "id");
	memory->path = value_of(object, "mem-path");
	memory->prealloc = is_on(prealloc);
	if (!memory->id)
		memory->id = g_strdup("?");
	if (memory->path)
		g_ptr_array_add(found, memory);
	else
		memory_free(memory);
}

static bool is_option(const char *argument, const char *name)
{
	return *argument == '-' && strcmp(argument + 1 + (argument[1] == '-'), name) == 0;
}

GPtrArray *qemu_cmdline_parse(const char *const *arguments)
{
	GPtrArray *found = g_ptr_array_new_with_free_func(memory_free);
	bool prealloc_all = false;

	for (; *arguments; arguments++) {
		prealloc_all |= is_option(*arguments, "mem-prealloc");
		if (!is_option(*arguments, "object") || !arguments[1])
			continue;
		arguments++;
		if (is_memory_file(*arguments))
			add_memory(found, *arguments);
	}
	for (guint i = 0; prealloc_all && i < found->len; i++)
		((struct qemu_memory *)g_ptr_array_index(found, i))->prealloc = true;
	return found;
}

GPtrArray *qemu_cmdline_read(pid_t pid)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/cmdline", (int)pid);
	g_autoptr(GPtrArray) arguments = g_ptr_array_new();
	g_autofree char *text = NULL;
	g_autofree char *program = NULL;
	gsize length;

	if (!g_file_get_contents(path, &text, &length, NULL) || length == 0)
		return NULL;
	program = g_path_get_basename(text);
	if (!g_str_has_prefix(program, "qemu-system-") && !g_str_has_prefix(program, "qemu-kvm"))
		return NULL;
	for (gsize at = 0; at < length; at += strlen(text + at) + 1)
		g_ptr_array_add(arguments, text + at);
	g_ptr_array_add(arguments, NULL);
	return qemu_cmdline_parse((const char *const *)arguments->pdata);
}

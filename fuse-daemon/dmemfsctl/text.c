// SPDX-License-Identifier: GPL-2.0-or-later
/* Text output: sizes, file names, tables. */
#include "dmemfsctl/text.h"

#include <stdbool.h>
#include <string.h>

#include "config/config.h"

#define GAP 2 /* columns of space between cells */

char *text_size(uint64_t bytes)
{
	static const char units[] = "KMGTPE";
	int unit = -1;
	uint64_t scaled = bytes;

	while (scaled >= 1024 && units[unit + 1]) {
		scaled /= 1024;
		unit++;
	}
	if (unit < 0)
		return g_strdup_printf("%" G_GUINT64_FORMAT " B", bytes);
	if (bytes % (UINT64_C(1) << 10 * (unit + 1)) == 0)
		return g_strdup_printf("%" G_GUINT64_FORMAT " %ciB", scaled, units[unit]);
	return g_strdup_printf("%.1f %ciB", (double)bytes / (double)(UINT64_C(1) << 10 * (unit + 1)), units[unit]);
}

char *text_share(uint64_t part, uint64_t whole)
{
	return whole ? g_strdup_printf("%.1f %%", 100.0 * (double)part / (double)whole) : g_strdup("-");
}

char *text_visible(const char *name)
{
	GString *text = g_string_new(NULL);

	while (*name) {
		gunichar character = g_utf8_get_char_validated(name, -1);
		bool valid = character != (gunichar)-1 && character != (gunichar)-2;

		if (valid && g_unichar_isprint(character) && character != '\\') {
			const char *next = g_utf8_next_char(name);

			g_string_append_len(text, name, next - name);
			name = next;
		} else {
			g_string_append_printf(text, "\\x%02x", (unsigned char)*name++);
		}
	}
	return g_string_free(text, FALSE);
}

char *text_page_sizes(uint64_t sizes)
{
	GString *text = g_string_new(NULL);

	for (int bit = 63; bit >= 0; bit--) {
		if (sizes & UINT64_C(1) << bit) {
			g_autofree char *size = config_format_size(UINT64_C(1) << bit);

			g_string_append_printf(text, "%s%s", text->len ? "+" : "", size);
		}
	}
	return g_string_free(text->len ? text : g_string_append_c(text, '-'), FALSE);
}

struct table {
	guint columns;
	bool *right;
	GPtrArray *cells; /* the headers first */
};

struct table *table_new(const char *const *headers)
{
	struct table *table = g_new0(struct table, 1);

	table->columns = g_strv_length((char **)headers);
	table->right = g_new0(bool, table->columns);
	table->cells = g_ptr_array_new_with_free_func(g_free);
	for (guint i = 0; i < table->columns; i++) {
		table->right[i] = headers[i][0] == '>';
		table_add(table, headers[i] + table->right[i]);
	}
	return table;
}

void table_destroy(struct table *table)
{
	if (!table)
		return;
	g_free(table->right);
	g_ptr_array_unref(table->cells);
	g_free(table);
}

void table_add(struct table *table, const char *cell)
{
	table_take(table, g_strdup(cell));
}

void table_take(struct table *table, char *cell)
{
	g_ptr_array_add(table->cells, cell);
}

static glong cell_width(const struct table *table, guint index)
{
	return g_utf8_strlen(g_ptr_array_index(table->cells, index), -1);
}

char *table_text(const struct table *table, const char *indent)
{
	g_autofree glong *widths = g_new0(glong, table->columns);
	GString *text = g_string_new(NULL);

	for (guint i = 0; i < table->cells->len; i++)
		widths[i % table->columns] = MAX(widths[i % table->columns], cell_width(table, i));
	for (guint i = 0; i < table->cells->len; i++) {
		guint column = i % table->columns;
		glong space = widths[column] - cell_width(table, i);
		bool last = column + 1 == table->columns;

		if (column == 0)
			g_string_append(text, indent);
		if (table->right[column])
			g_string_append_printf(text, "%*s", (int)space, "");
		g_string_append(text, g_ptr_array_index(table->cells, i));
		if (!table->right[column] && !last)
			g_string_append_printf(text, "%*s", (int)space, "");
		if (last)
			g_string_append_c(text, '\n');
		else
			g_string_append_printf(text, "%*s", GAP, "");
	}
	return g_string_free(text, FALSE);
}

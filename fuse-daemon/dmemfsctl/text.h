/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text output: sizes, file names with any bytes, tables. */
#ifndef DMEMFSCTL_TEXT_H
#define DMEMFSCTL_TEXT_H

#include <glib.h>
#include <stdint.h>

/* "1.5 GiB"; whole numbers without a fraction. All functions here return g_malloc'ed text. */
char *text_size(uint64_t bytes);
/* "50.0 %": @part of @whole; "-" when @whole is 0. */
char *text_share(uint64_t part, uint64_t whole);
/* Replaces control characters, which could change the terminal's state, and bytes that are not UTF-8 by \xNN. */
char *text_visible(const char *name);
/* "2M+4K": the page sizes in the mask @sizes, the largest first; "-": none. */
char *text_page_sizes(uint64_t sizes);

/* A table whose columns are as wide as their widest cell. */
struct table;

/* @headers: NULL-terminated. A column whose header begins with '>' is aligned right; the '>' is not shown. */
struct table *table_new(const char *const *headers);
void table_destroy(struct table *table);
typedef struct table table_t;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(table_t, table_destroy)
/* Adds the next cell; cells are added row by row. Copies @cell. */
void table_add(struct table *table, const char *cell);
/* The same, but owns @cell. */
void table_take(struct table *table, char *cell);
/* The whole table, with @indent at the start of each line. */
char *table_text(const struct table *table, const char *indent);

#endif

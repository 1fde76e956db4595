/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text for people: sizes, names that may hold anything, tables. */
#ifndef DMEMFSCTL_TEXT_H
#define DMEMFSCTL_TEXT_H

#include <glib.h>
#include <stdint.h>

/* "1.5 GiB"; whole numbers without a fraction. g_malloc'ed, as all that follows. */
char *text_size(uint64_t bytes);
/* "50.0 %" of @whole; "-" of nothing. */
char *text_share(uint64_t part, uint64_t whole);
/* What of @name could steer a terminal or is no UTF-8 becomes \xNN. */
char *text_visible(const char *name);
/* "2M+4K": the sizes of page in the mask @sizes, each by itself a power of two; the largest first; "-" for none. */
char *text_page_sizes(uint64_t sizes);

/* Columns as wide as they need to be. */
struct table;

/* @headers: NULL ends them; those that begin with '>' are aligned right, without that character. */
struct table *table_new(const char *const *headers);
void table_destroy(struct table *table);
typedef struct table table_t;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(table_t, table_destroy)
/* The next cell, row by row. */
void table_add(struct table *table, const char *cell);
/* Takes ownership of @cell. */
void table_take(struct table *table, char *cell);
/* All of it, with @indent in front of each line. */
char *table_text(const struct table *table, const char *indent);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The files of a mount, with where their memory lies and who maps them. */
#ifndef DMEMFSCTL_FILES_H
#define DMEMFSCTL_FILES_H

#include <glib.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/extent_map.h"
#include "dmemfsctl/users.h"
#include "dmemfsctl/view.h"

/* How often a page of each size served a fault. */
struct file_faults {
	uint64_t page_size;
	uint64_t count;
};

struct dmem_file {
	char *path; /* below the root, with no slash in front; NULL: removed, but still mapped */
	uint64_t inode;
	uint64_t size;
	uint64_t allocated; /* bytes */
	uint64_t poisoned;  /* bytes of it that went bad */
	uid_t uid;
	GArray *runs;     /* struct extent_map_run, by offset */
	GArray *faults;   /* struct file_faults; empty: the backend does not count */
	GPtrArray *users; /* struct user, not owned */
};

struct file_list {
	GPtrArray *files; /* struct dmem_file, owned: by path, removed ones last */
	GPtrArray *users; /* struct user, owned */
};

/* Every regular file, once, however many names it has. What goes away meanwhile is left out. NULL and @error. */
struct file_list *files_collect(const struct view *view, GError **error);
void files_destroy(struct file_list *list);
typedef struct file_list file_list_t;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(file_list_t, files_destroy)

/* One file by its path in the system; the path in the result is @path. */
struct dmem_file *file_read(const char *path, GError **error);
void dmem_file_free(struct dmem_file *file);
typedef struct dmem_file dmem_file_t;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(dmem_file_t, dmem_file_free)

/* Lines of dmemfs.extents ("OFFSET START LENGTH") and dmemfs.faults ("SIZE COUNT"); others are passed over. */
GArray *file_parse_extents(const char *text);
GArray *file_parse_faults(const char *text);

/* Bytes of memory that can be mapped with pages of 4 KiB only, of 2 MiB, of 1 GiB. */
struct page_share {
	uint64_t bytes_4k;
	uint64_t bytes_2m;
	uint64_t bytes_1g;
};

/* Where offset and address agree modulo a page's size, all of that page in the run. */
struct page_share file_run_pages(const struct extent_map_run *run);
struct page_share file_pages(const struct dmem_file *file);
/* The sizes of page that occur, or-ed. */
uint64_t page_share_sizes(struct page_share share);
/* "0", "0+1": the NUMA nodes of its memory; "?" unknown, "-" no memory. */
char *file_nodes(const struct dmem_file *file, const struct view *view);
/* Faults served in all. */
uint64_t file_fault_count(const struct dmem_file *file);

/* For people: "qemu-system-x86(1234), ..."; the path, or that it was removed. */
char *file_users(const struct dmem_file *file);
char *file_name(const struct dmem_file *file);

#endif

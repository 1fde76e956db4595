/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The files of a mount, where their memory lies, and which processes map them. */
#ifndef DMEMFSCTL_FILES_H
#define DMEMFSCTL_FILES_H

#include <glib.h>
#include <stdbool.h>
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
	char *path;      /* relative to the mount's root; NULL: removed, but still mapped */
	char *last_path; /* of a removed file: its last path, of the system; NULL: not known */
	bool is_known;   /* size and allocated are; of a removed file only to root, and nothing else is */
	uint64_t inode;
	uint64_t size;
	uint64_t allocated; /* bytes */
	uint64_t poisoned;  /* bytes with uncorrected memory errors */
	char *pages;        /* compound pages of its memory, as dmemfs.pages: "1G"; NULL: unknown */
	uint64_t unit;      /* allocation unit in bytes; 0: unknown */
	uid_t uid;
	GArray *runs;     /* struct extent_map_run, by offset */
	GArray *faults;   /* struct file_faults; empty: the backend does not count */
	GPtrArray *users; /* struct user, not owned */
};

struct file_list {
	GPtrArray *files; /* struct dmem_file, owned: by path, removed ones last */
	GPtrArray *users; /* struct user, owned */
	guint unreadable; /* directories that this user may not read; their files are missing */
};

/* What a command needs to know of files. Only root may see where their memory lies. */
enum file_detail {
	FILE_WHERE, /* all; fails for other users */
	FILE_IF_ALLOWED, /* what this user may see: with files_hide_memory() no runs, so no pages, nodes and errors of the memory */
};
/* Does the daemon not tell this user where memory lies? */
bool files_hide_memory(void);
/* With files_hide_memory(): what is left out; g_malloc'ed. */
char *files_note(const struct file_list *list);

/*
 * Lists every regular file once, even if it has several names. Leaves out files that are removed meanwhile. The
 * caller owns the list. NULL and @error on failure.
 */
struct file_list *files_collect(const struct view *view, enum file_detail detail, GError **error);
void files_destroy(struct file_list *list);
typedef struct file_list file_list_t;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(file_list_t, files_destroy)

/*
 * Describes the file @path (a path of the system, which dmem_file.path then is). Owned by the caller. NULL and
 * @error.
 */
struct dmem_file *file_read(const char *path, enum file_detail detail, GError **error);
void dmem_file_free(struct dmem_file *file);
typedef struct dmem_file dmem_file_t;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(dmem_file_t, dmem_file_free)

/* Parse dmemfs.extents ("OFFSET START LENGTH" lines) and dmemfs.faults ("SIZE COUNT"). Skip lines of another form. */
GArray *file_parse_extents(const char *text);
GArray *file_parse_faults(const char *text);

/* Bytes of memory by the largest page that can map them: 4 KiB, 2 MiB, 1 GiB. */
struct page_share {
	uint64_t bytes_4k;
	uint64_t bytes_2m;
	uint64_t bytes_1g;
};

/* A page can map memory if offset and address agree modulo its size, and all of it is in the run. */
struct page_share file_run_pages(const struct extent_map_run *run);
struct page_share file_pages(const struct dmem_file *file);
/* A mask of the page sizes that occur. */
uint64_t page_share_sizes(struct page_share share);
/*
 * The size of the pages that @user's mapping of the file should allow, in bytes, if it allows only smaller ones
 * (user->page_size); else 0.
 */
uint64_t file_page_wanted(const struct dmem_file *file, const struct view *view, const struct user *user);
/*
 * The NUMA nodes, a bit each, that the file's memory in mappings of @user lies on, although these mappings are bound to others.
 * users_read_policies() comes first.
 */
uint64_t file_unmet_nodes(const struct dmem_file *file, const struct view *view, const struct user *user);
/* Reads the policies of @users, unless there is one node only, so that they can exclude none. */
void files_read_policies(const GPtrArray *users, const struct view *view);
/* "0+1": the nodes in the mask @nodes. g_malloc'ed. */
char *node_names(uint64_t nodes);
/* The NUMA nodes of the file's memory: "0", "0+1"; "?": unknown, "-": no memory. g_malloc'ed. */
char *file_nodes(const struct dmem_file *file, const struct view *view);
/* The number of faults of all page sizes. */
uint64_t file_fault_count(const struct dmem_file *file);

/* The processes that map the file: "qemu-system-x86(1234), ..."; its path, or that it was removed. g_malloc'ed. */
char *file_users(const struct dmem_file *file);
char *file_name(const struct dmem_file *file);

#endif

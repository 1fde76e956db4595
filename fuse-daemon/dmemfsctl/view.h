/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A mount as its daemon describes it, by the virtual attributes of the root directory. */
#ifndef DMEMFSCTL_VIEW_H
#define DMEMFSCTL_VIEW_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/extent.h"

/* How long a daemon may take to answer, in seconds. */
#define VIEW_PATIENCE 5

struct view_region {
	struct extent extent;
	uint64_t free;     /* bytes */
	int node;          /* -1: unknown */
	const char *pages; /* page_order_name(); NULL: an older daemon */
	char kernel[16];   /* "unmapped": the kernel maps only what it accesses; "mapped"; "": an older daemon */
};

/* Memory that no file has any more, but that a device still holds. */
struct view_pin {
	struct extent extent;
	int64_t since;  /* seconds since the epoch */
	uint64_t inode; /* of the file that had it last; 0: unknown */
	int pid;        /* of the process that opened the file last; 0: unknown */
	char *name;     /* the last name of the file; "": unknown */
};

/* A unit of memory that is lent to the host. */
struct view_lent {
	struct extent extent;
	char state[16]; /* "lent", "taking", or why it could not be taken back: "pinned", "memory", "time", "other" */
};

/* A "NAME VALUE" line of dmemfs.stats. */
struct view_figure {
	char *name;
	uint64_t value;
};

/* A mount as its daemon describes it. */
struct view {
	char *root; /* mountpoint; of several of the same file system the one that was named, else the first */
	dev_t device;
	GHashTable *daemon; /* dmemfs.daemon: version, pid, backend, state_dir, earlier_devices */
	GArray *earlier;    /* dev_t: earlier_mounts_parse() */
	uint64_t page_size;
	char *alloc;
	GArray *figures; /* struct view_figure: all of dmemfs.stats, in its order */
	GArray *regions; /* struct view_region; empty unless this process is root */
	GArray *pins;    /* struct view_pin; empty unless this process is root */
	GArray *lent;    /* struct view_lent, by address; empty unless this process is root */
};

/*
 * The mount that @path lies on; @path NULL: the only dmemfs of the machine. A bind mount of a part of a dmemfs stands for all of it. Owned by the caller. NULL and @error when
 * there is no such mount, or its daemon does not answer within VIEW_PATIENCE.
 */
struct view *view_open(const char *path, GError **error);
/*
 * Does the daemon of the dmemfs that @path lies on answer, so that system calls with @path return? Also true if @path is not on one.
 * False and @error as view_open().
 */
bool view_answers(const char *path, GError **error);
/*
 * All dmemfs whose daemons answer, each once: GPtrArray of struct view. To @errors it adds a GError for each other one, or the one that
 * says that there is none. The caller owns both.
 */
GPtrArray *view_open_all(GPtrArray *errors);
void view_destroy(struct view *view);
typedef struct view view_t;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(view_t, view_destroy)

/* The value of @name in dmemfs.stats; 0 when the daemon does not report it. */
uint64_t view_figure(const struct view *view, const char *name);
/* "1G", "2M", "none", "?": the compound pages of the region that @address lies in. */
const char *view_pages_at(const struct view *view, uint64_t address);
/* The index of the region that @address lies in, or -1. */
int view_find_region(const struct view *view, uint64_t address);
/* The value of the virtual attribute @name of @path, g_malloc'ed. NULL and @error. */
char *view_read_attribute(const char *path, const char *name, GError **error);

#endif

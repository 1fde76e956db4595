/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The configuration: read from a file, validated once, and immutable after that, so that it needs no lock. Every key has a
 * default; configs/ has an example.
 */
#ifndef DMEMFS_CONFIG_H
#define DMEMFS_CONFIG_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "config/config_size.h"

/* The configuration of a program that is not told another one. */
#define CONFIG_DEFAULT_FILE "/etc/dmemfs/dmemfsd.conf"

enum backend_kind { BACKEND_MEMORY, BACKEND_PFN };
enum alloc_mode { ALLOC_EAGER, ALLOC_DEMAND };
/* What the daemon does with files whose contents are lost: read as zero, or remove them. */
enum lost_contents { LOST_ZERO, LOST_REMOVE };

struct region_config {
	char *name;     /* of the group: [region NAME] */
	bool automatic; /* start=auto: the ranges that memmap= on the kernel command line reserved (pfn backend) */
	uint64_t start; /* bytes, multiple of page_size and page_order_alignment(); 0 when automatic */
	uint64_t size;  /* the same */
	int node;       /* NUMA node, or -1: ask the backend */
	unsigned order; /* of its compound pages: page_order.h */
	bool any_order; /* pages= is not given: @order is the default, and the backend may use another */
};

struct quota_config {
	char *name;         /* of the group: [quota NAME] */
	char *path;         /* inside the mount, absolute: "/" is its root */
	uint64_t max_bytes; /* UINT64_MAX: no limit */
	uint64_t max_files; /* UINT64_MAX: no limit */
};

struct config {
	char *file;       /* the path that it was read from, for messages */
	char *mountpoint; /* absolute */
	char *state_dir;  /* absolute */
	char *memory_dir; /* absolute; memory backend: the tmpfs directory that holds the contents of files; else NULL */
	bool memory_dir_given; /* false: the default directory, which the daemon replaces when another user made it */
	enum backend_kind backend;
	enum alloc_mode alloc;
	enum lost_contents lost_contents;
	uint64_t page_size;     /* allocation unit: 4 KiB, 2 MiB or 1 GiB; whole compound pages of each region */
	bool any_page_size;     /* page-size= is not given: @page_size is the default */
	double overcommit;      /* demand allocation may promise this factor of the capacity, above 0 */
	uint64_t demand_extent; /* the most that one fault allocates (at least one unit): 4 KiB, 2 MiB or 1 GiB */
	uint64_t size;        /* memory backend: capacity in bytes, multiple of page_size; 0 when there are [region]s */
	bool populate;        /* memory backend: allocate RAM when a file grows, not when it is first touched */
	bool zero_in_advance; /* zero free memory in the background */
	uint64_t zero_rate;   /* the most bytes per second that are zeroed in advance on each NUMA node; 0: no limit */
	uint64_t max_metadata;     /* the most bytes of the daemon's own memory for names, inodes and attributes */
	unsigned threads;          /* request threads, at least 1 */
	char *metrics_file;        /* absolute; NULL: no metrics are written */
	unsigned metrics_interval; /* seconds, at least 1 */
	GPtrArray *regions;        /* struct region_config *, sorted by start */
	GPtrArray *quotas;         /* struct quota_config * */
};

/*
 * Reads and validates @file; the caller frees the result with config_destroy(). On failure NULL, and an error about the
 * first thing that is wrong: "FILE:LINE: [GROUP] KEY: what is wrong: remedy", without the parts that do not apply. Checks
 * the text only; config_check_host() checks the machine.
 */
struct config *config_load(const char *file, GError **error);

/*
 * Checks the machine, and changes nothing. True when the limit of open files is high enough, the mountpoint is a directory
 * on which nothing is mounted, only the daemon's user can write the other directories, or they can be created, and
 * memory_dir is on tmpfs. The message has the same form, without LINE. A tmpfs that is smaller than the capacity is only
 * a warning in the log.
 */
bool config_check_host(const struct config *config, GError **error);

/*
 * The check of the mountpoint. config_check_host() omits it when a dmemfs is mounted there: this daemon may take over an
 * earlier daemon's mount, and a request to a mount without a daemon may block for ever.
 */
bool config_check_mountpoint(const struct config *config, GError **error);

/* The effective configuration, every key that applies, as text that config_load() reads back to the same. To be freed. */
char *config_dump(const struct config *config);

void config_destroy(struct config *config);
typedef struct config config_t;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(config_t, config_destroy)

#endif

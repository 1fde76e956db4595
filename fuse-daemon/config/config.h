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
/* Is idle memory lent to the host's kernel? */
enum lend_mode { LEND_OFF, LEND_ON };
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
	enum lend_mode lend;
	uint64_t lend_reserve;     /* bytes of each node that are never lent */
	unsigned lend_idle;        /* seconds that memory is free before it is lent */
	unsigned take_timeout;     /* seconds that requests wait for lent memory, at least 1 */
	uint64_t max_metadata;     /* the most bytes of the daemon's own memory for names, inodes and attributes */
	unsigned threads;          /* request threads, at least 1 */
	char *metrics_file;        /* absolute; NULL: no metrics are written */
	unsigned metrics_interval; /* seconds, at least 1 */
	GPtrArray *regions;        /* struct region_config *, sorted by start */
	GPtrArray *quotas;         /* struct quota_config * */
};

/*
 * Reads and validates @file; the caller frees the result with config_destroy(). On failure NULL, and an error about all that is
 * wrong: for each mistake, of at most 100, a line "FILE:LINE: [GROUP] KEY: what is wrong: remedy", without the parts that do not
 * apply. What depends on a wrong value is not checked. Checks the text only.
 */
struct config *config_load(const char *file, GError **error);

/*
 * The same, and checks the machine, without a change to it: the limit of open files is high enough, the mountpoint is a directory
 * on which nothing is mounted, or an earlier dmemfs is; only the daemon's user can write the other directories, or they can be
 * created; memory_dir is on tmpfs. Only warnings in the log: a tmpfs or RAM smaller than the capacity, no directory for
 * metrics_file.
 */
struct config *config_load_for_host(const char *file, GError **error);

/* Checks the machine only, for a configuration that is loaded. False and @error, of the same form, for what is wrong. */
bool config_check_for_host(const struct config *config, GError **error);

/* Logs @error: one of config_load() as a line for each mistake, any other as one line. */
void config_log_error(const GError *error);

/* Can something be mounted on the mountpoint? */
bool config_check_mountpoint(const struct config *config, GError **error);

/* The effective configuration, every key that applies, as text that config_load() reads back to the same. To be freed. */
char *config_dump(const struct config *config);

void config_destroy(struct config *config);
typedef struct config config_t;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(config_t, config_destroy)

#endif

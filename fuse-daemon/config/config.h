/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The configuration file, validated once into one immutable struct. Every key has a default; see configs/. */
#ifndef DMEMFS_CONFIG_H
#define DMEMFS_CONFIG_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "config/config_size.h"

enum backend_kind { BACKEND_MEMORY, BACKEND_PFN };
enum alloc_mode { ALLOC_EAGER, ALLOC_DEMAND };
/* What becomes of files whose contents are lost. */
enum lost_contents { LOST_ZERO, LOST_REMOVE };

struct region_config {
	char *name;     /* of the group: [region NAME] */
	bool automatic; /* start=auto: the ranges that memmap= on the kernel command line reserved (pfn backend) */
	uint64_t start; /* bytes, multiple of page_size; 0 when automatic */
	uint64_t size;  /* bytes, multiple of page_size; 0 when automatic */
	int node;       /* NUMA node, or -1: ask the backend */
};

struct quota_config {
	char *name;         /* of the group: [quota NAME] */
	char *path;         /* inside the mount, absolute: "/" is its root */
	uint64_t max_bytes; /* UINT64_MAX: no limit */
	uint64_t max_files; /* UINT64_MAX: no limit */
};

struct config {
	char *file;       /* where it was read from, for messages */
	char *mountpoint; /* absolute */
	char *state_dir;  /* absolute */
	char *memory_dir; /* absolute; the tmpfs directory that holds the bytes of the files; NULL: not that backend */
	bool memory_dir_given; /* by the configuration: else it may have to be won back from others */
	enum backend_kind backend;
	enum alloc_mode alloc;
	enum lost_contents lost_contents;
	uint64_t page_size;     /* allocation unit: 4 KiB, 2 MiB or 1 GiB */
	double overcommit;      /* how much of the capacity may be promised to files with demand allocation, above 0 */
	uint64_t demand_extent; /* the most that one touch brings, but at least a unit: 4 KiB, 2 MiB or 1 GiB */
	uint64_t size; /* memory backend: capacity in bytes, multiple of page_size; 0 when there are [region]s */
	bool populate; /* memory backend: take the RAM when a file is sized, not when it is first touched */
	bool zero_in_advance;
	uint64_t zero_rate;        /* bytes per second and node that are zeroed in advance at most; 0: no limit */
	uint64_t max_metadata;     /* bytes that names, inodes and attributes may take in the daemon */
	unsigned threads;          /* request threads, at least 1 */
	char *metrics_file;        /* absolute; NULL: none is written */
	unsigned metrics_interval; /* seconds, at least 1 */
	GPtrArray *regions;        /* struct region_config *, sorted by start */
	GPtrArray *quotas;         /* struct quota_config * */
};

/*
 * Reads and validates @file. On failure returns NULL and an error about the first thing that is wrong:
 * "FILE:LINE: [GROUP] KEY: what is wrong: remedy", parts that do not apply left out. Judges the text only;
 * config_check_host() looks at the machine.
 */
struct config *config_load(const char *file, GError **error);

/*
 * Changes nothing. True when what the text asks for is built in this version, the mountpoint is a directory that
 * nothing is mounted on, the other directories are the daemon's own or can be made, and memory_dir lies on tmpfs. Same
 * form of message, without LINE. A tmpfs smaller than the capacity is a warning in the log.
 */
bool config_check_host(const struct config *config, GError **error);

/*
 * The part about the mountpoint. config_check_host() leaves it out when dmemfs is mounted there: an earlier daemon's mount
 * may be one to take over, and whoever asks it may wait for ever.
 */
bool config_check_mountpoint(const struct config *config, GError **error);

/* The effective configuration, every key that applies, as a file that config_load() reads back to the same. */
char *config_dump(const struct config *config);

void config_destroy(struct config *config);
typedef struct config config_t;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(config_t, config_destroy)

#endif

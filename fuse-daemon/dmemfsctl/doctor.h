/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The checks of dmemfsctl doctor. Each examines one thing and adds its findings; no check changes the system.
 */
#ifndef DMEMFSCTL_DOCTOR_H
#define DMEMFSCTL_DOCTOR_H

#include <glib.h>
#include <stdbool.h>

#include "base/extent.h"
#include "base/mounts.h"
#include "config/config.h"

enum level {
	LEVEL_OK,
	LEVEL_NOTE,    /* worth knowing */
	LEVEL_PROBLEM, /* must be fixed; the exit status is STATUS_FOUND */
};

struct finding {
	const char *check;
	enum level level;
	char *text;
	char *remedy; /* NULL: none is needed */
};

struct doctor {
	const char *root;            /* prefix of every path of the system; "": the running system */
	bool here;                   /* examines the running system, with its mounts and processes */
	const struct config *config; /* NULL: there is none, or @config_error says what is wrong with it */
	const GError *config_error;
	GPtrArray *mounts;       /* struct mount_point; a dmemfs that is not one of @views may block */
	GPtrArray *views;        /* struct view: the mounts of this system whose daemons answer */
	GPtrArray *views_errors; /* GError: why others are not among them; not empty if @views is */
	bool pfn;            /* reserved RAM is used, or the configuration or the command line says that it shall be */
	GArray *reserved;    /* struct extent: ranges of memmap= on the kernel's command line */
	const char *check;   /* name of the running check */
	GPtrArray *findings; /* struct finding, owned */
	GPtrArray *files;    /* struct file_list of each of @views, owned; NULL elements: not all could be read */
};

/* Adds a finding of the running check. Copies @remedy; NULL: none is needed. */
void doctor_add(struct doctor *doctor, enum level level, const char *remedy, const char *format, ...)
	G_GNUC_PRINTF(4, 5);
/* The contents of @path below @root, without white space at the end, g_malloc'ed; NULL when it cannot be read. */
char *doctor_read(const struct doctor *doctor, const char *path);
bool doctor_exists(const struct doctor *doctor, const char *path);
/*
 * The mount on which, or on the way to which, system calls with @path may block for ever: mounts_blocking(), or a dmemfs whose daemon
 * does not answer. NULL: there is none, or another system than the running one is examined.
 */
const struct mount_point *doctor_blocking(const struct doctor *doctor, const char *path);
/* The same as yes or no; adds a finding if @path cannot be examined for this. */
bool doctor_can_examine(struct doctor *doctor, const char *path);
/* Does the daemon of one of the mounts use this backend? */
bool doctor_has_backend(const struct doctor *doctor, const char *backend);
/* doctor_clients.c: the mountpoint, that of a mount, else that of the configuration; and is @path below it, or on another mount? */
const char *doctor_mountpoint(const struct doctor *doctor);
bool doctor_lies_on_a_mount(const struct doctor *doctor, const char *path);
/* Where libvirt makes the files of its guests, g_malloc'ed; NULL: not on dmemfs. */
char *doctor_backing_directory(const struct doctor *doctor);

/* doctor_kernel.c */
void doctor_check_kernel(struct doctor *doctor);
void doctor_check_fuse(struct doctor *doctor);
void doctor_check_huge_pages(struct doctor *doctor);
void doctor_check_kvm(struct doctor *doctor);
/* doctor_memory.c */
void doctor_check_lockdown(struct doctor *doctor);
void doctor_check_reserved(struct doctor *doctor);
void doctor_check_module(struct doctor *doctor);
void doctor_check_write_back(struct doctor *doctor);
/* doctor_lending.c */
void doctor_check_lending(struct doctor *doctor);
/* The ranges that are lent to the kernel, by /proc/iomem: GArray of struct extent, empty if this process is not root. The caller frees it. */
GArray *doctor_list_lent(const struct doctor *doctor);
/* doctor_clients.c */
void doctor_check_libvirt(struct doctor *doctor);
/* doctor_apparmor.c */
void doctor_check_apparmor(struct doctor *doctor);
/* doctor_guests.c */
void doctor_check_mappings(struct doctor *doctor);
void doctor_check_direct_io(struct doctor *doctor);
void doctor_check_vfio(struct doctor *doctor);
void doctor_check_prealloc(struct doctor *doctor);
/* doctor_daemon.c */
void doctor_check_config(struct doctor *doctor);
void doctor_check_daemon(struct doctor *doctor);
void doctor_check_state(struct doctor *doctor);
void doctor_check_quotas(struct doctor *doctor);

/* "6.12.3-amd64" gives 6 and 12. False: @release is not a version. */
bool doctor_parse_release(const char *release, unsigned *version, unsigned *patchlevel);
/* "always [madvise] never": the word in brackets, g_malloc'ed; NULL when there is none. */
char *doctor_parse_choice(const char *text);
/*
 * How the kernel lets @range be mapped, by the lines "PAT: [mem 0xSTART-0xEND] TYPE" of pat_memtype_list, END excluded. 1: all of it
 * write-back; 0: some of it as @type; -1: some of it is not in the list.
 */
#define DOCTOR_TYPE_ROOM 32 /* bytes; the longest of the kernel's names has 14 */
int doctor_parse_type(const char *list, struct extent range, char type[static DOCTOR_TYPE_ROOM]);

#endif

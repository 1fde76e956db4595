/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The checks of dmemfsctl doctor. Each looks at one thing and adds what it found; it never changes anything.
 *
 * @root is put in front of every path of the system, "" for the running one.
 */
#ifndef DMEMFSCTL_DOCTOR_H
#define DMEMFSCTL_DOCTOR_H

#include <glib.h>
#include <stdbool.h>

#include "config/config.h"

enum level {
	LEVEL_OK,
	LEVEL_NOTE,    /* worth knowing */
	LEVEL_PROBLEM, /* has to be put right */
};

struct finding {
	const char *check;
	enum level level;
	char *text;
	char *remedy; /* NULL: none is needed */
};

struct doctor {
	const char *root;
	bool here;                   /* the running system: mounts and devices count, too */
	const struct config *config; /* NULL: there is none, or @config_error says what is wrong with it */
	const GError *config_error;
	GPtrArray *views; /* struct view: the mounts of this system; none: @views_error says why */
	const GError *views_error;
	bool pfn;            /* reserved RAM is used, or is meant to be */
	GArray *reserved;    /* struct extent: what memmap= took */
	const char *check;   /* the one at work */
	GPtrArray *findings; /* struct finding, owned */
};

/* Adds a finding of the check at work. */
void doctor_add(struct doctor *doctor, enum level level, const char *remedy, const char *format, ...)
	G_GNUC_PRINTF(4, 5);
/* Contents of a file below @root without the last line feed; NULL when it cannot be read. g_malloc'ed. */
char *doctor_read(const struct doctor *doctor, const char *path);
bool doctor_exists(const struct doctor *doctor, const char *path);
/* Is one of the mounts of this backend? */
bool doctor_has_backend(const struct doctor *doctor, const char *backend);

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
/* doctor_clients.c */
void doctor_check_libvirt(struct doctor *doctor);
void doctor_check_apparmor(struct doctor *doctor);
void doctor_check_mappings(struct doctor *doctor);
void doctor_check_direct_io(struct doctor *doctor);
/* doctor_daemon.c */
void doctor_check_config(struct doctor *doctor);
void doctor_check_daemon(struct doctor *doctor);
void doctor_check_state(struct doctor *doctor);
void doctor_check_quotas(struct doctor *doctor);

/* "6.12.3-amd64" is 6, 12. False: no version. */
bool doctor_parse_release(const char *release, unsigned *version, unsigned *patchlevel);
/* "always [madvise] never": the word in brackets, g_malloc'ed; NULL when there is none. */
char *doctor_parse_choice(const char *text);

#endif
